"""What several seeds allow to be said of several systems.

A system trained once has one number; trained under several seeds it has a spread, and only what
lies outside that spread is a finding (Reimers and Gurevych 2017, "Reporting Score Distributions
Makes a Difference"). The spread is pooled over all systems, as in an analysis of variance, because
three seeds alone say little about one of them; the best is compared with every other one by
Student's t, corrected for their number (Bonferroni).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loratory.errors import DataError

__all__ = ["Spread", "leaders", "pareto", "spread", "student_quantile"]


class Spread(NamedTuple):
    """Values of one system over its seeds."""

    mean: float
    sd: float | None
    """Standard deviation, of n - 1 degrees; None for a single seed."""
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation over seeds.

    Raises:
        DataError: no values.
    """
    if not values:
        raise DataError("seeds: no values; a spread needs at least one.")
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), sd, len(values))


def leaders(
    systems: Mapping[str, Sequence[float]],
    *,
    lower_is_better: bool = False,
    confidence: float = 0.95,
) -> list[str]:
    """Return the system with the best mean, and those that seed noise does not part from it.

    Best first. With one seed a system nothing is parted from the best: then all are returned.

    Args:
        systems: values over seeds, by name; at least one each.
        lower_is_better: the direction.
        confidence: of the whole family of comparisons, above 0 and below 1.

    Raises:
        DataError: a system without values.
    """
    spreads = {name: spread(values) for name, values in systems.items()}
    order = sorted(spreads, key=lambda name: spreads[name].mean, reverse=not lower_is_better)
    if len(order) < 2:
        return order
    degrees = sum(found.n - 1 for found in spreads.values())
    if not degrees:
        return order
    squares = sum((found.sd or 0.0) ** 2 * (found.n - 1) for found in spreads.values())
    pooled = math.sqrt(squares / degrees)
    # Two-sided, because which system is the best was not known beforehand.
    alpha = (1 - confidence) / (len(order) - 1)
    reach = student_quantile(1 - alpha / 2, degrees) * pooled
    best = spreads[order[0]]
    return [
        name
        for name in order
        if abs(spreads[name].mean - best.mean)
        <= reach * math.sqrt(1 / spreads[name].n + 1 / best.n)
    ]


def pareto(points: Mapping[str, tuple[float, ...]]) -> set[str]:
    """Return the points that no other is as good as in everything and better than in something.

    Args:
        points: by name, numbers of which smaller is better; quality goes in with its sign turned.
    """

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    return {
        name for name, point in points.items() if not any(beats(o, point) for o in points.values())
    }


def student_quantile(probability: float, degrees: float) -> float:
    """Return the value that Student's t stays below with a probability.

    Found by halving an interval of the distribution function, which is exact enough: to 1e-12.

    Args:
        probability: 0.5 or more, below 1.
        degrees: of freedom, above 0.
    """
    assert 0.5 <= probability < 1 and degrees > 0
    high = 1.0
    while _student(high, degrees) < probability:
        high *= 2
    low = 0.0
    while high - low > 1e-12 * max(high, 1):
        middle = (low + high) / 2
        if _student(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _student(value: float, degrees: float) -> float:
    """Return the probability of staying below a value of 0 or more."""
    part = degrees / (degrees + value * value)
    return 1 - _incomplete_beta(part, degrees / 2, 0.5) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by Lentz's continued fraction.

    Abramowitz and Stegun 1964, "Handbook of Mathematical Functions", 26.5.8.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly, its mirror does not
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d, fraction = 1.0, 0.0, 1.0
    for step in range(1000):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _away(1 + term * d, tiny)
        c = _away(1 + term / c, tiny)
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * (fraction - 1) / a


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
