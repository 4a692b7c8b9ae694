"""Bootstrap intervals of anything that is a function of sums over rows.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap": draw as many rows as there
are, with replacement, and take percentiles of the value over many draws. As only sums count,
a draw is a vector of how often each row came up, and a block of draws one matrix product.
For two systems the same draws serve both (Koehn 2004, "Statistical Significance Tests for
Machine Translation Evaluation"), so that what makes a row hard for both cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from loratory.errors import ConfigError, DataError
from loratory.metrics.array import Array

__all__ = ["Interval", "Reduce", "bootstrap", "check_settings", "paired_bootstrap", "weights"]

Reduce = Callable[[Array], dict[str, Array]]
"""Sums of shape (..., k) to named values of shape (...); NaN where undefined."""

# Numbers held at once a matrix: 16 MiB each, whatever the number of rows and draws.
_CELLS = 1 << 21


class Interval(NamedTuple):
    """Two percentiles; both NaN when the value is undefined."""

    low: float
    high: float


def bootstrap(
    statistics: Array,
    reduce: Reduce,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the percentile interval of every value that `reduce` gives.

    Draws in which a value is undefined are left out for that value. One row gives an interval
    of no width.

    Args:
        statistics: one row an example, shape (n, k).
        reduce: what turns the sum of rows into values.
        resamples: number of draws.
        confidence: share of the draws between the ends, above 0 and below 1.
        seed: of PCG64; the same gives the same interval.

    Raises:
        ConfigError: `resamples` or `confidence` out of range.
        DataError: no rows.
    """
    return _bootstrap(
        lambda draws: reduce(draws @ statistics), statistics, resamples, confidence, seed
    )


def paired_bootstrap(
    base: Array,
    tuned: Array,
    reduce: Reduce,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the percentile interval of `tuned` minus `base` for every value.

    Args:
        base: one row an example, shape (n, k).
        tuned: the same examples in the same order, shape (n, k).
        reduce: as for `bootstrap`, and so are the rest and the errors.
        resamples: number of draws.
        confidence: share of the draws between the ends.
        seed: of PCG64.
    """
    assert base.shape == tuned.shape, "paired statistics are of the same rows"
    # A product may round equal columns differently; systems that agree must differ by 0.
    same = (base == tuned).all(axis=0)

    def difference(draws: Array) -> dict[str, Array]:
        before, after = draws @ base, draws @ tuned
        after[..., same] = before[..., same]
        first, second = reduce(before), reduce(after)
        return {name: second[name] - first[name] for name in first}

    return _bootstrap(difference, base, resamples, confidence, seed)


def _bootstrap(
    values: Callable[[Array], dict[str, Array]],
    rows: Array,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    """Return the interval of each of `values`, functions of draws of shape (..., n)."""
    check_settings(resamples, confidence)
    n, k = rows.shape
    if not n:
        raise DataError("there are no rows to resample; give at least one.")
    # Undefined values are expected here and dealt with; numpy need not warn of them.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        whole = values(np.ones(n))
        # A block of draws is as wide as the rows, its products as the statistics.
        block = max(1, _CELLS // max(n, k))
        drawn = [values(draws) for draws in weights(n, resamples, seed, block)]
        return {
            name: _interval(
                float(value), np.concatenate([part[name] for part in drawn]), confidence
            )
            for name, value in whole.items()
        }


def check_settings(resamples: int, confidence: float) -> None:
    """Refuse settings of an interval that are out of range.

    Raises:
        ConfigError: all problems at once.
    """
    problems = []
    if resamples < 1:
        problems.append(f"resamples: {resamples} draws give no interval; 1000 is usual.")
    if not 0 < confidence < 1:
        problems.append(f"confidence: {confidence} is not between 0 and 1; 0.95 is usual.")
    if problems:
        raise ConfigError(problems)


def weights(n: int, resamples: int, seed: int, block: int) -> Iterator[Array]:
    """Yield how often each row is drawn, shape (at most `block`, n), until `resamples` are made.

    Every draw adds up to `n`. The numbers do not depend on `block`.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        # Counting n picks is the multinomial, and many times faster than drawing binomials.
        picks = generator.integers(0, n, size=(count, n))
        picks += np.arange(count)[:, None] * n
        yield np.bincount(picks.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)


def _interval(value: float, draws: Array, confidence: float) -> Interval:
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or not defined.size:
        return Interval(np.nan, np.nan)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
