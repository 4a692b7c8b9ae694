"""The interval of a paired difference: symmetric bootstrap-t on the jackknife's influences.

Percentile intervals are too narrow on small test sets, and BCa ones are too. A studentised
bootstrap divides the error of each draw by the standard error of that draw; its symmetric form
takes one quantile of the absolute ratio for both ends (Hall 1988, "On Symmetric Bootstrap
Confidence Intervals"). What a row adds to a value that is no mean, such as macro F1 or corpus
BLEU, is found by leaving it out (Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
chapters 11 and 12). Values that are a share of right answers are recognised by these influences
and get the interval of `significance.share_interval`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from loratory.errors import DataError
from loratory.metrics.array import Array
from loratory.metrics.randomisation import TIE
from loratory.metrics.resample import Reduce, check_settings, weights
from loratory.metrics.significance import share_interval
from loratory.metrics.student import student_quantile

__all__ = ["Paired", "flips", "influences", "paired_interval"]

# Numbers held at once a matrix: 16 MiB each, whatever the number of rows and draws.
_CELLS = 1 << 21


class Paired(NamedTuple):
    """What is known of one difference besides its size; NaN where undefined."""

    low: float
    high: float
    standard_error: float
    spread: float
    """Standard deviation of the rows' influences on the difference: of the differences of the
    rows, where the value is a mean."""
    gained: int | None
    """Rows that go from wrong to right; None where the value is no share of right answers."""
    lost: int | None


def paired_interval(
    base: Array,
    tuned: Array,
    reduce: Reduce,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Paired]:
    """Return the interval and standard error of `tuned` minus `base` for every value.

    Draws in which a value is undefined are left out for that value. Where all rows have the same
    influence, or the statistics of both systems are equal, the interval has no width. One row
    gives no interval, except for a share of right answers.

    Args:
        base: one row an example, shape (n, k).
        tuned: the same examples in the same order, shape (n, k).
        reduce: what turns the sum of rows into values.
        resamples: number of draws.
        confidence: how often such intervals hold the true difference, above 0 and below 1.
        seed: of PCG64; the same gives the same interval.

    Raises:
        ConfigError: `resamples` or `confidence` out of range.
        DataError: no rows.
    """
    assert base.shape == tuned.shape, "paired statistics are of the same rows"
    check_settings(resamples, confidence)
    n = len(base)
    if not n:
        raise DataError("there are no rows to resample; give at least one.")
    # Undefined values are expected here and dealt with; numpy need not warn of them.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        first, second = reduce(base.sum(axis=0)), reduce(tuned.sum(axis=0))
        old, new = influences(base, reduce), influences(tuned, reduce)
        equal = np.array_equal(base, tuned)
        found: dict[str, Paired] = {}
        pending: dict[str, Array] = {}
        for name in first:
            before, after = float(first[name]), float(second[name])
            right = flips(before + old[name], after + new[name])
            moves = new[name] - old[name]
            moves -= moves.mean()
            moves[np.abs(moves) <= TIE * max(abs(before), abs(after))] = 0
            spread = math.sqrt(moves @ moves / (n - 1)) if n > 1 else math.nan
            if math.isnan(after - before):
                found[name] = Paired(math.nan, math.nan, math.nan, math.nan, None, None)
            elif equal:
                found[name] = Paired(0.0, 0.0, 0.0, 0.0, *(right or (None, None)))
            elif right is not None:
                found[name] = Paired(*share_interval(*right, n, confidence), spread, *right)
            else:
                change = after - before if n > 1 else math.nan
                error = spread / math.sqrt(n)
                found[name] = Paired(change, change, error, spread, None, None)
                if error > 0:
                    pending[name] = moves
        if not pending:
            return found
        seen = np.array([found[name].low for name in pending])
        ratios = _ratios(base, tuned, reduce, pending, seen, resamples, seed)
        differing = int((base != tuned).any(axis=1).sum())
        for name, middle, column in zip(pending, seen.tolist(), ratios.T, strict=True):
            reach = _multiple(column, confidence, differing) * found[name].standard_error
            found[name] = found[name]._replace(low=middle - reach, high=middle + reach)
    return found


def influences(rows: Array, reduce: Reduce) -> dict[str, Array]:
    """Return what each row adds to every value, by leaving it out: (n - 1) (all - without it).

    For a mean that is the row's value minus the mean. A row without which a value is undefined
    has 0.

    Args:
        rows: shape (n, k).
        reduce: what turns sums of rows into values.

    Returns:
        arrays of shape (n,).
    """
    n, k = rows.shape
    totals = rows.sum(axis=0)
    whole = reduce(totals)
    block = max(1, _CELLS // k)
    parts = [reduce(totals - rows[start : start + block]) for start in range(0, n, block)]
    return {
        name: np.nan_to_num((n - 1) * (whole[name] - np.concatenate([p[name] for p in parts])))
        for name in whole
    }


def flips(before: Array, after: Array) -> tuple[int, int] | None:
    """Return how many rows go from 0 to 1 and from 1 to 0, or None if any value is another.

    Args:
        before: the value of each row under one system, shape (n,).
        after: under the other.
    """
    sides = []
    for values in (before, after):
        whole = np.rint(values)
        if not (np.abs(values - whole) < 1e-6).all() or not np.isin(whole, (0, 1)).all():
            return None
        sides.append(whole)
    old, new = sides
    return int((new > old).sum()), int((new < old).sum())


def _ratios(
    base: Array,
    tuned: Array,
    reduce: Reduce,
    moved: dict[str, Array],
    seen: Array,
    resamples: int,
    seed: int,
) -> Array:
    """Return the error of each draw in standard errors of that draw, shape (draws, values).

    Args:
        base: as for `paired_interval`, and so are the rest.
        tuned: the same rows.
        reduce: sums to values.
        moved: the influence of each row on the difference, mean 0, by value.
        seen: the differences.
        resamples: number of draws.
        seed: of PCG64.
    """
    n = len(base)
    moves = np.stack(list(moved.values()), axis=1)  # (n, values)
    # A product may round equal columns differently; systems that agree must differ by 0.
    same = (base == tuned).all(axis=0)
    slack = TIE * np.maximum(np.abs(moves).max(axis=0), np.abs(seen))
    squares = moves * moves
    found = []
    for draws in weights(n, resamples, seed, max(1, _CELLS // max(n, base.shape[1]))):
        before, after = draws @ base, draws @ tuned
        after[..., same] = before[..., same]
        first, second = reduce(before), reduce(after)
        error = np.stack([second[name] - first[name] for name in moved], axis=1) - seen
        variance = draws @ squares / n - (draws @ moves / n) ** 2
        parted = np.abs(error) > slack
        ratio = np.abs(error) / np.sqrt(np.maximum(variance, 0) / (n - 1))
        # A draw of rows that all move alike has no standard error: 0 or infinitely far off.
        flat = variance <= slack * slack
        ratio[flat] = np.where(parted[flat], np.inf, 0.0)
        ratio[np.isnan(error)] = np.nan
        found.append(ratio)
    return np.concatenate(found)


def _multiple(ratios: Array, confidence: float, rows: int) -> float:
    """Return how many standard errors an interval reaches to either side.

    Where few rows differ, too many draws hold none of them for the quantile to be finite. Then
    it is Student's, of as many degrees as there are such rows, less one.
    """
    ratios = ratios[~np.isnan(ratios)]
    multiple = np.quantile(ratios, confidence, method="higher") if ratios.size else np.inf
    if np.isfinite(multiple):
        return float(multiple)
    return student_quantile((1 + confidence) / 2, max(1, rows - 1))
