"""Approximate randomisation: how often chance alone parts two systems as far as they are.

Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses"; Yeh 2000, "More Accurate Tests
for the Statistical Significance of Result Differences" (arXiv cs/0008005); Riezler and Maxwell
2005, "On Some Pitfalls in Automatic Evaluation and Significance Testing for MT". If the two
systems did not differ, either could have given either of the two answers to a row. So each trial
swaps them, row by row, by the toss of a coin. As only sums count, a trial is a vector of zeros
and ones, and a block of trials one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loratory.errors import ConfigError, DataError
from loratory.metrics.array import Array
from loratory.metrics.resample import Reduce

__all__ = ["TIE", "randomisation", "swaps"]

TIE = 1e-9
"""Differences this close, as a share of the values they are taken of, are equal."""

# Numbers held at once a matrix: 16 MiB each, whatever the number of rows and trials.
_CELLS = 1 << 21
_WORD = 64


def randomisation(
    base: Array, tuned: Array, reduce: Reduce, *, trials: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """Return the two-sided p value of every value that `reduce` gives.

    It is (1 + c) / (1 + t), where c of t trials part the systems at least as far, in either
    direction, as they are parted. A trial that parts them equally far counts. Where all 2^m
    swaps of the m rows that differ are no more than `trials`, each is made once, and the share
    of those that part the systems as far is the p value itself. Equal systems have p = 1.

    A value that is undefined for a system has a p value of NaN. Trials in which it is undefined
    are left out for that value.

    Args:
        base: one row an example, shape (n, k).
        tuned: the same examples in the same order, shape (n, k).
        reduce: what turns the sum of rows into values.
        trials: number of swaps drawn, and so 1 / (1 + trials) the smallest p value.
        seed: of PCG64; the same gives the same p values, on any machine.

    Raises:
        ConfigError: `trials` below 1.
        DataError: no rows.
    """
    assert base.shape == tuned.shape, "paired statistics are of the same rows"
    if trials < 1:
        raise ConfigError(f"trials: {trials} swaps give no p value; 10000 is usual.")
    if not len(base):
        raise DataError("there are no rows to swap; give at least one.")
    base, tuned = _exact(base, tuned)
    changes = (tuned - base)[(base != tuned).any(axis=1)]
    before, after = base.sum(axis=0), tuned.sum(axis=0)
    moving = changes.any(axis=0)
    changes = np.ascontiguousarray(changes[:, moving])
    # Undefined values are expected here and dealt with; numpy need not warn of them.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        seen = reduce(before), reduce(after)
        tallies = {name: np.zeros(2, dtype=np.int64) for name in seen[0]}
        block = max(1, _CELLS // max(changes.shape[0], base.shape[1]))
        for swapped in swaps(len(changes), trials, seed, block):
            first = np.tile(before, (len(swapped), 1))
            second = np.tile(after, (len(swapped), 1))
            shift = swapped @ changes
            first[:, moving] += shift
            second[:, moving] -= shift
            drawn = reduce(first), reduce(second)
            for name, tally in tallies.items():
                tally += _tally((seen[0][name], seen[1][name]), (drawn[0][name], drawn[1][name]))
    # All swaps hold the one that swaps nothing, which is what was seen; drawn ones need it added.
    added = 0 if _exhaustive(len(changes), trials) else 1
    return {
        name: np.nan
        if np.isnan(seen[1][name] - seen[0][name])
        else float((added + far) / (added + defined))
        for name, (far, defined) in tallies.items()
    }


def _exhaustive(rows: int, trials: int) -> bool:
    """Return whether all swaps of so many rows are no more than `trials`."""
    return rows < _WORD and 1 << rows <= trials


def swaps(rows: int, trials: int, seed: int, block: int) -> Iterator[Array]:
    """Yield which rows change sides, 0 or 1, shape (at most `block`, rows).

    All 2^rows of them, the unswapped first, if that is no more than `trials`; else `trials`
    drawn ones. The numbers do not depend on `block`.
    """
    if _exhaustive(rows, trials):
        total, places = 1 << rows, np.arange(rows)
        for start in range(0, total, block):
            numbers = np.arange(start, min(start + block, total))
            yield (numbers[:, None] >> places & 1).astype(np.float64)
        return
    generator = np.random.PCG64(seed)
    words = -(-rows // _WORD)
    for start in range(0, trials, block):
        count = min(block, trials - start)
        # Little-endian everywhere, so that the same bit goes to the same row.
        raw = np.asarray(generator.random_raw(count * words), dtype="<u8").view(np.uint8)
        bits = np.unpackbits(raw.reshape(count, -1), axis=1, count=rows, bitorder="little")
        yield bits.astype(np.float64)


def _exact(base: Array, tuned: Array) -> tuple[Array, Array]:
    """Return both, rounded so that every sum of their rows is exact in any order.

    Each column is put on the grid of a power of two, at most 2^-51 of the sum of its absolute
    values: whole numbers stay as they are, and other values lose no more than a sum of them
    would. So the sums depend neither on the processor's order of additions nor on the block,
    and swapping the same rows gives the same sums to the last bit.
    """
    size = np.abs(base).sum(axis=0) + np.abs(tuned).sum(axis=0)
    exponent = np.maximum(np.frexp(size)[1] - 52, -1074)  # the finest grid there is

    def on_grid(rows: Array) -> Array:
        rounded: Array = np.ldexp(np.rint(np.ldexp(rows, -exponent)), exponent)
        return rounded

    return on_grid(base), on_grid(tuned)


def _tally(seen: tuple[Array, Array], trials: tuple[Array, Array]) -> NDArray[np.int64]:
    """Return how many trials part two values as far as they are parted, and how many at all.

    Other swaps may give a difference that is equal in exact arithmetic and a few roundings
    apart here, as 1/3 + 1/3 and 2/3 are; hence the tolerance.
    """
    size = np.maximum(*np.abs([*seen]))
    parted = np.abs(trials[1] - trials[0])
    slack = TIE * np.maximum(size, np.maximum(np.abs(trials[0]), np.abs(trials[1])))
    far = parted >= np.abs(seen[1] - seen[0]) - slack
    return np.array([np.count_nonzero(far), np.count_nonzero(~np.isnan(parted))])
