"""How often an answer repeats its reference word for word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from loratory.metrics.base import Array, metric
from loratory.records import Prediction
from loratory.registry import signature


@metric("verbatim")
@dataclass(frozen=True)
class Verbatim:
    """Share of answers equal to a reference."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}

    fold_case: bool = True
    """Take upper and lower case for the same."""

    @property
    def signature(self) -> str:
        return signature(self)

    def problems(self) -> list[str]:
        return []

    def statistics(self, predictions: list[Prediction]) -> Array:
        def said(text: str) -> str:
            return text.casefold() if self.fold_case else text

        rows = [(1, said(p.text) in map(said, p.references)) for p in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def reduce(self, totals: Array) -> dict[str, Array]:
        return {"verbatim": totals[..., 1] / totals[..., 0]}
