"""How a stage tells whoever started it what it is doing.

The library never prints. It speaks to a `Progress`; the command line draws it with rich,
`loratory.run()` from Python stays silent, a test records it.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """The events of a run, in order. Every method returns at once."""

    def stage(self, name: str) -> None:
        """Begin a stage, such as `train`; the one before has ended."""

    def begin(self, task: str, total: int) -> None:
        """Begin counted work of `total` units inside the stage."""

    def advance(self, done: int, detail: str = "") -> None:
        """`done` units of the work begun last are finished; `detail` as in `loss 2.31`."""

    def note(self, text: str) -> None:
        """Say something that stays on the screen, such as a count of rows cut."""


class Silent:
    """A progress that tells nobody."""

    def stage(self, name: str) -> None: ...
    def begin(self, task: str, total: int) -> None: ...
    def advance(self, done: int, detail: str = "") -> None: ...
    def note(self, text: str) -> None: ...
