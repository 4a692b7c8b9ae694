"""ROUGE-L and ROUGE-W over sentences, with the choices ROUGE-1.5.5 makes.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", sections 3.2 and 4. The words
that a reference sentence shares with any predicted sentence are united, and then counted in
their order while the prediction has any left. The paper weights one pair of sentences; the
script weights runs of united words in the reference sentence. What it does beyond the paper
was learnt from its output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from loratory.errors import DataError
from loratory.metrics.rouge.lcs import lcs_mask

__all__ = ["lcs_hits", "weighted_hits", "weighted_mask"]

Sentences = Sequence[Sequence[int]]
Drops = Callable[[int, int], bool]
"""Whether the walk back through the table drops reference word i at predicted word j."""

_FEW_CELLS = 40_000  # below, numpy's calls cost more than the cells
_MOST_CELLS = 1 << 32  # half a gigabyte of bits


def lcs_hits(reference: Sentences, prediction: Sentences, available: Mapping[int, int]) -> int:
    """Return how many words of the reference's sentences the prediction's sentences cover.

    Args:
        reference: word numbers of each sentence.
        prediction: word numbers of each sentence.
        available: how often each word may be counted.

    Raises:
        DataError: two sentences whose table would have more than 2^32 cells; so below.
    """
    masks = (_union(sentence, prediction) for sentence in reference)
    return sum(len(counted) for _, counted in _counted(reference, masks, available))


def weighted_hits(
    reference: Sentences, prediction: Sentences, available: Mapping[int, int], weight: float
) -> float:
    """Return the sum of k^weight over runs of k covered words of the reference's sentences.

    A run goes on over words that are not covered or not available, and it counts only when its
    last available word is followed by one that is not covered, or by the sentence's end. So one
    whose final word is no longer available is lost. The paper says neither; the script does both.

    Args:
        reference: word numbers of each sentence.
        prediction: word numbers of each sentence.
        available: how often each word may be counted.
        weight: exponent, above 0; 1 gives plain lengths.
    """
    masks = (_weighted_union(sentence, prediction, weight) for sentence in reference)
    total = 0.0
    for mask, counted in _counted(reference, masks, available):
        run = 0
        for position in counted:
            run += 1
            if not mask >> (position + 1) & 1:
                total += run**weight
                run = 0
    return total


def weighted_mask(reference: Sequence[int], prediction: Sequence[int], weight: float) -> int:
    """Return the reference words of one weighted longest common subsequence, as bits.

    The table is Lin's, two equal words being matched whatever else could be had; the walk back
    through it drops a reference word where dropping a predicted one is no better.

    One bit a cell is kept: 50 MB for two sentences of 20,000 words.

    Args:
        reference: word numbers.
        prediction: word numbers.
        weight: exponent of f(k) = k^weight, above 0.

    Raises:
        DataError: the table would have more than 2^32 cells.
    """
    rows, columns = len(reference), len(prediction)
    _check_size(rows, columns, "ROUGE-W")
    fill = _drops_by_diagonals if rows * columns > _FEW_CELLS else _drops_by_rows
    dropped = fill(reference, prediction, weight)
    taken, i, j = 0, rows - 1, columns - 1
    while i >= 0 and j >= 0:
        if reference[i] == prediction[j]:
            taken |= 1 << i
            i, j = i - 1, j - 1
        elif dropped(i, j):
            i -= 1
        else:
            j -= 1
    return taken


def _drops_by_rows(reference: Sequence[int], prediction: Sequence[int], weight: float) -> Drops:
    """Fill the table cell by cell; the quicker way for sentences of usual length."""
    columns = len(prediction)
    places: dict[int, list[int]] = {}
    for column, word in enumerate(prediction):
        places.setdefault(word, []).append(column)
    worth = _worth(min(len(reference), columns), weight)
    values = [0.0] * (columns + 1)
    lengths: dict[int, int] = {}
    drops = []
    for word in reference:
        lengths = {column: lengths.get(column - 1, 0) + 1 for column in places.get(word, ())}
        row, best, drop = [0.0], 0.0, bytearray(columns)
        for column in range(columns):
            length = lengths.get(column)
            if length is not None:
                # In this order: another one rounds differently, and ties then fall differently.
                best = values[column] + worth[length] - worth[length - 1]
            elif values[column + 1] >= best:
                best = values[column + 1]
                drop[column] = 1
            row.append(best)
        values = row
        drops.append(drop)
    return lambda i, j: drops[i][j] == 1


def _drops_by_diagonals(
    reference: Sequence[int], prediction: Sequence[int], weight: float
) -> Drops:
    """Fill the table by diagonals i + j, whose cells do not need each other.

    Arrays are indexed by 1 + i. What a diagonal reads beyond the table is still 0 there.
    """
    rows, columns = len(reference), len(prediction)
    words = np.asarray(reference, dtype=np.int64)
    backwards = np.asarray(prediction, dtype=np.int64)[::-1].copy()
    worth = np.array(_worth(min(rows, columns), weight), dtype=np.float64)
    values, before, older = (np.zeros(rows + 1) for _ in range(3))
    runs, runs_before, runs_older = (np.zeros(rows + 1, dtype=np.int64) for _ in range(3))
    drops = []
    for diagonal in range(rows + columns - 1):
        low, high = _span(diagonal, rows, columns)
        start = columns - 1 - diagonal + low
        equal = np.flatnonzero(words[low:high] == backwards[start : start + high - low])
        up, left = before[low:high], before[low + 1 : high + 1]
        drops.append(np.packbits(up >= left))
        np.maximum(up, left, out=values[low + 1 : high + 1])
        runs[low + 1 : high + 1] = 0
        equal += low
        length = runs_older[equal] + 1
        runs[equal + 1] = length
        values[equal + 1] = older[equal] + worth[length] - worth[length - 1]
        values, before, older = older, values, before
        runs, runs_before, runs_older = runs_older, runs, runs_before

    def dropped(i: int, j: int) -> bool:
        place = i - _span(i + j, rows, columns)[0]
        return bool(drops[i + j][place >> 3] >> (7 - (place & 7)) & 1)

    return dropped


def _span(diagonal: int, rows: int, columns: int) -> tuple[int, int]:
    """Return the first row of a diagonal, and the one after its last."""
    return max(0, diagonal - columns + 1), min(rows, diagonal + 1)


def _worth(longest: int, weight: float) -> list[float]:
    return [run**weight for run in range(longest + 1)]


def _check_size(rows: int, columns: int, name: str) -> None:
    if rows * columns > _MOST_CELLS:
        raise DataError(
            f"a line of {rows:,} words against one of {columns:,} is too long for {name}. Put "
            f"sentences on lines of their own, limit the words, or leave {name} out."
        )


def _union(sentence: Sequence[int], prediction: Sentences) -> int:
    places: dict[int, int] = {}
    for position, word in enumerate(sentence):
        places[word] = places.get(word, 0) | 1 << position
    union = 0
    for candidate in prediction:
        _check_size(len(sentence), len(candidate), "ROUGE-L")
        union |= lcs_mask(places, len(sentence), candidate)
    return union


def _weighted_union(sentence: Sequence[int], prediction: Sentences, weight: float) -> int:
    union = 0
    for candidate in prediction:
        union |= weighted_mask(sentence, candidate, weight)
    return union


def _counted(
    reference: Sentences, masks: Iterator[int], available: Mapping[int, int]
) -> Iterator[tuple[int, list[int]]]:
    """Yield for each sentence its covered words, as bits, and the positions that count."""
    left = Counter(available)
    for sentence, mask in zip(reference, masks, strict=True):
        positions = []
        for position, word in enumerate(sentence):
            if mask >> position & 1 and left[word] > 0:
                left[word] -= 1
                positions.append(position)
        yield mask, positions
