"""A column of texts as word numbers: what every batch computation starts from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loratory.metrics.rouge.batch import engine
from loratory.metrics.rouge.batch.wordtable import Numbered, WordTable, fold
from loratory.metrics.rouge.tokenize import CUTS, SPLITS, Split, Tokens, Vocabulary

__all__ = ["Column", "Indices", "Reader", "ragged", "running"]

Indices = NDArray[np.int64]

# Words of past texts are worth keeping, but not without end.
_KEPT_WORDS = 1 << 18
_HEAP = 31 << 20


class Column(NamedTuple):
    """n texts, end to end. Offsets begin with 0: unit i stands from offset i to i + 1."""

    words: Indices
    """Word numbers, shape (words,)."""
    lines: Indices
    """Offsets of lines in `words`, shape (lines + 1,). A line may have no words."""
    texts: Indices
    """Offsets of texts in `lines`, shape (n + 1,)."""

    @property
    def word_offsets(self) -> Indices:
        """Offsets of texts in `words`, shape (n + 1,)."""
        return self.lines[self.texts]

    def lists(self) -> list[list[list[int]]]:
        """Return word numbers of each line of each text, for code that takes one at a time."""
        words, ends = self.words.tolist(), self.lines.tolist()
        texts = self.texts.tolist()
        return [
            [words[ends[line] : ends[line + 1]] for line in range(first, last)]
            for first, last in pairwise(texts)
        ]

    def split(self, n: int) -> tuple[Column, Column]:
        """Return the first n texts and the others."""
        line = int(self.texts[n])
        word = self.lines[line]
        return (
            Column(self.words[:word], self.lines[: line + 1], self.texts[: n + 1]),
            Column(self.words[word:], self.lines[line:] - word, self.texts[n:] - line),
        )

    def take(self, index: Indices) -> Column:
        """Return the texts at these places, in this order; one may come more than once."""
        lines, texts = ragged(self.texts, index)
        words, offsets = ragged(self.lines, lines)
        return Column(self.words[words], offsets, texts)


def ragged(offsets: Indices, index: Indices) -> tuple[Indices, Indices]:
    """Return the members of the groups at `index`, one group after another, and new offsets.

    Args:
        offsets: group g holds members `offsets[g]` to `offsets[g + 1]`; shape (groups + 1,).
        index: groups, shape (k,).

    Returns:
        Members, and offsets into them of shape (k + 1,).
    """
    sizes = (offsets[1:] - offsets[:-1])[index]
    ends = running(sizes)
    members = np.arange(ends[-1]) + np.repeat(offsets[index] - ends[:-1], sizes)
    return members, ends


def running(values: Indices | NDArray[np.bool_]) -> Indices:
    """Return 0 and the sums of the first 1, 2, … values; shape (n + 1,)."""
    # In place on integers, because numpy's cumsum of truths takes three times as long.
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    sums[1:] = values
    np.add.accumulate(sums, out=sums)
    return sums


class Reader:
    """Reads texts into columns; words with one stem share a number over all of them.

    Args:
        stem: whether words longer than three characters are stemmed.
        tokens: the profile that cuts texts into words.
        split: what counts as a line.
    """

    def __init__(self, stem: bool, tokens: Tokens = "rouge_score", split: Split = "newline"):
        self._settings = (stem, tokens, split)
        self._renew()

    def read(self, texts: Sequence[str]) -> Column:
        """Return the texts as a column.

        Words of past calls are forgotten when there are too many: numbers only mean the same
        within one column.
        """
        if len(self._vocabulary) > _KEPT_WORDS:
            self._renew()
        _, tokens, split = self._settings
        if not texts:
            zero = np.zeros(1, dtype=np.int64)
            return Column(zero[:0], zero, zero)
        if tokens == "rouge_score":
            whole = texts
            if split != "newline":
                # No word spans two sentences, so setting them apart changes none.
                whole = ["\n".join(SPLITS[split](text)) for text in texts]
            words, lines, ends = self._read(whole)
            if len(ends) != len(texts):
                words, lines, ends = self._read([text.replace("\0", " ") for text in whole])
        else:
            cuts = [self._vocabulary.lines(text) for text in texts]
            every = list(chain.from_iterable(cuts))
            words = np.fromiter(chain.from_iterable(every), dtype=np.int64)
            lines = np.cumsum([len(line) for line in every], dtype=np.int64)
            ends = np.cumsum([len(text) for text in cuts], dtype=np.int64)
        return Column(words, np.concatenate([[0], lines]), np.concatenate([[0], ends]))

    def _read(self, texts: Sequence[str]) -> Numbered:
        data = fold(texts)
        return self._table.read(data, engine.kernel(len(data)))

    def _renew(self) -> None:
        # Freeing one large block makes glibc's allocator keep what is freed later, too, instead
        # of giving it back and asking for it again every round. No page of it is touched.
        np.empty(_HEAP, dtype=np.uint8)
        stem, tokens, split = self._settings
        self._vocabulary = Vocabulary(stem, CUTS[tokens], SPLITS[split])
        self._table = WordTable(self._vocabulary.number)
