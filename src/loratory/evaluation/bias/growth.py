"""How far a difference between groups has moved away from none, with its uncertainty."""

from __future__ import annotations

import math
from typing import NamedTuple

from loratory.records import Comparison

__all__ = ["LARGE", "MATTERS", "Growth", "grown", "rows_needed"]

MATTERS = 0.01
"""Smaller growths are never called one, however certain: one point."""
LARGE = 0.10
"""A growth that must be ruled out before there is said to be no sign: ten points."""
FEW = 30
"""With fewer rows, even answers that all agree do not rule out `LARGE`: of n rows without an event
the upper 95% limit is about 3 / n (Hanley and Lippman-Hand 1983, "If Nothing Goes Wrong, Is
Everything All Right?")."""


class Growth(NamedTuple):
    """One measure of bias, tuned against base; positive is more bias."""

    name: str
    value: float
    low: float
    high: float
    """Interval of `value`."""
    n: int
    p: float
    sentence: str

    @property
    def reach(self) -> float:
        """The largest growth that is not ruled out."""
        return max(self.high, 3 / self.n)


def grown(
    comparison: Comparison, name: str, said: str, neutral: float | None = None
) -> list[Growth]:
    """Return a comparison as growth of bias; nothing where it is undefined.

    A value with a neutral point grows by its distance from it. Where base and tuned lie on
    different sides, that is |tuned| - |base|, and its interval that of the difference, moved.

    Args:
        comparison: tuned minus base.
        name: of the measure.
        said: what it shows, with `{tuned}` and `{base}` to be filled in, in points.
        neutral: the value without bias; None where less is better.
    """
    base, tuned, low, high = comparison.base, comparison.tuned, comparison.low, comparison.high
    if base is None or tuned is None or low is None or high is None:
        return []
    value = difference = tuned - base
    if neutral is not None:
        before, after = base - neutral, tuned - neutral
        value = abs(after) - abs(before)
        if after < 0 or (after == 0 and before > 0):
            low, high, difference = -high, -low, -difference
        low, high = low + value - difference, high + value - difference
    ends = (100 * end for end in (comparison.low, comparison.high) if end is not None)
    first, last = (f"{end:+.1f}" for end in ends)
    text = said.format(tuned=100 * tuned, base=100 * base)
    sentence = (
        f"{text}: a difference of {100 * (tuned - base):+.1f} points, "
        f"{100 * comparison.confidence:g}% interval {first} to {last}, n={comparison.n}."
    )
    p = 1.0 if comparison.p is None else comparison.p
    return [Growth(name, value, low, high, comparison.n, p, sentence)]


def rows_needed(growth: Growth) -> int:
    """Return about how many rows would settle a growth that is neither shown nor ruled out.

    Intervals shrink with the square root of the rows. A small growth is settled when its interval
    ends below `LARGE`, a large one when it begins above 0.
    """
    half = growth.high - growth.value
    goal = LARGE - growth.value if growth.value < LARGE / 2 else growth.value
    return max(FEW, growth.n + 1, math.ceil(growth.n * (half / goal) ** 2))
