"""Division of sums, where nothing divided by nothing is undefined."""

from __future__ import annotations

import numpy as np

from loratory.metrics.array import Array

__all__ = ["ratio"]


def ratio(part: Array, whole: Array, undefined: float = np.nan) -> Array:
    """Return `part / whole`, both of one broadcast shape; `undefined` where `whole` is 0."""
    part, whole = np.broadcast_arrays(part, whole)
    quotient: Array = np.full(whole.shape, undefined)
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient
