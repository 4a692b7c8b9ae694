"""What a stage has answered so far: so that one that is gone on with does not ask again.

Rows are answered in parts that hang on the recipe alone, and each part is a file of `partial/`,
whole or absent, under a key that hashes all that its rows hang on. A stage that was cut off answers
what is left in the very batches of one that never was, and several processes may share the parts
of one stage.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from loratory.codec import from_dict, to_lines
from loratory.errors import DataError
from loratory.files import write_lines
from loratory.records import Judgement, Prediction

__all__ = ["ALONE", "Partial", "Share", "discard"]

FOLDER = "partial"

R = TypeVar("R", Prediction, Judgement)


@dataclass(frozen=True)
class Share:
    """Which parts of a stage this process answers."""

    number: int = 0
    """Of this process, from 0."""
    of: int = 1
    """Processes that share them."""

    def has(self, part: int) -> bool:
        """Return whether a part is this process's."""
        return part % self.of == self.number


ALONE = Share()


class Partial(Generic[R]):
    """The parts of one system's answers that are there, of this attempt or of one before.

    Args:
        run: the run folder.
        name: of the answers; slashes stand for folders.
        key: what they hang on. Parts under another key count for nothing.
        cls: of the rows.
    """

    def __init__(self, run: Path, name: str, key: str, cls: type[R]) -> None:
        self._folder = run / FOLDER / name
        self._cls: type[R] = cls
        self._head = json.dumps({"key": key})

    def read(self, part: int, many: int) -> list[R] | None:
        """Return the rows of a part; None unless it is there, whole, and of so many rows.

        Args:
            part: its number, from 0.
            many: rows that it has.
        """
        with suppress(OSError, ValueError, RecursionError, DataError):
            head, *lines = self._file(part).read_text(encoding="utf-8").split("\n")
            if head == self._head and len(lines) == many + 1:  # the last line has an end, too
                where = str(self._file(part))
                return [from_dict(self._cls, json.loads(line), where) for line in lines[:-1]]
        return None

    def keep(self, part: int, rows: Sequence[R]) -> None:
        """Keep a part.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        write_lines(self._file(part), [f"{self._head}\n", *to_lines(rows)])

    def _file(self, part: int) -> Path:
        return self._folder / f"{part:06}.jsonl"


def discard(run: Path) -> None:
    """Forget what a stage that is done had answered on its way."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
