"""A metric's value of a few pairs, and the mean of numbers as a metric gives it."""

from __future__ import annotations

import numpy as np

from loratory.evaluation.score import score
from loratory.metrics.base import Array, Metric
from loratory.metrics.ratio import ratio
from loratory.records import Prediction


def value(metric: Metric, *pairs: tuple[str, tuple[str, ...]]) -> float | None:
    """Return what a metric gives of pairs of a text and its references."""
    rows = [Prediction(str(i), text, references) for i, (text, references) in enumerate(pairs)]
    return score(rows, [metric], resamples=5)[0].value


def rows(*values: float) -> Array:
    """Return a row of numbers for each value, such that the sum of the rows gives the mean."""
    return np.array([(1, value) for value in values], dtype=float)


def mean(totals: Array) -> dict[str, Array]:
    return {"mean": ratio(totals[..., 1], totals[..., 0])}
