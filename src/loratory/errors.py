"""Every exception Loratory raises on purpose, as one tree.

    LoratoryError
    ├── ConfigError              a recipe, an override or an argument is wrong
    ├── DataError                a file, column, row or label is wrong
    ├── ModelError               a model or adapter cannot be found, read or used
    ├── RunError                 a run folder cannot be made, read or continued
    └── MissingDependencyError   an optional package is not installed

Each carries one clear sentence (a `ConfigError` one per problem) that says what came, what
is allowed and what to do. The command line prints it and exits with status 2. Anything else
that escapes is a fault of Loratory's own, shown with its traceback and status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "ConfigError",
    "DataError",
    "LoratoryError",
    "MissingDependencyError",
    "ModelError",
    "RunError",
    "suggest",
]


class LoratoryError(Exception):
    """The root of the tree: catch it to catch every mistake a user can make."""


class ConfigError(LoratoryError):
    """One or more problems in a configuration, all reported at once.

    `problems` holds one sentence each, beginning with the path of the field it is about.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        assert self.problems, "a ConfigError needs at least one problem"
        super().__init__("\n".join(self.problems))


class DataError(LoratoryError):
    """A data source, column, row or label that cannot be used."""


class ModelError(LoratoryError):
    """A model, tokenizer or adapter that cannot be found, read or used."""


class RunError(LoratoryError):
    """A run folder that cannot be made, read or continued."""


class MissingDependencyError(LoratoryError):
    """An optional package that the request needs is not installed."""


def suggest(word: str, allowed: Iterable[str]) -> str:
    """Return `Did you mean 'x'? Available: x, y.`, or only the second sentence.

    Args:
        word: what the user wrote.
        allowed: the names that would have been accepted; listed sorted.
    """
    names = sorted(allowed)
    folded = {name.casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    hint = f"Did you mean '{folded[close[0]]}'? " if close else ""
    return f"{hint}Available: {', '.join(names) if names else 'none'}."
