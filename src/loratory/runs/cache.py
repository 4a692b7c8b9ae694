"""Where work that can be done again is kept: dequantised models, what base models answered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from loratory.codec import read_jsonl, to_lines
from loratory.errors import DataError, RunError
from loratory.records import Judgement, Prediction
from loratory.runs.files import write_lines

__all__ = ["cache_dir", "judgements", "keep", "key", "predictions"]

R = TypeVar("R", Prediction, Judgement)


def cache_dir() -> Path:
    """Return `$LORATORY_CACHE`, or `loratory` in the user's cache folder. It may not exist."""
    if own := os.environ.get("LORATORY_CACHE"):
        return Path(own).expanduser()
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "loratory"


def key(basis: Mapping[str, Any]) -> str:
    """Return a sha256 over all that a result hangs on."""
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()


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
