"""ROUGE as a metric: the mean F over a test set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.metrics.rouge.score import TYPES, rouge, type_problems
from loratory.records import Prediction
from loratory.registry import signature

__all__ = ["Rouge"]


@metric("rouge")
@dataclass(frozen=True)
class Rouge:
    """Overlap of words and word sequences with the references (Lin 2004)."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}

    types: tuple[str, ...] = field(default=TYPES, metadata={"selects": True})
    """Which to compute: `rouge1` to `rouge9` (n-grams), `rougeL` (longest common subsequence
    of the whole texts), `rougeLsum` (of their lines)."""
    stem: bool = True
    """Whether words longer than three characters are reduced to their Porter stem."""

    @property
    def signature(self) -> str:
        name, _, rest = signature(self).partition("|")
        settings, _, version = rest.rpartition("|")
        return f"{name}|ref:rouge_score|{settings}|split:newline|{version}"

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        return type_problems(self.types)

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return rows of 1 and the F of each type, shape (n, 1 + types)."""
        overlaps = rouge(
            [prediction.text for prediction in predictions],
            [prediction.references for prediction in predictions],
            self.types,
            self.stem,
        )
        columns = [np.ones(len(predictions)), *(overlaps[kind].f for kind in self.types)]
        return np.stack(columns, axis=1)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the mean F of each type, 0 to 1."""
        n = totals[..., 0]
        return {kind: ratio(totals[..., i], n) for i, kind in enumerate(self.types, 1)}
