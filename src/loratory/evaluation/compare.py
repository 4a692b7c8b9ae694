"""Predictions of two systems on the same rows to comparisons: tuned minus base, paired."""

from __future__ import annotations

from collections.abc import Sequence

from loratory.errors import DataError
from loratory.evaluation.score import check, defined, ends, signature_of, undefined_reason
from loratory.metrics.base import Metric
from loratory.metrics.resample import paired_bootstrap
from loratory.records import Comparison, Prediction

__all__ = ["compare"]


def compare(
    base: list[Prediction],
    tuned: list[Prediction],
    metrics: Sequence[Metric],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Comparison]:
    """Return one comparison for every value of every metric, in the metrics' order.

    Every bootstrap draw takes the same rows of both systems. A value that a metric calls
    descriptive never counts as improved, whatever its interval.

    Args:
        base: predictions before fine-tuning.
        tuned: predictions after it: the same ids in the same order.
        metrics: what to compare.
        resamples: number of bootstrap draws behind each interval.
        confidence: of the intervals, above 0 and below 1.
        seed: of the draws; the same gives the same intervals.

    Raises:
        ConfigError: as for `score`.
        DataError: as for `score`, or the two are not of the same rows.
    """
    check(base, metrics)
    check(tuned, metrics)
    _check_paired(base, tuned)
    comparisons = []
    for metric in metrics:
        # In one call, because the shape of a row may depend on all of them (classes seen).
        statistics = metric.statistics(base + tuned)
        before, after = statistics[: len(base)], statistics[len(base) :]
        first, second = metric.reduce(before.sum(axis=0)), metric.reduce(after.sum(axis=0))
        intervals = paired_bootstrap(
            before, after, metric.reduce, resamples=resamples, confidence=confidence, seed=seed
        )
        for name in first:
            old, new = defined(float(first[name])), defined(float(second[name]))
            difference = None if old is None or new is None else new - old
            low, high = ends(intervals[name])
            reason = undefined_reason(metric, name) if difference is None else None
            comparisons.append(
                Comparison(
                    metric=name,
                    base=old,
                    tuned=new,
                    difference=difference,
                    low=low,
                    high=high,
                    n=len(base),
                    signature=signature_of(metric, name),
                    confidence=confidence,
                    lower_is_better=name in metric.lower_is_better,
                    descriptive=name in metric.descriptive,
                    reason=reason,
                )
            )
    return comparisons


def _check_paired(base: list[Prediction], tuned: list[Prediction]) -> None:
    advice = "Predict with both systems on the same rows, in the same order."
    for place, (old, new) in enumerate(zip(base, tuned, strict=False), 1):
        if old.id != new.id:
            raise DataError(
                f"row '{old.id}': number {place} of base is number {place} '{new.id}' of tuned. "
                f"{advice}"
            )
        if (old.references, old.label) != (new.references, new.label):
            raise DataError(
                f"row '{old.id}': base and tuned have different references or labels. {advice}"
            )
    if len(base) != len(tuned):
        longer, name = (base, "tuned") if len(base) > len(tuned) else (tuned, "base")
        extra = longer[min(len(base), len(tuned))]
        raise DataError(f"row '{extra.id}': not in {name}. {advice}")
