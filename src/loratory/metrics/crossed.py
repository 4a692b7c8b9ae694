"""The variance of a mean over seeds and rows that cross: every seed answers the same rows.

It is the sum of what other seeds and what other rows would add, and the critical value is
Student's t of both, each weighted by its part (Cochran 1964, "Approximate Significance Levels of
the Behrens-Fisher Test"). That keeps its promise with three seeds, where Satterthwaite's degrees
of freedom are too many.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from loratory.metrics.array import Array
from loratory.metrics.student import student_p, student_quantile

__all__ = ["Variance", "variance"]


class Variance(NamedTuple):
    """Of a mean over seeds and rows."""

    seeds: float
    """What drawing other seeds would add."""
    rows: float
    """What drawing other rows would add, beyond what the seeds' part holds already."""
    degrees: tuple[float, float]
    """Of freedom: of the seeds' part and of the rows'."""

    @property
    def standard_error(self) -> float:
        """The square root of both parts."""
        return math.sqrt(self.seeds + self.rows)

    def reach(self, level: float) -> float:
        """Return how many standard errors a two-sided interval at a level reaches.

        Args:
            level: 1 - confidence, above 0 and below 1.
        """
        parts = (self.seeds, self.rows)
        quantiles = [student_quantile(1 - level / 2, found) for found in self.degrees]
        return sum(p * q for p, q in zip(parts, quantiles, strict=True)) / sum(parts)

    def p(self, difference: float) -> float:
        """Return the level at which the interval of a difference would end at zero."""
        away = abs(difference) / self.standard_error
        few, many = sorted(self.degrees)
        # The weighted quantile lies between the two, and so does the level.
        low, high = sorted((student_p(away, many), student_p(away, few)))
        for _ in range(40):
            if high - low <= 1e-6 * high:
                break
            middle = (low + high) / 2
            low, high = (middle, high) if self.reach(middle) > away else (low, middle)
        return high

    def joint(self, level: float) -> float:
        """Return the degrees of freedom at which Student's t reaches as far at a level."""
        reach = self.reach(level)
        low, high = sorted(self.degrees)
        for _ in range(40):
            middle = math.sqrt(low * high)
            over = student_quantile(1 - level / 2, middle) > reach
            low, high = (middle, high) if over else (low, middle)
            if high - low <= 1e-6 * high:
                break
        return low


def variance(differences: Array, moves: Array) -> Variance:
    """Return the variance of the mean difference, of crossed seeds and rows.

    Args:
        differences: one a seed, shape (seeds,), at least two.
        moves: what each row adds to the difference of each seed, shape (seeds, rows), mean 0 over
            the rows; at least two rows.
    """
    seeds, rows = moves.shape
    of_seeds = float(differences.var(ddof=1)) / seeds
    shared = moves.mean(axis=0)
    of_rows = float(shared @ shared) / (rows * (rows - 1))
    # What a row does under one seed alone is in both parts; count it once.
    alone = float(((moves - shared) ** 2).sum()) / ((seeds - 1) * (rows - 1) * rows * seeds)
    return Variance(of_seeds, max(0.0, of_rows - alone), (seeds - 1, rows - 1))
