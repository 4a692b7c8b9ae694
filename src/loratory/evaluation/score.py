"""Predictions of one system to scores: value, interval, n and signature."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from loratory.errors import ConfigError, DataError
from loratory.metrics.base import Array, Metric
from loratory.metrics.resample import Interval, bootstrap
from loratory.records import Prediction, Score

__all__ = ["check", "score", "scored", "signature_of", "undefined_reason"]


def score(
    predictions: list[Prediction],
    metrics: Sequence[Metric],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Score]:
    """Return one score for every value of every metric, in the metrics' order.

    Args:
        predictions: one a test row; ids are unique.
        metrics: what to compute.
        resamples: number of bootstrap draws behind each interval.
        confidence: of the intervals, above 0 and below 1.
        seed: of the draws; the same gives the same intervals.

    Raises:
        ConfigError: a metric's settings, `resamples` or `confidence` are out of range.
        DataError: no predictions, an id twice, or a row without what a metric needs.
    """
    check(predictions, metrics)
    scores = []
    for metric in metrics:
        statistics = metric.statistics(predictions)
        scores += scored(metric, statistics, resamples=resamples, confidence=confidence, seed=seed)
    return scores


def scored(
    metric: Metric, statistics: Array, *, resamples: int, confidence: float, seed: int
) -> list[Score]:
    """Return one score for every value of one metric.

    Args:
        metric: the metric.
        statistics: its rows, shape (n, k).
        resamples: as for `score`, and so are the rest and the errors.
        confidence: of the intervals.
        seed: of the draws.
    """
    values = metric.reduce(statistics.sum(axis=0))
    intervals = bootstrap(
        statistics, metric.reduce, resamples=resamples, confidence=confidence, seed=seed
    )
    scores = []
    for name, array in values.items():
        value, (low, high) = defined(float(array)), ends(intervals[name])
        scores.append(
            Score(
                metric=name,
                value=value,
                low=low,
                high=high,
                n=len(statistics),
                signature=signature_of(metric, name),
                confidence=confidence,
                lower_is_better=name in metric.lower_is_better,
                descriptive=name in metric.descriptive,
                reason=undefined_reason(metric, name) if value is None else None,
            )
        )
    return scores


def check(predictions: Sequence[Prediction], metrics: Sequence[Metric]) -> None:
    """Raise on the first thing that keeps these metrics from scoring these predictions.

    Raises:
        ConfigError: settings of the metrics, all problems at once.
        DataError: no predictions, an id twice, or a row without what a metric needs.
    """
    problems = [f"{metric.name}.{problem}" for metric in metrics for problem in metric.problems()]
    if problems:
        raise ConfigError(problems)
    if not predictions:
        raise DataError("there are no predictions to score; give at least one.")
    seen: set[str] = set()
    for prediction in predictions:
        if prediction.id in seen:
            raise DataError(f"row '{prediction.id}': this id comes twice; ids must be unique.")
        seen.add(prediction.id)
    for metric in metrics:
        for need in sorted(metric.needs):
            for prediction in predictions:
                if getattr(prediction, need) in (None, (), ""):
                    raise DataError(
                        f"row '{prediction.id}': no {need}, which the metric '{metric.name}' "
                        "needs. Fill it in, or leave the metric out."
                    )


def signature_of(metric: Metric, value: str) -> str:
    """Return the signature of one value: `rougeL|ref:rouge_score|stem:yes|split:newline|v:1`.

    It is the metric's with the value's name in front, without fields that do not change this
    value: those that select values (`selects` in their metadata), and those that concern
    others (`only` holds the names of the values that a field concerns). A metric whose
    signature depends on the value otherwise answers itself, by `value_signature`.
    """
    own = getattr(metric, "value_signature", None)
    if own is not None:
        return str(own(value))
    idle = {
        field.metadata.get("sig", field.name)
        for field in dataclasses.fields(metric)  # type: ignore[arg-type]
        if field.metadata.get("selects") or value not in field.metadata.get("only", (value,))
    }
    _, *parts = metric.signature.split("|")
    return "|".join([value, *(part for part in parts if part.partition(":")[0] not in idle)])


def undefined_reason(metric: Metric, value: str) -> str:
    """Return why a value of a metric is undefined, in the metric's words where it has any."""
    return metric.undefined.get(value, "not defined for these predictions")


def defined(value: float) -> float | None:
    """Return a number, or None for NaN."""
    return None if math.isnan(value) else value


def ends(interval: Interval) -> tuple[float | None, float | None]:
    """Return both ends, each None where NaN."""
    return defined(interval.low), defined(interval.high)
