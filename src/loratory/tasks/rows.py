"""One row as read, and the checks that every text of every row must pass.

A row keeps the name of its place (`reviews.csv:17`) from the moment it is read, so that
whatever is found wrong with it later can be looked up in a text editor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

from loratory.errors import DataError
from loratory.tasks.base import Row

__all__ = [
    "MAX_ROW_BYTES",
    "SourceRow",
    "Table",
    "check_size",
    "checked_text",
    "fingerprint",
    "text_of",
]

MAX_ROW_BYTES = 10_000_000
"""Most bytes of UTF-8 a row may hold. A longer one is nearly always a broken file (a quote
that is never closed, a dump on one line), and no model reads two million words."""


class SourceRow(NamedTuple):
    """A row and where it stands."""

    id: str
    """File name and line (`reviews.csv:17`), Hub name, split and row, or what an embedded
    data set calls it (`docstrings:json.dumps`). Unique within its source."""
    values: Row


class Table(NamedTuple):
    """Rows with the name of where they came from and the columns they have."""

    name: str
    columns: tuple[str, ...]
    """In the order of the data; for JSON every key that some row has."""
    rows: list[SourceRow]


def text_of(row: Row, column: str, id: str) -> str:
    """Return the text of a column, without white space around it.

    Raises:
        DataError: it is missing, no text, blank, or holds characters that no tokenizer can
            encode; the sentence begins with `id`.
    """
    return checked_text(row.get(column), column, id)


def checked_text(value: object, what: str, id: str) -> str:
    """Return `value` stripped, or raise a DataError that calls it `what`."""
    if value is None:
        raise DataError(f"{id}: {what} is missing. Fill it in or remove the row.")
    if not isinstance(value, str):
        raise DataError(f"{id}: {what} must be text, got {type(value).__name__}.")
    # A zero-width space is not white space to Python, yet a text of nothing else is blank.
    if not any(char.isprintable() and not char.isspace() for char in value):
        raise DataError(f"{id}: {what} is blank. Fill it in or remove the row.")
    if (position := value.find("\0")) >= 0:
        raise DataError(f"{id}: {what} holds a NUL character (character {position + 1}).")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{id}: {what} holds U+{ord(value[error.start]):04X} (character {error.start + 1}), "
            "one half of a surrogate pair, which is no character. Save the text again as UTF-8."
        ) from None
    return value.strip()


def check_size(size: int, where: str) -> None:
    """Raise a DataError when a row of `size` bytes is over the limit."""
    if size > MAX_ROW_BYTES:
        raise DataError(
            f"{where}: the row is over the limit of {MAX_ROW_BYTES:,} bytes. "
            "Look for an unclosed quote or a missing line end, or cut the text."
        )


def fingerprint(rows: Iterable[SourceRow]) -> str:
    """Return a sha256, in hex, of the ids and contents of rows in their order.

    Two lists have the same fingerprint only when every id, column and value is the same.
    """
    digest = hashlib.sha256()
    for row in rows:
        # ASCII escapes keep a lone surrogate hashable; sorted keys make column order moot.
        line = json.dumps([row.id, dict(row.values)], sort_keys=True, default=_plain)
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _plain(value: object) -> str:
    # Parquet and the Hub give bytes, dates and decimals, whose str() is their content. That
    # of any other object may hold its address, which would differ from run to run.
    known = {"bytes", "date", "datetime", "time", "timedelta", "Decimal"}
    kind = type(value).__name__
    return f"{kind}:{value}" if kind in known else kind
