"""Longest common subsequences of word numbers, by bits.

The column of the dynamic-programming table is one integer, whose bit i tells whether the
length grows at reference word i (Hyyrö 2004, "Bit-parallel LCS-length computation
revisited"). Lengths come from rapidfuzz, which does the same in machine words; the union
over sentences needs the words themselves, and exactly those that rouge_score picks among
equally long subsequences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rapidfuzz.distance import LCSseq

__all__ = ["lcs_length", "lcs_mask", "summary_lcs"]

_TABLE = 1 << 28  # bits of a table that is kept whole: 32 MiB


def lcs_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the length of the longest common subsequence of two lists of word numbers."""
    # An empty side is answered here: rapidfuzz has had more than one opinion on it.
    return int(LCSseq.similarity(left, right)) if left and right else 0


def lcs_mask(places: dict[int, int], size: int, candidate: Sequence[int]) -> int:
    """Return the reference words of one longest common subsequence, as bits.

    Among equally long ones it is that of rouge_score's walk back through the table: from the
    end, a pair of equal words is taken at once; otherwise the walk drops the last reference
    word, unless that shortens the subsequence, and then the last candidate word.

    Args:
        places: for every word number of the reference, the bits of its positions.
        size: the number of words in the reference.
        candidate: word numbers of the other text.
    """
    full = (1 << size) - 1
    words = [places.get(word, 0) for word in candidate]
    # A large table is kept in part only: its columns are made once more for the way back.
    step = len(words) if len(words) * size <= _TABLE else math.isqrt(len(words))
    starts = range(0, max(len(words), 1), max(step, 1))
    levels = [full]  # zero bits: the table's value grows at this reference word
    for start in starts[:-1]:
        levels.append(_columns(levels[-1], full, words[start : start + step])[-1])
    taken, below = 0, full
    for start, level in zip(reversed(starts), reversed(levels), strict=True):
        part = words[start : start + step]
        for equal, grown in zip(reversed(part), reversed(_columns(level, full, part)), strict=True):
            # Dropping reference words stops at the highest one that is equal or needed.
            stop = (equal | (full ^ grown)) & below
            if not stop:
                return taken
            bit = 1 << (stop.bit_length() - 1)
            if equal & bit:
                taken |= bit
                below = bit - 1
            else:
                below = (bit << 1) - 1
    return taken


def _columns(level: int, full: int, words: Sequence[int]) -> list[int]:
    """Return the columns of the table behind each word, given the one before and their bits."""
    columns = []
    for equal in words:
        if equal:
            both = level & equal
            level = ((level + both) | (level - both)) & full
        columns.append(level)
    return columns


def summary_lcs(prediction: Sequence[Sequence[int]], reference: Sequence[Sequence[int]]) -> int:
    """Return the words of the reference's sentences covered by the prediction's (Lin 2004, 3.2).

    For each reference sentence the subsequences with all predicted sentences are united; a
    word counts no oftener than it occurs in the prediction, as in ROUGE-1.5.5.

    Args:
        prediction: word numbers of each sentence.
        reference: word numbers of each sentence.
    """
    available = Counter(word for sentence in prediction for word in sentence)
    covered: Counter[int] = Counter()
    for sentence in reference:
        places: dict[int, int] = {}
        for position, word in enumerate(sentence):
            places[word] = places.get(word, 0) | 1 << position
        union = 0
        for candidate in prediction:
            union |= lcs_mask(places, len(sentence), candidate)
        for word, bits in places.items():
            covered[word] += (bits & union).bit_count()
    return sum(min(count, available[word]) for word, count in covered.items())
