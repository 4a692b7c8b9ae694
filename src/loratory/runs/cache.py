"""Where work that can be done again is kept: dequantised models, base predictions."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from loratory.codec import read_jsonl, to_lines
from loratory.errors import DataError, RunError
from loratory.records import Prediction
from loratory.runs.files import write_lines

__all__ = ["cache_dir", "keep", "key", "predictions"]


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
    with suppress(DataError):
        found = read_jsonl(_file(key), Prediction)
        if [row.id for row in found] == list(ids):  # a file cut short has fewer
            return found
    return None


def keep(key: str, rows: Iterable[Prediction]) -> None:
    """Keep predictions for later runs; without room for them nothing is lost but time."""
    with suppress(RunError):
        write_lines(_file(key), to_lines(rows))


def _file(key: str) -> Path:
    return cache_dir() / "predictions" / f"{key}.jsonl"
