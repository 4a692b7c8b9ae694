"""How much of an answer is copied from its source.

Grusky, Naaman and Artzi 2018, "Newsroom: A Dataset of 1.3 Million Summaries with Diverse
Extractive Strategies": an answer is covered from left to right by the longest fragments that
stand in the source word for word. Novel n-grams are those of See, Liu and Manning 2017, "Get
To The Point": the share of an answer's n-grams, repetitions included, that its source lacks.

None of these is better when larger or smaller. A summary with coverage near 1 and a high
density copies sentences; high novelty is abstraction, or invention.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.metrics.rouge.tokenize import CUTS, Tokens, text_problems
from loratory.records import Prediction
from loratory.registry import signature

__all__ = ["Extractiveness", "fragments", "novel_share"]

_ORDERS = (1, 2, 3, 4)
_NAMES = ("coverage", "density", "compression", *(f"novel{n}" for n in _ORDERS))


@metric("extractiveness")
@dataclass(frozen=True)
class Extractiveness:
    """Copying from the source: coverage, density, compression (Grusky et al. 2018), novel n-grams.

    `coverage` is the share of an answer's words inside copied fragments, `density` the mean
    length of the fragment a word stands in, `compression` words of the source per word of the
    answer, `novel1` to `novel4` the share of n-grams that the source lacks. Each is the mean
    over the answers that have such units.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"source"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset(_NAMES)
    undefined: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(_NAMES[:3], "no answer has a word"),
        **{f"novel{n}": f"no answer has {n} words" for n in _ORDERS},
    }

    tokens: Tokens = "rouge_score"
    """What counts as a word: runs of a-z and 0-9, Unicode `words`, or single `characters`."""

    @property
    def signature(self) -> str:
        return signature(self)

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        return text_problems(self.tokens, "newline")

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return, for each value, whether an answer has it and what it is; shape (n, 14)."""
        cut = CUTS[self.tokens]
        rows = np.zeros((len(predictions), 2 * len(_NAMES)))
        for row, prediction in zip(rows, predictions, strict=True):
            answer, source = cut(prediction.text), cut(prediction.source)
            if not answer:
                continue
            lengths = [stop - start for start, stop in fragments(answer, source)]
            squares = sum(length * length for length in lengths)
            values: list[float | None] = [
                sum(lengths) / len(answer),
                squares / len(answer),
                len(source) / len(answer),
                *(novel_share(answer, source, n) for n in _ORDERS),
            ]
            row[::2] = [value is not None for value in values]
            row[1::2] = [value or 0.0 for value in values]
        return rows

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the mean of each value over the answers that have it.

        Shares are 0 to 1; density is in words, compression in words of the source per word.
        """
        return {
            name: ratio(totals[..., 2 * i + 1], totals[..., 2 * i]) for i, name in enumerate(_NAMES)
        }


def fragments(answer: Sequence[Hashable], source: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return where the answer's extractive fragments begin and end, in words, in order.

    The greedy search of Grusky et al., figure 2: from each word of the answer the source is
    searched from its start, going on behind every match; of equally long ones it is the first.
    """
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position, word in enumerate(source):
        places[word].append(position)
    found = []
    start = 0
    while start < len(answer):
        longest = 0
        free = 0  # where the search goes on
        for position in places.get(answer[start], ()):
            if position < free:
                continue
            length = _common(answer, start, source, position)
            longest = max(longest, length)
            free = position + length
        if longest:
            found.append((start, start + longest))
        start += max(longest, 1)
    return found


def _common(one: Sequence[Hashable], i: int, other: Sequence[Hashable], j: int) -> int:
    """Return how many words in a row are equal, from `i` and from `j` on."""
    most = min(len(one) - i, len(other) - j)
    return next((k for k in range(most) if one[i + k] != other[j + k]), most)


def novel_share(answer: Sequence[Hashable], source: Sequence[Hashable], n: int) -> float | None:
    """Return the share of the answer's n-grams that the source lacks; None if it has none."""
    grams = _ngrams(answer, n)
    known = set(_ngrams(source, n))
    return sum(gram not in known for gram in grams) / len(grams) if grams else None


def _ngrams(words: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))
