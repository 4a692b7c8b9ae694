"""Files of predictions, read block by block, and those of one text a line.

A block is whole lines as bytes, so that reading costs little where the file is, and taking
the lines apart can be done by another process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple, Protocol

from loratory.errors import ConfigError, DataError
from loratory.records import Prediction

__all__ = ["BLOCK", "Block", "Source", "TextFiles", "blocks", "lines_of", "size", "started"]

STDIN = Path("-")
"""Stands for standard input."""
BLOCK = 1 << 18
"""Bytes of a block, unless told otherwise: some hundred rows."""
_BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Lines that belong together, as they stand in the files."""

    first: int
    """Number of the first line, from 1."""
    parts: tuple[bytes, ...]
    """So many lines of each file, the predictions first."""


class Source(Protocol):
    """Files of predictions. Frozen and picklable: it travels to the processes that parse."""

    blank_is_text: ClassVar[bool]
    """Whether a blank line is a row, with an empty text."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, the predictions first; `-` is standard input."""

    def settled(self, first: Block, needs: frozenset[str]) -> Source:
        """Return the source with what its first block decides.

        Args:
            first: of `blocks`.
            needs: the fields of a prediction that the metrics need.

        Raises:
            DataError: nothing is in it, or what is needed is not.
        """

    def said(self, given: Source) -> str:
        """Return what the first block has decided beyond what was given; empty for nothing."""

    def has_classes(self, first: Block) -> bool:
        """Return whether the first row is of a classifier: it has a `predicted` class."""

    def parse(self, block: Block) -> list[Prediction]:
        """Return the rows of a block."""


@dataclass(frozen=True)
class TextFiles:
    """One text a line: the predictions in one file, each reference of them in another."""

    blank_is_text: ClassVar[bool] = True

    predictions: Path
    references: tuple[Path, ...]
    """One file or more, each with as many lines as the predictions."""
    newline: str = ""
    """What stands for a line break inside a text; empty if nothing does."""

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.predictions, *self.references)

    def settled(self, first: Block, needs: frozenset[str]) -> TextFiles:
        """Return the source itself."""
        if not first.parts[0]:
            raise DataError(f"{self.predictions}: the file is empty; give at least one text.")
        for need in sorted(needs - {"references"}):
            raise DataError(
                f"{self.predictions}: text files hold no {need}, which a metric needs. Write "
                "JSON lines instead, or leave the metric out."
            )
        return self

    def said(self, given: Source) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""

    def has_classes(self, first: Block) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def parse(self, block: Block) -> list[Prediction]:
        """Return the rows of a block; a blank line is an empty text.

        Raises:
            DataError: a line that is not UTF-8.
        """
        columns = [self._texts(path, block, part) for part, path in enumerate(self.paths)]
        rows = zip(*columns, strict=True)
        return [
            Prediction(str(number), text, tuple(references))
            for number, (text, *references) in enumerate(rows, block.first)
        ]

    def _texts(self, path: Path, block: Block, part: int) -> list[str]:
        lines = [line.removesuffix("\r") for line in lines_of(path, block, part)]
        if self.newline:
            lines = [line.replace(self.newline, "\n") for line in lines]
        return lines


@contextmanager
def started(source: Source, bytes_each: int = BLOCK) -> Iterator[tuple[Block, Iterator[Block]]]:
    """Give the first block, or the first with a row, and all blocks from it on.

    The files are closed at the end, also when a row on the way is refused. Args and errors are
    those of `blocks`.
    """
    with closing(blocks(source, bytes_each)) as parts:
        first = next(parts)
        while not source.blank_is_text and not first.parts[0].strip():
            following = next(parts, None)
            if following is None:
                break
            first = following
        yield first, chain((first,), parts)


def blocks(source: Source, bytes_each: int = BLOCK) -> Generator[Block, None, None]:
    """Yield the lines of a source, at least one block, which is empty where the file is.

    Args:
        source: what to read.
        bytes_each: of the predictions; a longer line makes a longer block.

    Raises:
        ConfigError: standard input is to be read twice.
        DataError: a file is missing, a folder, unreadable, or has another number of lines.
    """
    if sum(path == STDIN for path in source.paths) > 1:
        raise ConfigError("-: standard input can be read once; give the other texts as files.")
    with ExitStack() as stack:
        lead, *others = (_open(path, stack) for path in source.paths)
        first = 1
        while lines := _attempt(lambda: lead.readlines(bytes_each), source.paths[0]):
            parts = [lines]
            for stream, path in zip(others, source.paths[1:], strict=True):
                parts.append(_attempt(lambda s=stream: list(islice(s, len(lines))), path))  # type: ignore[misc]
            if any(len(part) != len(lines) for part in parts):
                break
            yield Block(first, tuple(b"".join(part) for part in parts))
            first += len(lines)
        else:
            if not any(stream.readline() for stream in others):
                if first == 1:
                    yield Block(1, (b"",) * len(source.paths))
                return
    _refuse_lengths(source)


def size(source: Source) -> int | None:
    """Return the bytes of all files together; None where they are not all plain files."""
    paths = source.paths
    return sum(path.stat().st_size for path in paths) if all(map(Path.is_file, paths)) else None


def _open(path: Path, stack: ExitStack) -> BinaryIO:
    if path == STDIN:
        return sys.stdin.buffer
    stream: BinaryIO = _attempt(lambda: path.open("rb"), path)
    return stack.enter_context(stream)


def _attempt(read: Callable[[], Any], path: Path) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, where a file of texts is needed.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None


def _refuse_lengths(source: Source) -> None:
    """Say how many lines each file has; called when some were missing or left over."""
    counts = []
    for path in source.paths:
        if path == STDIN or not path.is_file():
            counts.append(f"{path} another number")
            continue
        with path.open("rb") as stream:
            counts.append(f"{path} {sum(1 for _ in stream):,}")
    raise DataError(
        f"{source.paths[0]}: the files differ in their number of lines ({', '.join(counts)}). "
        "Each line is one text; give every prediction a line in each file."
    )


def lines_of(path: Path, block: Block, part: int) -> list[str]:
    """Return the lines of one file of a block, without their ends.

    Args:
        path: of the file, for messages.
        block: of a source.
        part: which of its files, from 0.

    Raises:
        DataError: they are not UTF-8.
    """
    content = block.parts[part]
    if block.first == 1:
        content = content.removeprefix(_BOM) or (content and b"\n")
    try:
        whole = content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = block.first + content.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{number}: not UTF-8 (byte 0x{content[error.start]:02X}). Save it as UTF-8."
        ) from None
    # Not splitlines(): U+2028 and friends do not end a line of these files.
    lines = whole.split("\n")
    return lines if lines[-1] else lines[:-1]
