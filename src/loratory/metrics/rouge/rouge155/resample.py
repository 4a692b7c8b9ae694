"""Bootstrap intervals with the generator ROUGE-1.5.5 draws from.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap". Resample i seeds perl's portable
drand48 (a 48-bit linear congruential generator, POSIX) with i, so the script's intervals, and
its averages, which are means over resamples, come out alike every time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loratory.metrics.array import Array

__all__ = ["Estimate", "draws", "estimate", "resampled_sums"]


class Estimate(NamedTuple):
    """One number with its interval; 0 to 1 each, unrounded."""

    mean: float
    """Mean over resamples: not the plain mean."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


def draws(n: int, samples: int) -> Iterator[NDArray[np.intp]]:
    """Yield n arrays of shape (samples,): the first drawn index of every resample, and so on.

    Args:
        n: how many there are to draw from, and how many are drawn.
        samples: number of resamples, at least 1.
    """
    state = (np.arange(samples, dtype=np.uint64) << np.uint64(16)) + np.uint64(0x330E)
    for _ in range(n):
        # Wrapping at 2^64 is harmless, because only the lowest 48 bits are kept.
        state = (state * np.uint64(0x5DEECE66D) + np.uint64(0xB)) & np.uint64((1 << 48) - 1)
        yield (state.astype(np.float64) * 2.0**-48 * n).astype(np.intp)


def resampled_sums(rows: Array, samples: int) -> Array:
    """Return the sums of the rows each resample draws.

    Args:
        rows: shape (n, k), n at least 1.
        samples: number of resamples, at least 1.

    Returns:
        Shape (samples, k); added row by row, as the script adds.
    """
    sums = np.zeros((samples, rows.shape[1]))
    for index in draws(len(rows), samples):
        sums += rows[index]
    return sums


def estimate(values: Array, confidence: float) -> Estimate:
    """Return mean and percentile interval of one number's resampled values.

    An end that falls between two resamples is interpolated. The script takes the upper end's
    fraction for both ends; and with a single resample it prints nothing of use, where this
    gives its value.

    Args:
        values: shape (samples,).
        confidence: percent, 0 to 100.
    """
    samples = len(values)
    mean = float(np.cumsum(np.sort(values))[-1]) / samples  # added in order, as the script adds
    ordered = np.sort(values).tolist()
    if samples == 1:
        return Estimate(mean, mean, mean)
    # Multiplied before divided, or a whole rank may miss being one.
    below = math.floor((100 - confidence) * samples / 200)
    rank = (100 + confidence) * samples / 200
    above = math.floor(rank)
    part = rank - above
    if not part:
        return Estimate(mean, ordered[below], ordered[above - 1])
    low = ordered[below] + part * (ordered[below + 1] - ordered[below])
    high = ordered[above - 1] + part * (ordered[above] - ordered[above - 1])
    return Estimate(mean, low, high)
