"""How much of each number of a probe was lost, and whether the test could tell.

Every number is paired: both models judged the same items. An accuracy is lost in points, a
perplexity as a share of the base model's, through the difference of logarithms. A loss counts as
found when three things hold: its interval lies on the worse side of none; its p value stands Holm's
correction over all numbers looked at; and it is larger than a stated size. It is ruled out when the
whole interval is below that size. Between the two the test was too small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from loratory.metrics.array import Array
from loratory.metrics.likelihood import ChoiceAccuracy, metric_of
from loratory.metrics.paired import paired_interval
from loratory.metrics.significance import detectable, rows_needed, share_interval
from loratory.records import Comparison, Contrasts, Judgement

__all__ = [
    "ACCURACY_DROP",
    "FEWEST",
    "FOUND",
    "NO_SIGN",
    "PERPLEXITY_RISE",
    "REPEATED",
    "TOO_LITTLE",
    "Judged",
    "Loss",
    "losses",
]

ACCURACY_DROP = 0.05
"""Of accuracy, 0 to 1: a smaller loss is not called forgetting."""
PERPLEXITY_RISE = 0.05
"""Of perplexity, as a share of the base model's."""
FEWEST = 20
"""Items below which nothing is said of a probe."""
REPEATED = "bits_per_byte"
"""It moves as perplexity does, so it is shown and not judged a second time."""

FOUND, NO_SIGN, TOO_LITTLE = "found", "no sign", "too little to tell"

Judged = Mapping[str, tuple[list[Judgement], list[Judgement]]]
"""A probe's name to what the base and the tuned model made of the same items."""


@dataclass(frozen=True)
class Loss:
    """How much of one number of one probe was lost."""

    probe: str
    metric: str
    """`perplexity`, `accuracy` or `accuracy_norm`."""
    base: float
    tuned: float
    value: float
    """Accuracy: points lost, 0 to 1. Perplexity: the rise as a share of the base model's. Below 0
    where it got better."""
    low: float
    high: float
    """The interval of `value`."""
    n: int
    p: float
    """With Holm's correction for the number of losses looked at."""
    verdict: str
    """`found`, `no sign` or `too little to tell`."""
    detectable: float
    """The smallest loss that a test of this size finds four times in five."""
    needed: int
    """Items with which a loss of the stated size is found four times in five."""
    reason: str = ""
    """Why nothing can be told whatever the numbers are; empty where something can."""

    @property
    def size(self) -> float:
        """Return the loss up to which nothing is called forgetting."""
        return PERPLEXITY_RISE if self.metric == "perplexity" else ACCURACY_DROP


def losses(
    probes: Judged,
    tables: Sequence[Contrasts],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Loss]:
    """Return a loss for each number of each probe; bits per byte say what perplexity says.

    Args:
        probes: each probe's judgements, the base model's first.
        tables: the comparisons of each probe, in the probes' order, judged as one family.
        resamples: draws behind the intervals of perplexity's rise.
        seed: of the draws.
    """
    return [
        _loss(name, probes[name], comparison, resamples, seed)
        for name, table in zip(probes, tables, strict=True)
        for comparison in table.comparisons
        if comparison.metric != REPEATED and comparison.difference is not None
    ]


def _loss(
    probe: str,
    judged: tuple[list[Judgement], list[Judgement]],
    item: Comparison,
    resamples: int,
    seed: int,
) -> Loss:
    assert item.base is not None and item.tuned is not None
    relative = item.metric == "perplexity"
    found = item.detectable or 0.0
    if relative:
        value = math.expm1(math.log(item.tuned) - math.log(item.base))
        low, high = _relative(judged, resamples, item.confidence, seed) or (value, value)
        found /= item.base
    else:
        value, low, high = item.base - item.tuned, -(item.high or 0.0), -(item.low or 0.0)
        if low == high == 0 and judged[0] != judged[1]:
            # The models differ, but not in what they get right: more items might show a change.
            low, high, error = share_interval(0, 0, item.n, item.confidence)
            found = detectable(error, max(1, item.n - 1), level=1 - item.confidence)
    size = PERPLEXITY_RISE if relative else ACCURACY_DROP
    needed = max(FEWEST, rows_needed(item.n, found, size))
    p = 1.0 if item.p_adjusted is None else item.p_adjusted
    reason = _mute(item, judged[0])
    if reason or item.n < FEWEST:
        verdict = TOO_LITTLE
    elif low > 0 and p <= 1 - item.confidence and value > size:
        verdict = FOUND
    else:
        verdict = NO_SIGN if high <= size else TOO_LITTLE
    return Loss(
        probe=probe,
        metric=item.metric,
        base=item.base,
        tuned=item.tuned,
        value=value,
        low=low,
        high=high,
        n=item.n,
        p=p,
        verdict=verdict,
        detectable=found,
        needed=needed,
        reason=reason,
    )


def _relative(
    judged: tuple[list[Judgement], list[Judgement]], resamples: int, confidence: float, seed: int
) -> tuple[float, float] | None:
    """Return the interval of the rise of perplexity, as a share; None for one text."""
    metric = metric_of(judged[0])
    rows = metric.statistics([*judged[0], *judged[1]])
    n = len(judged[0])

    def logarithm(totals: Array) -> dict[str, Array]:
        return {"log": np.log(metric.reduce(totals)["perplexity"])}

    pair = paired_interval(
        rows[:n], rows[n:], logarithm, resamples=resamples, confidence=confidence, seed=seed
    )["log"]
    if math.isnan(pair.low):
        return None
    return math.expm1(pair.low), math.expm1(pair.high)


def _mute(item: Comparison, base: Sequence[Judgement]) -> str:
    """Say why an accuracy can show no loss: the base model has none to lose."""
    if item.metric == "perplexity":
        return ""
    assert item.base is not None
    choice = isinstance(metric_of(base), ChoiceAccuracy)
    chance = sum(1 / len(row.loglikelihoods) for row in base) / len(base) if choice else 0.0
    level = NormalDist().inv_cdf((1 + item.confidence) / 2)
    spread = level * math.sqrt(item.base * (1 - item.base) / item.n)
    if item.base - spread > chance:
        return ""
    if choice:
        return (
            f"the base model is no better than chance here ({chance:.0%}), so it has nothing to "
            "lose"
        )
    return "the base model gets next to none of them right, so it has nothing to lose"
