"""Near duplicates: every pair of texts whose word n-grams overlap by at least a given share.

The overlap is that of Jaccard: n-grams in both, divided by n-grams in either. Broder 1997, "On the
Resemblance and Containment of Documents", compares documents so, and estimates it by MinHash. Here
nothing is estimated. Chaudhuri, Ganti and Kaushik 2006, "A Primitive Operator for Similarity Joins
in Data Cleaning": of two sets with an overlap of t or more, the few rarest n-grams of each must
share one, so only texts that do are compared (prefix filtering, Bayardo et al. 2007). Two filters
that never drop a right pair stand before the count: the places at which an n-gram stands (Xiao et
al. 2008, "Efficient Similarity Joins for Near Duplicate Detection") and the differing bits of two
short signatures (Sandes et al. 2020, "Bitmap Filter"). So every pair is found, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loratory.metrics.array import Array
from loratory.metrics.shingles import Integers, Sets, runs

__all__ = ["MOST_PAIRS", "Pairs", "candidates", "similar"]

MOST_PAIRS = 200_000_000
"""Candidate pairs that are looked at before the search is thinned."""

_BLOCK = 1 << 21
"""Pairs, or n-grams of pairs, held at once."""
_SLACK = 1e-9
"""Keeps rounding from making a filter stricter than the comparison it stands before."""

_WORDS = 8
"""Of 64 bits, in a signature."""


class Pairs(NamedTuple):
    """Pairs of texts, by their places: `first < second`."""

    first: Integers
    second: Integers
    similarity: Array
    """Jaccard's, of the n-gram sets."""


class _Prefixes(NamedTuple):
    """The rarest n-grams of every text that some other text has among its rarest too."""

    row: Integers
    place: Integers
    """Among the n-grams of its text, from 0."""
    size: Integers
    """N-grams of its text."""
    partners: Integers
    """How many entries right behind it are to be compared with it."""


def candidates(sets: Sets, least: float) -> int:
    """Return how many pairs `similar` would look at, were there no limit."""
    return int(_prefixes(sets, least).partners.sum())


def similar(sets: Sets, least: float, most: int = MOST_PAIRS) -> Iterator[Pairs]:
    """Yield every pair of texts with a similarity of `least` or more; a pair may come again.

    Args:
        sets: of the texts.
        least: above 0, at most 1.
        most: candidate pairs to look at. Where there are more (`candidates` tells), each text is
            compared with those of most equal length only, and some pairs may be missed.
    """
    entries = _prefixes(sets, least)
    partners = entries.partners
    if partners.sum() > most:
        partners = np.minimum(partners, _thinned(partners, most))
    total = len(sets.starts) - 1
    known, bits = _keys(sets), _signatures(sets)
    ends = np.cumsum(partners)
    start = 0
    while start < len(partners):
        seen = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, seen + _BLOCK, side="right")), start + 1)
        counts = partners[start:stop]
        left = np.repeat(np.arange(start, stop), counts)
        before = np.repeat(ends[start:stop] - counts, counts)
        right = left + 1 + np.arange(seen, seen + len(left)) - before
        need = _needed(entries.size[left], entries.size[right], least)
        rest = [entries.size[side] - entries.place[side] for side in (left, right)]
        apart = entries.row[left] != entries.row[right]
        keep = apart & (np.minimum(*rest) >= need)
        one, two = entries.row[left[keep]], entries.row[right[keep]]
        shared = (
            entries.size[left[keep]] + entries.size[right[keep]] - _apart(bits, one, two)
        ) // 2
        close = shared >= need[keep]
        one, two = one[close], two[close]
        pairs = np.minimum(one, two) * total + np.maximum(one, two)
        order, new = runs(pairs)
        pairs = pairs[order][new]
        yield from _checked(sets, known, pairs // total, pairs % total, least)
        start = stop


def _thinned(partners: Integers, most: int) -> int:
    """Return to how many partners each entry must be held so that all have no more than `most`."""
    low, high = 0, int(partners.max())
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.minimum(partners, middle).sum()) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _prefixes(sets: Sets, least: float) -> _Prefixes:
    assert 0 < least <= 1, "a similarity is above 0 and at most 1"
    sizes = np.diff(sets.starts)
    lengths = sizes - np.ceil(least * sizes - _SLACK).astype(np.int64) + 1
    lengths = np.minimum(lengths, sizes)
    row = np.repeat(np.arange(len(sizes)), lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    item = sets.items[sets.starts[row] + place]
    total = int(sets.items.max(initial=0)) + 1
    shared = np.bincount(item, minlength=total)[item] > 1
    row, place, item = row[shared], place[shared], item[shared]
    size = sizes[row]
    largest = int(sizes.max(initial=0)) + 1
    key = item * largest + size
    order = np.argsort(key, kind="stable")  # of one size, in the order of the rows
    row, place, size, key = row[order], place[order], size[order], key[order]
    limit = np.minimum(np.floor(size / least + _SLACK).astype(np.int64), largest - 1)
    reach = np.searchsorted(key, key - size + limit, side="right")
    return _Prefixes(row, place, size, reach - np.arange(len(key)) - 1)


def _needed(one: Integers, two: Integers, least: float) -> Integers:
    """Return how many n-grams two sets of these sizes must share."""
    needed: Integers = np.ceil(least / (1 + least) * (one + two) - _SLACK).astype(np.int64)
    return needed


def _keys(sets: Sets) -> Integers:
    """Return each text's n-grams as numbers that say which text's, ascending."""
    total = int(sets.items.max(initial=0)) + 1
    sizes = np.diff(sets.starts)
    return np.repeat(np.arange(len(sizes)), sizes) * total + sets.items


def _signatures(sets: Sets) -> NDArray[np.uint64]:
    """Return bits of which each n-gram of a text sets one, shape (words, texts)."""
    sizes = np.diff(sets.starts)
    bits = np.zeros((_WORDS, len(sizes)), dtype=np.uint64)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    # Multiplied by an odd constant (Knuth's), so that neighbouring numbers fall far apart.
    hashed = (sets.items.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    bit = np.uint64(1) << (hashed & np.uint64(63))
    np.bitwise_or.at(bits, ((hashed >> np.uint64(6)) % np.uint64(_WORDS), rows), bit)
    return bits


def _apart(bits: NDArray[np.uint64], one: Integers, two: Integers) -> Integers:
    """Return how many n-grams at least stand in only one of two texts."""
    apart = np.zeros(len(one), dtype=np.int64)
    for word in bits:
        apart += _ones(word[one] ^ word[two])
    return apart


def _ones(values: NDArray[np.uint64]) -> Integers:
    """Return how many bits of each value are set."""
    if hasattr(np, "bitwise_count"):  # from numpy 2.0 on
        return np.bitwise_count(values).astype(np.int64)
    parts = values.view(np.uint8).reshape(len(values), 8)
    counts: Integers = np.unpackbits(parts, axis=1).sum(axis=1, dtype=np.int64)
    return counts


def _checked(
    sets: Sets, known: Integers, first: Integers, second: Integers, least: float
) -> Iterator[Pairs]:
    """Yield those of the pairs that are as similar as they must be, their n-grams counted."""
    sizes = np.diff(sets.starts)
    # The smaller set's n-grams are looked up in the larger one.
    swap = sizes[first] > sizes[second]
    small, large = np.where(swap, second, first), np.where(swap, first, second)
    total = int(sets.items.max(initial=0)) + 1
    ends = np.cumsum(sizes[small])
    start = 0
    while start < len(small):
        seen = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, seen + _BLOCK, side="right")), start + 1)
        counts = sizes[small[start:stop]]
        pair = np.repeat(np.arange(stop - start), counts)
        offset = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
        wanted = large[start:stop][pair] * total
        wanted += sets.items[sets.starts[small[start:stop]][pair] + offset]
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        shared = np.bincount(pair[known[place] == wanted], minlength=stop - start)
        either = sizes[small[start:stop]] + sizes[large[start:stop]] - shared
        similarity = shared / either
        near = similarity >= least
        yield Pairs(first[start:stop][near], second[start:stop][near], similarity[near])
        start = stop
