"""Texts as sets of word n-grams, the sets as numbers: small ones for n-grams of few texts."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loratory.metrics.rouge.profile import unicode_words

__all__ = ["Integers", "Sets", "compared_words", "ngram_sets", "runs", "without_common"]

Integers = NDArray[np.int64]

_ASCII = re.compile("[a-z0-9]+")


class Sets(NamedTuple):
    """The n-grams of texts as sets of numbers, all in one array."""

    starts: Integers
    """Where each text's begin, and where the last one's end; shape (texts + 1,)."""
    items: Integers
    """Ascending within a text. A smaller number is an n-gram of fewer texts."""


def compared_words(text: str) -> list[str]:
    """Return the words of a text as they are compared: `unicode_words`, quickly.

    Case, punctuation and white space are gone; scripts without spaces fall to single letters.
    """
    if text.isascii():
        return _ASCII.findall(text.lower())
    found: list[str] = []
    for piece in text.split():
        found += _ASCII.findall(piece.lower()) if piece.isascii() else _words_of(piece)
    return found


@lru_cache(maxsize=1 << 16)
def _words_of(piece: str) -> tuple[str, ...]:
    return tuple(unicode_words(piece))


def ngram_sets(texts: Sequence[str], size: int) -> Sets:
    """Return the sets of word n-grams of texts.

    A text of fewer than `size` words is one n-gram of all its words, so it equals only a text of
    the same words. One without a word (an emoji, a rule) is what it holds besides white space.

    Args:
        texts: any texts.
        size: words in an n-gram.
    """
    numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    short: defaultdict[tuple[str, ...], int] = defaultdict(itertools.count().__next__)
    lengths = np.zeros(len(texts), dtype=np.int64)
    few: dict[int, int] = {}
    parts = []
    for row, text in enumerate(texts):
        words = compared_words(text)
        if len(words) < size:
            few[row] = short[tuple(words) or ("", *text.split())]
            continue
        lengths[row] = len(words)
        parts.append(np.fromiter(map(numbers.__getitem__, words), np.int64, len(words)))
    words_of = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    codes, largest = words_of, len(numbers)
    for n in range(1, size):
        if largest * len(numbers) >= 2**63:  # numbered anew, so that the product fits 64 bits
            order, new = runs(codes)
            codes[order] = np.cumsum(new) - 1
            largest = int(new.sum())
        codes = codes[:-1] * len(numbers) + words_of[n:]
        largest *= len(numbers)
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(texts)), lengths)[: len(codes)]
    inside = np.arange(len(codes)) + size <= ends[rows]
    codes, rows = codes[inside], rows[inside]
    # Below zero, where no other n-gram has its number.
    codes = np.concatenate([codes, -1 - np.array(list(few.values()), dtype=np.int64)])
    rows = np.concatenate([rows, np.array(list(few), dtype=np.int64)])
    return _by_rarity(codes, rows, len(texts))


def runs(values: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    """Return what sorts values, equal ones in their order, and where in it a new value begins.

    numpy's own `unique` hashes, which takes ten times as long on such numbers.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.ones(len(values), dtype=np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    return order, new


def _by_rarity(codes: Integers, rows: Integers, texts: int) -> Sets:
    order, new = runs(codes)
    rows = rows[order]
    again = np.zeros(len(rows), dtype=np.bool_)  # in the same text
    again[1:] = ~new[1:] & (rows[1:] == rows[:-1])
    number = (np.cumsum(new) - 1)[~again]
    rows = rows[~again]
    total = int(new.sum())
    rank = np.empty(total, dtype=np.int64)
    rank[np.argsort(np.bincount(number, minlength=total), kind="stable")] = np.arange(total)
    keys = rows * total + rank[number]
    keys.sort()
    starts = np.zeros(texts + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=texts), out=starts[1:])
    return Sets(starts, keys % max(total, 1))


def without_common(sets: Sets, share: float, fewest: int) -> Sets:
    """Return the sets without n-grams of more than `share` of the texts: wording around the rows.

    An instruction that stands in every row would make all of them alike. A text of which nothing
    would be left keeps its n-grams.

    Args:
        sets: of the texts.
        share: of the texts, 0 to 1.
        fewest: texts there must be; of fewer, nothing is left out.
    """
    texts = len(sets.starts) - 1
    if texts < fewest:
        return sets
    frequency = np.bincount(sets.items)
    kept = frequency[sets.items] <= share * texts
    rows = np.repeat(np.arange(texts), np.diff(sets.starts))
    left = np.bincount(rows, weights=kept, minlength=texts)
    kept |= left[rows] == 0
    starts = np.zeros_like(sets.starts)
    np.cumsum(np.bincount(rows[kept], minlength=texts), out=starts[1:])
    return Sets(starts, sets.items[kept])
