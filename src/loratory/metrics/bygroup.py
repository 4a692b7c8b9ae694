"""Any metric by groups of rows, the largest gap between groups, and that of recall by class.

The gap of recall is that of equalised odds (Hardt et al. 2016, "Equality of Opportunity in
Supervised Learning", arXiv 1610.02413): with two classes, the recall of one is the true-positive
rate and that of the other 1 minus the false-positive rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from loratory.metrics.array import Array
from loratory.metrics.ratio import ratio
from loratory.records import Prediction

__all__ = ["ByGroup", "RecallGap"]


@dataclass(frozen=True)
class ByGroup:
    """Values of a metric for each of some groups, and for each value the largest gap."""

    metric: Any
    """The metric whose values are taken."""
    values: tuple[str, ...]
    """Which of its values."""
    groups: tuple[str, ...]
    """Two or more; rows of other groups are not to be among the rows."""
    of: Mapping[str, str]
    """A row's id to its group."""

    name: ClassVar[str] = "by_group"

    @property
    def gaps(self) -> tuple[str, ...]:
        """Names of the largest gaps, one a value."""
        return tuple(f"{value}, largest gap" for value in self.values)

    @property
    def lower_is_better(self) -> frozenset[str]:
        lower = {v for v in self.values if v in self.metric.lower_is_better}
        return frozenset({*self.gaps, *(f"{v} ({g})" for v in lower for g in self.groups)})

    @property
    def descriptive(self) -> frozenset[str]:
        plain = {v for v in self.values if v in self.metric.descriptive}
        return frozenset(f"{v} ({g})" for v in plain for g in self.groups)

    @property
    def undefined(self) -> Mapping[str, str]:
        return {}

    @property
    def signature(self) -> str:
        return str(self.metric.signature)

    def value_signature(self, value: str) -> str:
        """Return the metric's signature with the value's name in front."""
        _, *parts = self.signature.split("|")
        return "|".join([value, *parts])

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return the metric's k numbers in the place of the row's group; shape (n, groups k)."""
        inner = self.metric.statistics(predictions)
        count, width = inner.shape
        rows = np.zeros((count, len(self.groups), width))
        places = [self.groups.index(self.of[prediction.id]) for prediction in predictions]
        rows[np.arange(count), places] = inner
        return rows.reshape(count, -1)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return every value of every group, then the largest less the smallest of each value."""
        parts = np.split(totals, len(self.groups), axis=-1)
        found = [self.metric.reduce(part) for part in parts]
        values = {
            f"{value} ({group})": of[value]
            for value in self.values
            for group, of in zip(self.groups, found, strict=True)
        }
        for value, gap in zip(self.values, self.gaps, strict=True):
            every = np.stack([np.asarray(of[value]) for of in found])
            values[gap] = every.max(axis=0) - every.min(axis=0)
        return values


@dataclass(frozen=True)
class RecallGap:
    """The largest difference between groups in the share of a class that is recognised."""

    cells: tuple[tuple[str, int], ...]
    """Groups and classes with enough rows; others do not count."""
    of: Mapping[str, str]
    """A row's id to its group."""

    name: ClassVar[str] = "recall_gap"
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"recall_gap"})
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {
        "recall_gap": "no class has enough rows in two groups"
    }

    @property
    def signature(self) -> str:
        return "recall_gap|odds:equalised|v:1"

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return 1 and 1 if recognised, in the place of the row's cell; shape (n, 2 cells)."""
        rows = np.zeros((len(predictions), 2 * len(self.cells)))
        places = {cell: 2 * i for i, cell in enumerate(self.cells)}
        for i, prediction in enumerate(predictions):
            assert prediction.label is not None
            place = places.get((self.of[prediction.id], prediction.label))
            if place is not None:
                rows[i, place : place + 2] = 1, prediction.predicted == prediction.label
        return rows

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `recall_gap`, the largest over the classes; NaN where no class has two cells."""
        recalls: dict[int, list[Array]] = {}
        for i, (_, label) in enumerate(self.cells):
            recall = ratio(totals[..., 2 * i + 1], totals[..., 2 * i])
            recalls.setdefault(label, []).append(recall)
        gaps = [
            np.max(np.stack(many), axis=0) - np.min(np.stack(many), axis=0)
            for many in recalls.values()
            if len(many) > 1
        ]
        empty = np.full(totals.shape[:-1], np.nan)
        return {"recall_gap": np.max(np.stack(gaps), axis=0) if gaps else empty}
