"""ROUGE-L and ROUGE-W over sentences, with the choices ROUGE-1.5.5 makes.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", sections 3.2 and 4. The words
that a reference sentence shares with any predicted sentence are united, and then counted in
their order while the prediction has any left. The paper weights one pair of sentences; the
script weights runs of united words in the reference sentence. What it does beyond the paper
was learnt from its output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from loratory.metrics.rouge.lcs import lcs_mask

__all__ = ["lcs_hits", "weighted_hits", "weighted_mask"]

Sentences = Sequence[Sequence[int]]


def lcs_hits(reference: Sentences, prediction: Sentences, available: Mapping[int, int]) -> int:
    """Return how many words of the reference's sentences the prediction's sentences cover.

    Args:
        reference: word numbers of each sentence.
        prediction: word numbers of each sentence.
        available: how often each word may be counted.
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
    """
    columns = len(prediction)
    places: dict[int, list[int]] = {}
    for column, word in enumerate(prediction):
        places.setdefault(word, []).append(column)
    worth = [run**weight for run in range(min(len(reference), columns) + 1)]
    values = [0.0] * (columns + 1)
    lengths: dict[int, int] = {}
    drops = []  # for each reference word, the columns where it is dropped, first column highest
    for word in reference:
        lengths = {column: lengths.get(column - 1, 0) + 1 for column in places.get(word, ())}
        row, best, drop = [0.0], 0.0, bytearray(b"0" * columns)
        for column in range(columns):
            length = lengths.get(column)
            if length is not None:
                # In this order: another one rounds differently, and ties then fall differently.
                best = values[column] + worth[length] - worth[length - 1]
            elif values[column + 1] >= best:
                best = values[column + 1]
                drop[column] = 49
            row.append(best)
        values = row
        drops.append(int(drop or b"0", 2))
    taken, i, j = 0, len(reference) - 1, columns - 1
    while i >= 0 and j >= 0:
        if reference[i] == prediction[j]:
            taken |= 1 << i
            i, j = i - 1, j - 1
        elif drops[i] >> (columns - 1 - j) & 1:
            i -= 1
        else:
            j -= 1
    return taken


def _union(sentence: Sequence[int], prediction: Sentences) -> int:
    places: dict[int, int] = {}
    for position, word in enumerate(sentence):
        places[word] = places.get(word, 0) | 1 << position
    union = 0
    for candidate in prediction:
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
