"""What comparisons allow to be said: improved, worse, no evidence, or test too small.

A difference is called improved or worse when its p value, corrected by Holm over all values that
are judged together, is at or below 1 - confidence, and its interval is clear of zero as well.
Otherwise the question is whether the test could have seen a difference that matters. It could not
when the smallest difference it finds four times in five is larger than the relevant one, and the
interval does not rule the relevant one out: then the test is too small. A test that could, or
whose interval rules out any relevant change, gives no evidence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from loratory.errors import ConfigError
from loratory.metrics.significance import detectable, holm, rows_needed
from loratory.records import PLAIN, Comparison

__all__ = ["MIN_ROWS", "POWER", "RELEVANT", "judge"]

MIN_ROWS = 10
"""Below so many rows every test is too small: intervals no longer hold what they promise."""

RELEVANT = 0.02
"""The difference that matters unless told: 2 points of 100; 2% of the base value for metrics in a
unit of their own, such as perplexity."""

POWER = 0.8
"""How often the smallest detectable difference would be found."""


def judge(comparisons: Iterable[Comparison], *, relevant: float = RELEVANT) -> list[Comparison]:
    """Return the same comparisons, each with its verdict, as one family.

    Corrected p value, smallest detectable difference, rows needed and verdict are set anew, so
    that comparisons that were judged by themselves may be judged together. Those that only
    describe, or have no p value, get no verdict and do not count in the family.

    The smallest detectable difference is at the level that Holm asks of the smallest p value:
    (1 - confidence) / number of values.

    Args:
        comparisons: of one question, such as all metrics of one run.
        relevant: the smallest difference that matters, as a share: of the whole scale from 0
            to 1, or of the base value for metrics in a unit of their own.

    Raises:
        ConfigError: `relevant` is not above 0.
    """
    if not relevant > 0:
        raise ConfigError(f"relevant: {relevant} is not above 0; {RELEVANT} is usual.")
    items = list(comparisons)
    tested = {
        place: item.p
        for place, item in enumerate(items)
        if item.p is not None and item.difference is not None and not item.descriptive
    }
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return [
        _judged(item, adjusted[place], len(tested), relevant)
        if place in adjusted
        else dataclasses.replace(
            item, p_adjusted=None, family=None, detectable=None, rows_needed=None, verdict=None
        )
        for place, item in enumerate(items)
    ]


def _judged(item: Comparison, adjusted: float, family: int, share: float) -> Comparison:
    level = 1 - item.confidence
    relevant = share * (abs(item.base or 0.0) if item.metric in PLAIN else 1.0)
    smallest = needed = None
    if item.standard_error and item.n > 1:
        degrees = item.degrees or item.n - 1
        smallest = detectable(item.standard_error, degrees, level=level / family, power=POWER)
        # More rows do not shrink what comes from seeds.
        if relevant > 0 and item.seeds == 1:
            needed = rows_needed(item.n, smallest, relevant)
    return dataclasses.replace(
        item,
        p_adjusted=adjusted,
        family=family,
        relevant=relevant,
        detectable=smallest,
        rows_needed=needed,
        verdict=_verdict(item, adjusted, smallest, relevant),
    )


def _verdict(item: Comparison, adjusted: float, smallest: float | None, relevant: float) -> str:
    if item.n < MIN_ROWS or item.low is None or item.high is None:
        return "test too small"
    if adjusted <= 1 - item.confidence and (item.low > 0 or item.high < 0):
        return "improved" if (item.high < 0) == item.lower_is_better else "worse"
    open_still = max(-item.low, item.high) >= relevant
    if smallest is not None and smallest > relevant and open_still:
        return "test too small"
    return "no evidence"
