"""Student's t: its quantiles and its tails, without scipy."""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["student_p", "student_quantile"]


def student_p(value: float, degrees: float) -> float:
    """Return how often Student's t lies at least as far from 0, in either direction.

    Args:
        value: the statistic.
        degrees: of freedom, above 0.
    """
    assert degrees > 0
    return _incomplete_beta(degrees / (degrees + value * value), degrees / 2, 0.5)


def student_quantile(probability: float, degrees: float) -> float:
    """Return the value that Student's t stays below with a probability.

    Args:
        probability: 0.5 or more, below 1.
        degrees: of freedom, above 0.
    """
    assert 0.5 <= probability < 1 and degrees > 0
    tails = 2 * (1 - probability)
    # The tails are convex, so Newton's steps from below never pass the quantile; the normal's
    # lies below, because its tails are lighter.
    value = NormalDist().inv_cdf(probability)
    for _ in range(200):
        step = (student_p(value, degrees) - tails) / (2 * _density(value, degrees))
        value += max(step, 0.0)
        if step <= 1e-13 * value:
            break
    return value


def _density(value: float, degrees: float) -> float:
    logarithm = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    logarithm -= (degrees + 1) / 2 * math.log1p(value * value / degrees)
    return math.exp(logarithm) / math.sqrt(degrees * math.pi)


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
