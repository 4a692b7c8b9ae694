"""Means as sums divided at the end, where nothing divided by nothing is undefined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loratory.metrics.array import Array

__all__ = ["counted", "means", "ratio"]


def ratio(part: Array, whole: Array, undefined: float = np.nan) -> Array:
    """Return `part / whole`, both of one broadcast shape; `undefined` where `whole` is 0."""
    part, whole = np.broadcast_arrays(part, whole)
    quotient: Array = np.full(whole.shape, undefined)
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient


def counted(values: Sequence[Array]) -> Array:
    """Return rows of 1 and each value, shape (n, 1 + values): their sums give means.

    Args:
        values: columns of shape (n,), at least one.
    """
    return np.stack([np.ones(len(values[0])), *values], axis=1)


def means(totals: Array, names: Sequence[str]) -> dict[str, Array]:
    """Return the mean of each column of `counted`, by name, from the rows' sums.

    Args:
        totals: shape (..., 1 + names).
        names: of the columns behind the first.
    """
    return {name: ratio(totals[..., i], totals[..., 0]) for i, name in enumerate(names, 1)}
