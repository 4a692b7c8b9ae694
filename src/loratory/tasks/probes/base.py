"""What a probe is: items whose options a model finds more or less likely.

Every kind of item is one thing: texts, each after a context. A question with choices has one
context and several texts; a sentence with a gap that two words may fill has two contexts and one
text; a plain text has no context. A model answers each with a `Judgement`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from loratory.registry import Registry

__all__ = ["PROBES", "Item", "Option", "Probe", "probe"]


class Option(NamedTuple):
    """A text, and what stands before it."""

    context: str
    """Empty for a plain text."""
    text: str
    """As it follows the context, the space between them included."""


@dataclass(frozen=True)
class Item:
    """One thing that a model is asked."""

    id: str
    """Unique within its probe; names the row in messages and joins judgements."""
    options: tuple[Option, ...]
    """At least one."""
    gold: int | None = None
    """The right option; None where there is none, as for a plain text."""
    greedy: bool = False
    """Whether it is asked if greedy decoding would give the first option."""
    group: str = ""
    """What the item is about."""

    @property
    def plain(self) -> bool:
        """Return whether it is a text and no question."""
        return len(self.options) == 1 and not self.options[0].context


class Probe(Protocol):
    """A frozen dataclass registered with `@probe(name)`; a recipe says `embedded:NAME`."""

    name: ClassVar[str]
    about: ClassVar[str]
    """One sentence: what an item is, and where the texts come from."""

    def items(self) -> list[Item]:
        """Return every item, in an order that is always the same.

        Raises:
            MissingDependencyError: what holds the texts is not installed.
        """


PROBES: Registry[Probe] = Registry("probe", "loratory.tasks.probes")
probe = PROBES.register
