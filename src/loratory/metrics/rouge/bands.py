"""A ROUGE value in a word."""

from __future__ import annotations

from loratory.errors import DataError

__all__ = ["BANDS", "band"]

BANDS = ((0.2, "poor"), (0.4, "fair"), (0.6, "moderate"), (0.8, "good"))
"""Where each band ends; a value on the border belongs to the next."""


def band(value: float) -> str:
    """Return the band of a value: poor, fair, moderate, good or excellent.

    Below 0.2 poor, below 0.4 fair, below 0.6 moderate, below 0.8 good, from 0.8 excellent.
    A band means little alone: what is usual depends on the data, the type and the length.

    Args:
        value: 0 to 1.

    Raises:
        DataError: another number, NaN included.
    """
    if not 0 <= value <= 1:
        raise DataError(f"band: {value} is no ROUGE value; those lie from 0 to 1, not in percent.")
    return next((name for end, name in BANDS if value < end), "excellent")
