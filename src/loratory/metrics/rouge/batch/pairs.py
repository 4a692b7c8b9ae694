"""Words and n-grams that two columns share, pair by pair, for many pairs in one sort.

The hits of ROUGE-N are the multiset intersection of the n-grams of two texts (Lin 2004,
section 2). All n-grams of all pairs are sorted as integers that name their pair and n-gram;
runs of equal ones are then counted by side. An n-gram can only be shared if its words are, so
longer ones are built of those that were found shared before.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
from rapidfuzz.distance import LCSseq

from loratory.metrics.array import Array
from loratory.metrics.rouge.batch.column import Column, Indices, running

__all__ = ["Pairs"]

_SURROGATES = 0xD800, 0x800  # code points that are no characters: the first, and how many
_CODES = 0x110000 - 0x800


class Pairs:
    """n pairs of texts: the i-th of one column with the i-th of the other.

    Shared words get ranks: from 1, in the order of their pairs, another one in each pair. 0 is
    a word that the other text of the pair has not.
    """

    def __init__(self, left: Column, right: Column) -> None:
        self.left, self.right = left, right
        self.n = len(left.texts) - 1
        pairs = [np.repeat(np.arange(self.n), np.diff(side.word_offsets)) for side in (left, right)]
        words = max(int(side.words.max(initial=0)) for side in (left, right)) + 1
        keys = [pair * words + side.words for pair, side in zip(pairs, (left, right), strict=True)]
        self.ranks, self.counts, first = _shared(keys[0], keys[1])
        """Of each word of each side; and how often a rank occurs on each, from rank 1."""
        self.rank_pairs: Indices = pairs[0][first]
        """The pair of each rank, from rank 1."""

    @cached_property
    def rank_offsets(self) -> Indices:
        """Ranks `rank_offsets[i] + 1` to `rank_offsets[i + 1]` are of pair i."""
        return np.searchsorted(self.rank_pairs, np.arange(self.n + 1))

    def hits(self, orders: int) -> list[Array]:
        """Return the shared n-grams of each pair, for n from 1 to `orders`; shape (n,) each."""
        found = [self.per_pair(np.minimum(*self.counts))]
        grams, rank_pairs = self.ranks, self.rank_pairs
        # Places from which an n-gram would reach over the end of its text are ruled out.
        ends = [side.word_offsets[1:] for side in (self.left, self.right)]
        inside = [_before_end(ranks, stops) for ranks, stops in zip(self.ranks, ends, strict=True)]
        for n in range(2, orders + 1):
            factor = len(self.rank_pairs) + 1
            keys, places = [], []
            for gram, ranks, reach in zip(grams, self.ranks, inside, strict=True):
                last = ranks[n - 1 :]
                first = gram[: len(last)]
                place = np.flatnonzero((first > 0) & (last > 0) & (reach[: len(last)] >= n))
                keys.append(first[place] * factor + last[place])
                places.append(place)
            shared, counts, once = _shared(keys[0], keys[1])
            rank_pairs = rank_pairs[grams[0][places[0][once]] - 1]
            found.append(self.per_pair(np.minimum(*counts), rank_pairs))
            if n < orders:
                grams = np.zeros_like(grams[0]), np.zeros_like(grams[1])
                for gram, place, rank in zip(grams, places, shared, strict=True):
                    gram[place] = rank
        return found

    @cached_property
    def lcs_lengths(self) -> Array:
        """The length of the longest common subsequence of each pair, shape (n,)."""
        texts = []
        for ranks, side in zip(self.ranks, (self.left, self.right), strict=True):
            # Words that only one side has are in no common subsequence.
            kept = running(ranks > 0)[side.word_offsets]
            common = ranks[np.flatnonzero(ranks)]
            codes = common - np.repeat(self.rank_offsets[:-1], np.diff(kept))
            texts.append(_strings(codes, kept.tolist()))
        return np.fromiter(map(_length, *texts), dtype=np.float64, count=self.n)

    def per_pair(self, counts: Indices, pairs: Indices | None = None) -> Array:
        """Return sums over each pair, shape (n,), of a count a rank, or of the pairs given."""
        pairs = self.rank_pairs if pairs is None else pairs
        return np.asarray(np.bincount(pairs, weights=counts, minlength=self.n))


def _shared(
    left: Indices, right: Indices
) -> tuple[tuple[Indices, Indices], tuple[Indices, Indices], Indices]:
    """Find the keys that stand on both sides.

    Args:
        left: keys, 0 or more, shape (l,).
        right: keys, shape (r,).

    Returns:
        Ranks of each side's keys, from 1 in the order of the keys and 0 for those of one side
        alone; how often each rank occurs on each side; and where on the left each occurs.
    """
    places, keys = _sorted(np.concatenate([left, right]))
    if not len(keys):
        return (left, right), (left, right), left
    edges = np.concatenate([[True], keys[1:] != keys[:-1], [True]])
    bounds = np.flatnonzero(edges)
    starts, sizes = bounds[:-1], np.diff(bounds)
    rights = np.diff(running(places >= len(left))[bounds])
    lefts = sizes - rights
    both = (lefts > 0) & (rights > 0)
    ranks = np.empty_like(places)
    ranks[places] = np.repeat(running(both)[1:] * both, sizes)
    found = np.flatnonzero(both)
    return (
        (ranks[: len(left)], ranks[len(left) :]),
        (lefts[found], rights[found]),
        places[starts[found]],  # of equal keys, the left side's come first
    )


def _sorted(keys: Indices) -> tuple[Indices, Indices]:
    """Return a stable order of keys, and the keys in it."""
    bits = len(keys).bit_length()
    if int(keys.max(initial=0)).bit_length() + bits > 63:
        order = np.argsort(keys, kind="stable")
        return order, keys[order]
    # A key with its place behind it: sorting integers is many times faster than ordering them.
    together = keys << bits
    together |= np.arange(len(keys))
    together.sort()
    return together & ((1 << bits) - 1), together >> bits


def _before_end(words: Indices, stops: Indices) -> Indices:
    """Return how many words there are from each one to the end of its text, itself included."""
    sizes = np.diff(stops, prepend=0)
    return np.repeat(stops, sizes) - np.arange(len(words))


def _strings(codes: Indices, offsets: list[int]) -> list[str] | list[list[int]]:
    """Return numbers as strings of as many characters, which rapidfuzz compares fastest."""
    start, count = _SURROGATES
    if codes.max(initial=0) >= _CODES:
        every = codes.tolist()
        return [every[a:b] for a, b in pairwise(offsets)]
    if codes.max(initial=0) >= start:
        codes = codes + count * (codes >= start)
    text = codes.astype("<u4").tobytes().decode("utf-32-le")
    return [text[a:b] for a, b in pairwise(offsets)]


def _length(left: str | list[int], right: str | list[int]) -> int:
    return int(LCSseq.similarity(left, right)) if left else 0
