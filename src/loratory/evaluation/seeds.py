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
from loratory.metrics.student import student_quantile

__all__ = ["Spread", "leaders", "pareto", "spread"]


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
