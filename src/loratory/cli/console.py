"""The progress display: bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from loratory.progress import Progress
from loratory.report.wording import clean

__all__ = ["progress"]

PLAIN_SECONDS = 15
"""Seconds between two lines about the same work where there is no terminal."""
SHORT_SECONDS = 1
"""Work that took less is over before it is worth a line."""


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress on standard error, so that standard output holds results alone."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield Lines()
        return
    bars = Bars(
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        console=console,
    )
    with bars:
        yield Live(bars)


class Live:
    """Bars that move, with notes scrolling above them."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.current: TaskID | None = None

    def stage(self, name: str) -> None:
        self.bars.console.print(Text(f"● {name}", style="bold"))

    def begin(self, task: str, total: int) -> None:
        self.current = self.bars.add_task(task, total=total, detail="")

    def advance(self, done: int, detail: str = "") -> None:
        assert self.current is not None, "begin comes before advance"
        if detail:
            self.bars.update(self.current, advance=done, detail=detail)
        else:
            self.bars.advance(self.current, done)

    def note(self, text: str) -> None:
        self.bars.console.print(Text(_indent(clean(text)), style="dim"))


class Lines:
    """Lines for a log: stages and notes at once, counted work every few seconds."""

    def __init__(self) -> None:
        self.task, self.total, self.done = "", 0, 0
        self.began = self.spoke = 0.0

    def stage(self, name: str) -> None:
        self._say(f"● {name}")

    def begin(self, task: str, total: int) -> None:
        self.task, self.total, self.done = task, total, 0
        self.began = self.spoke = time.monotonic()

    def advance(self, done: int, detail: str = "") -> None:
        self.done += done
        now = time.monotonic()
        ended = self.done == self.total and now - self.began >= SHORT_SECONDS
        if ended or now - self.spoke >= PLAIN_SECONDS:
            self.spoke = now
            self._say(f"  {self.task} {self.done}/{self.total} {detail}".rstrip())

    def note(self, text: str) -> None:
        self._say(_indent(clean(text)))

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
