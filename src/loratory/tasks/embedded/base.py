"""What an embedded data set is: rows found in what is already installed."""

from __future__ import annotations

from typing import ClassVar, Protocol

from loratory.registry import Registry
from loratory.tasks.rows import SourceRow

__all__ = ["DATASETS", "EMBEDDED", "Embedded", "dataset"]

EMBEDDED = "embedded:"
"""Before the name of anything that is there without a network."""


class Embedded(Protocol):
    """A frozen dataclass registered with `@dataset(name)`; a recipe says `embedded:NAME`."""

    name: ClassVar[str]
    about: ClassVar[str]
    """One sentence: what a row is, how many there are, and for which task."""
    columns: ClassVar[tuple[str, ...]]

    def rows(self) -> list[SourceRow]:
        """Return every row, in an order that is always the same.

        Raises:
            MissingDependencyError: the package that holds the data is not installed.
        """


DATASETS: Registry[Embedded] = Registry("dataset", "loratory.tasks.embedded")
dataset = DATASETS.register
