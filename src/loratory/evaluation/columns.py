"""Columns of a row of JSON: which holds what, and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loratory.errors import DataError, suggest
from loratory.records import Prediction

__all__ = ["Columns", "check_filled", "column", "text", "texts"]


@dataclass(frozen=True)
class Columns:
    """Which column of a row holds what; an empty name takes the first known one there is."""

    prediction: str = ""
    """The system's text; else `prediction` or `text`."""
    reference: str = ""
    """The reference, or a list of several; else `references`, `reference` or `summary`."""
    source: str = ""
    """The text it is about, for metrics that need it; else `source`, `document` or `article`."""


_KNOWN = {
    "prediction": ("prediction", "text"),
    "reference": ("references", "reference", "summary"),
    "source": ("source", "document", "article"),
}


def column(row: dict[str, Any], what: str, named: str, where: str, needed: bool) -> str:
    """Return the name of the column that holds something; empty where there is no need of it.

    Args:
        row: the first row.
        what: a field of `Columns`.
        named: the name given for it; empty for none.
        where: file and line, for messages.
        needed: whether a metric reads it.

    Raises:
        DataError: the column named is not there, or none that could serve.
    """
    if not (named or needed):
        return ""
    choices = (named,) if named else _KNOWN[what]
    found = next((name for name in choices if name in row), None)
    if found is not None:
        return found
    if named:
        raise DataError(f"{where}: no column '{named}'. {suggest(named, row)}")
    raise DataError(
        f"{where}: no {what}: none of the columns {', '.join(choices)}. Name the one that holds "
        f"it (--{what}-column). {suggest(what, row)}"
    )


def text(row: dict[str, Any], column: str, where: str) -> str:
    """Return the text in a column; a `DataError` says what is there instead."""
    if column not in row:
        raise DataError(f"{where}: no column '{column}'. {suggest(column, row)}")
    value = row[column]
    if not isinstance(value, str):
        raise DataError(f"{where}: {column} must be text, got {_kind(value)}.")
    return value


def texts(row: dict[str, Any], column: str, where: str) -> tuple[str, ...]:
    """Return the texts in a column that holds one or a list; none where it has no name."""
    if not column:
        return ()
    value = row.get(column)
    if not isinstance(value, list):
        return (text(row, column, where),)
    for place, item in enumerate(value):
        if not isinstance(item, str):
            raise DataError(f"{where}: {column}[{place}] must be text, got {_kind(item)}.")
    return tuple(value)


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def check_filled(row: Prediction, needs: frozenset[str], where: str) -> None:
    """Raise a `DataError` where a field is empty that a metric needs."""
    for need in sorted(needs):
        if getattr(row, need) in (None, (), ""):
            raise DataError(
                f"{where}: no {need}, which a metric needs. Fill it in, or leave the metric out."
            )
