"""What each validation of a training measured, row by row: kept beside the run's other files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from loratory.codec import read_jsonl
from loratory.metrics.array import Array
from loratory.metrics.ratio import ratio

__all__ = ["LOSSES", "RowLoss", "RowLosses", "read_losses"]

LOSSES = "losses.jsonl"
"""In the run folder: a `RowLosses` a line, one for each validation."""


@dataclass(frozen=True)
class RowLosses:
    """What one validation measured, row by row."""

    step: int
    validation: tuple[float, ...]
    """Summed loss of each row, in nats."""
    validation_tokens: tuple[int, ...]
    """Supervised tokens of each row; 1 for a classification head."""
    training: tuple[float, ...]
    """The same of a sample of training rows."""
    training_tokens: tuple[int, ...]


@dataclass(frozen=True)
class RowLoss:
    """Mean loss of a supervised token, of rows of (nats, tokens)."""

    name: ClassVar[str] = "loss"
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"loss"})
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {"loss": "no row has a supervised token"}
    signature: ClassVar[str] = "loss|unit:nats|v:1"

    def statistics(self, rows: list[tuple[float, int]]) -> Array:
        """Return the rows as they are, shape (n, 2)."""
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `loss`, in nats a token."""
        return {"loss": ratio(totals[..., 0], totals[..., 1])}


def read_losses(folder: Path) -> list[RowLosses]:
    """Return what each validation of a run measured; empty for a run that did not keep it.

    Raises:
        DataError: a line of the file is not such a record.
    """
    file = folder / LOSSES
    return read_jsonl(file, RowLosses) if file.exists() else []
