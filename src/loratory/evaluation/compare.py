"""Predictions of two systems on the same rows to comparisons: tuned minus base, paired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loratory.errors import DataError
from loratory.evaluation.score import check, defined, signature_of, undefined_reason
from loratory.evaluation.verdict import RELEVANT, judge
from loratory.metrics.base import Metric
from loratory.metrics.paired import Paired, paired_interval
from loratory.metrics.randomisation import randomisation
from loratory.metrics.significance import mcnemar, odds_ratio
from loratory.records import Comparison, Prediction

__all__ = ["check_paired", "compare", "contrast", "effect"]


def compare(
    base: list[Prediction],
    tuned: list[Prediction],
    metrics: Sequence[Metric],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    trials: int = 10_000,
    relevant: float = RELEVANT,
) -> list[Comparison]:
    """Return one comparison for every value of every metric, in the metrics' order.

    All values with a better direction are judged together: see `evaluation.verdict.judge`.

    Args:
        base: predictions before fine-tuning.
        tuned: predictions after it: the same ids in the same order.
        metrics: what to compare.
        resamples: number of bootstrap draws behind each interval.
        confidence: of the intervals, above 0 and below 1.
        seed: of the draws; the same gives the same intervals and p values.
        trials: number of random swaps behind each p value.
        relevant: the smallest difference that matters, as for `judge`.

    Raises:
        ConfigError: as for `score`, `trials` below 1, or `relevant` not above 0.
        DataError: as for `score`, or the two are not of the same rows.
    """
    check(base, metrics)
    check(tuned, metrics)
    check_paired(base, tuned)
    found: list[Comparison] = []
    for metric in metrics:
        found += contrast(
            metric,
            base,
            tuned,
            resamples=resamples,
            confidence=confidence,
            seed=seed,
            trials=trials,
            relevant=relevant,
        )
    return judge(found, relevant=relevant)


def contrast(
    metric: Any,
    before: list[Any],
    after: list[Any],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    trials: int = 10_000,
    relevant: float = RELEVANT,
) -> list[Comparison]:
    """Return one comparison for every value of one metric: after minus before, paired.

    A value that is a share of rows that are right is tested by McNemar's mid-p, any other by
    approximate randomisation. The values of the metric are judged together; where several calls
    answer one question, give all they return to `judge`.

    Args:
        metric: has `statistics`, `reduce` and the rest of a `Metric`, of whatever the rows are.
        before: one row an item, at least one.
        after: the same items in the same order.
        resamples: as for `compare`, and so are the rest.
        confidence: of the intervals.
        seed: of the draws.
        trials: of the p values.
        relevant: the smallest difference that matters.
    """
    # In one call, because the shape of a row may depend on all of them (classes seen).
    statistics = metric.statistics(before + after)
    old_rows, new_rows = statistics[: len(before)], statistics[len(before) :]
    first, second = metric.reduce(old_rows.sum(axis=0)), metric.reduce(new_rows.sum(axis=0))
    pairs = paired_interval(
        old_rows, new_rows, metric.reduce, resamples=resamples, confidence=confidence, seed=seed
    )
    p_values = randomisation(old_rows, new_rows, metric.reduce, trials=trials, seed=seed)
    comparisons = []
    for name, pair in pairs.items():
        old, new = defined(float(first[name])), defined(float(second[name]))
        difference = None if old is None or new is None else new - old
        p, test = defined(p_values[name]), "approximate randomisation"
        if pair.gained is not None and pair.lost is not None:
            p, test = mcnemar(pair.gained, pair.lost), "McNemar mid-p"
        size, kind = effect(difference, pair)
        comparisons.append(
            Comparison(
                metric=name,
                base=old,
                tuned=new,
                difference=difference,
                low=defined(pair.low),
                high=defined(pair.high),
                n=len(before),
                signature=signature_of(metric, name),
                confidence=confidence,
                lower_is_better=name in metric.lower_is_better,
                descriptive=name in metric.descriptive,
                reason=undefined_reason(metric, name) if difference is None else None,
                p=p,
                test=None if p is None else test,
                effect=size,
                effect_kind=kind,
                standard_error=defined(pair.standard_error),
            )
        )
    return judge(comparisons, relevant=relevant)


def effect(difference: float | None, pair: Paired) -> tuple[float | None, str | None]:
    """Return the size of a difference without its unit, and what kind of size it is."""
    if difference is None:
        return None, None
    if pair.gained is not None and pair.lost is not None:
        return odds_ratio(pair.gained, pair.lost), "odds ratio"
    if pair.spread > 0:
        return difference / pair.spread, "standardised difference"
    return (0.0, "standardised difference") if difference == 0 else (None, None)


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
