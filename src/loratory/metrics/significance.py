"""Tests, corrections and power for a difference of two systems on the same rows.

McNemar 1947, "Note on the Sampling Error of the Difference Between Correlated Proportions", in
the mid-p form: Fagerland, Lydersen and Laake 2013, "The McNemar Test for Binary Matched-Pairs
Data: Mid-p and Asymptotic Are Better Than Exact Conditional". Holm 1979, "A Simple Sequentially
Rejective Multiple Test Procedure". Bonett and Price 2012, "Adjusted Wald Confidence Interval for
a Difference of Binomial Proportions Based on Paired Data".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from loratory.errors import ConfigError
from loratory.metrics.student import student_quantile

__all__ = ["Share", "detectable", "holm", "mcnemar", "odds_ratio", "rows_needed", "share_interval"]


class Share(NamedTuple):
    """The interval of a difference of two shares, and the standard error behind it."""

    low: float
    high: float
    standard_error: float


def mcnemar(gained: int, lost: int, *, mid: bool = True) -> float:
    """Return the two-sided p value of rows that one system alone gets right.

    Rows on which both are right, or both wrong, say nothing of the difference. Of the others,
    either system would get half if the two did not differ. The exact test adds up the
    probabilities of all splits at least as uneven as the one seen; it stays well below its level
    where such rows are few. The mid-p counts the split that was seen by half, and comes closer to
    it. As many gained as lost, or none, gives 1.

    Args:
        gained: rows that only the second system gets right.
        lost: rows that only the first does.
        mid: give the mid-p; False gives the exact p, which is that of all swaps.
    """
    assert gained >= 0 and lost >= 0
    if gained == lost:
        return 1.0
    total, fewer = gained + lost, min(gained, lost)
    seen = math.exp(
        math.lgamma(total + 1)
        - math.lgamma(fewer + 1)
        - math.lgamma(total - fewer + 1)
        - total * math.log(2)
    )
    tail, term = seen, seen
    for count in range(fewer, 0, -1):
        term *= count / (total - count + 1)
        tail += term
        if term < 1e-17 * tail:
            break
    return min(1.0, 2 * tail - (seen if mid else 0.0))


def share_interval(gained: int, lost: int, n: int, confidence: float) -> Share:
    """Return the interval of the difference of two shares of right answers.

    It is Wald's after adding one row to the gained and one to the lost: few rows that differ, or
    none, leave it a width, where the bootstrap would have none.

    Args:
        gained: rows that only the second system gets right.
        lost: rows that only the first does.
        n: all rows, at least `gained + lost`.
        confidence: above 0 and below 1.
    """
    assert 0 <= gained + lost <= n
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    middle = up - down
    error = math.sqrt((up + down - middle * middle) / (n + 2))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return Share(max(-1.0, middle - reach), min(1.0, middle + reach), error)


def odds_ratio(gained: int, lost: int) -> float:
    """Return the odds of a gain against a loss among rows that differ; 1 where none does.

    Half a row is added to each (Haldane 1956; Anscombe 1956), so that it is finite.
    """
    return (gained + 0.5) / (lost + 0.5)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number, each to be held against the level of all.

    The chance that any hypothesis that is true is rejected stays below that level, however the
    tests hang together.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [0.0] * len(order), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def detectable(
    standard_error: float, degrees: float, *, level: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true difference that a two-sided test would have found that often.

    It is the distance at which the estimate passes the critical value with the stated power,
    by Student's t: (t(1 - level/2) + t(power)) standard errors.

    Args:
        standard_error: of the difference.
        degrees: of freedom behind it.
        level: of the test, above 0 and below 1.
        power: how often, from 0.5 to below 1.

    Raises:
        ConfigError: `power` out of range.
    """
    if not 0.5 <= power < 1:
        raise ConfigError(f"power: {power} is not from 0.5 to below 1; 0.8 is usual.")
    reach = student_quantile(1 - level / 2, degrees) + student_quantile(power, degrees)
    return reach * standard_error


def rows_needed(n: int, found: float, wanted: float) -> int:
    """Return how many rows would make a wanted difference the smallest detectable one.

    The standard error falls with the square root of the rows.

    Args:
        n: rows of the test.
        found: the smallest difference it can detect.
        wanted: the one it should, above 0.
    """
    assert wanted > 0
    return math.ceil(n * (found / wanted) ** 2)
