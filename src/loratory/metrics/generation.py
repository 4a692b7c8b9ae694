"""How long answers are, and whether they came to an end.

Neither number is better when larger or smaller; both explain other scores. ROUGE rewards
length, and an answer cut at the limit is judged on what little it said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.records import Prediction
from loratory.registry import signature

__all__ = ["Length"]


@metric("length")
@dataclass(frozen=True)
class Length:
    """Mean words of an answer (`words`) and share of answers that ended (`finished`)."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset({"finished", "words"})
    undefined: ClassVar[Mapping[str, str]] = {}

    @property
    def signature(self) -> str:
        return signature(self)

    def problems(self) -> list[str]:
        """Return nothing: there is no setting to get wrong."""
        return []

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return rows of 1, words between white space, and 1 if finished; shape (n, 3)."""
        rows = [(1, len(p.text.split()), p.finished) for p in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `words`, in words an answer, and `finished`, 0 to 1."""
        n = totals[..., 0]
        return {"words": ratio(totals[..., 1], n), "finished": ratio(totals[..., 2], n)}
