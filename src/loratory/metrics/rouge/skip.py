"""Skip-bigrams: pairs of words in their order, with other words between (Lin 2004, section 5).

Lin and Och 2004, "Automatic Evaluation of Machine Translation Quality Using Longest Common
Subsequence and Skip-Bigram Statistics". A gap of 0 gives plain bigrams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loratory.metrics.rouge.ngram import ngram_hits

__all__ = ["skip_hits", "skip_units", "su_hits", "su_units"]

# Up to so many pairs of one text are held at once; beyond, they are counted word by word.
_PAIRS = 1 << 17


def skip_units(words: int, gap: int | None) -> int:
    """Return how many skip-bigrams a text of so many words has.

    Args:
        words: 0 or more.
        gap: most words between the two; None for no limit.
    """
    reach = _reach(words, gap)
    return reach * words - reach * (reach + 1) // 2


def skip_hits(left: Sequence[int], right: Sequence[int], gap: int | None) -> int:
    """Return the skip-bigrams two lists of word numbers share, each as often as in both."""
    if max(skip_units(len(left), gap), skip_units(len(right), gap)) <= _PAIRS:
        return (_pairs(left, gap) & _pairs(right, gap)).total()
    return _hits_by_word(left, right, gap)


def su_units(words: int, gap: int | None) -> int:
    """Return the number of skip-bigrams and words of a text of so many words."""
    return skip_units(words, gap) + words


def su_hits(left: Sequence[int], right: Sequence[int], gap: int | None) -> int:
    """Return the skip-bigrams and words that two lists share.

    Lin's begin-of-sentence marker, which makes a pair with every word, means the same without
    a limit. With one, every word counts here all the same, as the definition says.
    """
    return skip_hits(left, right, gap) + ngram_hits(left, right, 1)


def _reach(words: int, gap: int | None) -> int:
    """Return how far apart the positions of a pair can be."""
    longest = max(words - 1, 0)
    return longest if gap is None else min(gap + 1, longest)


def _pairs(ids: Sequence[int], gap: int | None) -> Counter[tuple[int, int]]:
    pairs: Counter[tuple[int, int]] = Counter()
    for distance in range(1, _reach(len(ids), gap) + 1):
        pairs.update(zip(ids, ids[distance:], strict=False))
    return pairs


def _hits_by_word(left: Sequence[int], right: Sequence[int], gap: int | None) -> int:
    """Count shared pairs by their first word: memory grows with the texts, not their square."""
    size = max(max(left), max(right)) + 1 if left and right else 0
    texts = [np.array(ids, dtype=np.intp) for ids in (left, right)]
    hits = 0
    for word in set(left) & set(right):
        one, other = (_followers(ids, word, size, gap) for ids in texts)
        hits += int(np.minimum(one, other).sum())
    return hits


def _followers(ids: NDArray[np.intp], word: int, size: int, gap: int | None) -> NDArray[np.int64]:
    """Return how often each word number follows `word` within the gap, shape (size,)."""
    # (words + 1,): how often the word stands before each position.
    before = np.concatenate([[0], np.cumsum(ids == word)])
    count = before[:-1].copy()
    reach = _reach(len(ids), gap)
    count[reach:] -= before[: len(ids) - reach]
    # Sums of whole numbers below 2^53 are exact in doubles.
    return np.bincount(ids, weights=count, minlength=size).astype(np.int64)
