"""What base models answered, kept for later runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from loratory.cache import cache_dir
from loratory.codec import read_jsonl, to_lines
from loratory.errors import DataError, RunError
from loratory.files import write_lines
from loratory.records import Judgement, Prediction

__all__ = ["judgements", "keep", "predictions"]

R = TypeVar("R", Prediction, Judgement)


def predictions(key: str, ids: Sequence[str]) -> list[Prediction] | None:
    """Return what was kept under a key; None unless it can be read and is of these rows."""
    return _kept(Prediction, key, ids)


def judgements(key: str, ids: Sequence[str]) -> list[Judgement] | None:
    """Return what was kept under a key; None unless it can be read and is of these items."""
    return _kept(Judgement, key, ids)


def keep(key: str, rows: Sequence[Prediction] | Sequence[Judgement]) -> None:
    """Keep what was answered for later runs; without room for it nothing is lost but time."""
    if rows:
        with suppress(RunError):
            write_lines(_file(type(rows[0]), key), to_lines(rows))


def _kept(cls: type[R], key: str, ids: Sequence[str]) -> list[R] | None:
    with suppress(DataError):
        found = read_jsonl(_file(cls, key), cls)
        if [row.id for row in found] == list(ids):  # a file cut short has fewer
            return found
    return None


def _file(cls: type[Prediction] | type[Judgement], key: str) -> Path:
    return cache_dir() / f"{cls.__name__.lower()}s" / f"{key}.jsonl"
