"""Predictions of two systems on the same rows to comparisons: tuned minus base, paired."""

from __future__ import annotations

from collections.abc import Sequence

from loratory.errors import DataError
from loratory.evaluation.score import check, defined, ends, signature_of, undefined_reason
from loratory.metrics.base import Metric
from loratory.metrics.randomisation import randomisation
from loratory.metrics.resample import paired_bootstrap
from loratory.records import Comparison, Prediction

__all__ = ["check_paired", "compare"]


def compare(
    base: list[Prediction],
    tuned: list[Prediction],
    metrics: Sequence[Metric],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    trials: int = 10_000,
) -> list[Comparison]:
    """Return one comparison for every value of every metric, in the metrics' order.

    Every bootstrap draw takes the same rows of both systems; the p value is that of approximate
    randomisation. A value that a metric calls descriptive never counts as improved, whatever
    its interval.

    Args:
        base: predictions before fine-tuning.
        tuned: predictions after it: the same ids in the same order.
        metrics: what to compare.
        resamples: number of bootstrap draws behind each interval.
        confidence: of the intervals, above 0 and below 1.
        seed: of the draws; the same gives the same intervals and p values.
        trials: number of random swaps behind each p value.

    Raises:
        ConfigError: as for `score`, or `trials` below 1.
        DataError: as for `score`, or the two are not of the same rows.
    """
    check(base, metrics)
    check(tuned, metrics)
    check_paired(base, tuned)
    comparisons = []
    for metric in metrics:
        # In one call, because the shape of a row may depend on all of them (classes seen).
        statistics = metric.statistics(base + tuned)
        before, after = statistics[: len(base)], statistics[len(base) :]
        first, second = metric.reduce(before.sum(axis=0)), metric.reduce(after.sum(axis=0))
        intervals = paired_bootstrap(
            before, after, metric.reduce, resamples=resamples, confidence=confidence, seed=seed
        )
        p_values = randomisation(before, after, metric.reduce, trials=trials, seed=seed)
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
                    p=defined(p_values[name]),
                )
            )
    return comparisons


def check_paired(
    base: Sequence[Prediction],
    tuned: Sequence[Prediction],
    names: tuple[str, str] = ("base", "tuned"),
) -> None:
    """Raise unless two systems answered the same rows.

    Args:
        base: answers of one.
        tuned: answers of the other.
        names: what to call them.

    Raises:
        DataError: other ids, another order, or other references or labels; it names the row.
    """
    first, second = names
    advice = "Predict with both systems on the same rows, in the same order."
    for place, (old, new) in enumerate(zip(base, tuned, strict=False), 1):
        if old.id != new.id:
            raise DataError(
                f"row '{old.id}': number {place} of {first} is number {place} '{new.id}' of "
                f"{second}. {advice}"
            )
        if (old.references, old.label) != (new.references, new.label):
            raise DataError(
                f"row '{old.id}': {first} and {second} have different references or labels. "
                f"{advice}"
            )
    if len(base) != len(tuned):
        longer, name = (base, second) if len(base) > len(tuned) else (tuned, first)
        extra = longer[min(len(base), len(tuned))]
        raise DataError(f"row '{extra.id}': not in {name}. {advice}")
