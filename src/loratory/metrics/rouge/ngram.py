"""Overlap of n-grams (Lin 2004, section 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["ngram_hits"]


def ngram_hits(left: Sequence[int], right: Sequence[int], n: int) -> int:
    """Return the number of n-grams two lists of word numbers share, each as often as in both."""
    return (_ngrams(left, n) & _ngrams(right, n)).total()


def _ngrams(ids: Sequence[int], n: int) -> Counter[tuple[int, ...]]:
    return Counter(zip(*(ids[start:] for start in range(n)), strict=False))
