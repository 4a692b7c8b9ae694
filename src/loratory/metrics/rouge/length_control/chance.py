"""Random outputs of a given length: words drawn from a bag, and what they score on average.

The words of a source are drawn without replacement, so that an output as long as the source is
a permutation of it; a longer one holds the source as often as it fits, and a draw for the
rest. The words of a collection of texts are drawn with replacement, by their frequency.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bag", "RandomOutput", "expected_minimum", "random_outputs"]

# Words of random outputs that are held at once: some 12 MB of text.
_WORDS = 1 << 21
# Places of permutations that are held at once: 32 MB.
_PLACES = 1 << 22


class Bag:
    """Words to draw from, each as often as it occurs.

    Args:
        words: one or more.
        number: word to the number of its form, by which words are compared.
        replacement: whether a word that was drawn can be drawn again.
    """

    def __init__(
        self, words: Sequence[str], number: Callable[[str], int], replacement: bool
    ) -> None:
        assert words, "nothing can be drawn from no words"
        self._words = words
        self._number = number
        self._replacement = replacement
        self._forms: Counter[int] | None = None

    def expected_hits(self, length: int, reference: Mapping[int, int]) -> float:
        """Return how many words of `length` random ones a reference has, on average.

        A word counts no oftener than in the reference, as in ROUGE-1. The sum of its words'
        expectations is exact, though their numbers depend on each other.

        Args:
            length: of the random output, in words.
            reference: how often each form occurs in the reference.
        """
        if self._forms is None:
            self._forms = Counter(map(self._number, self._words))
        size = len(self._words)
        return math.fsum(
            expected_minimum(most, length, size, self._forms[form], self._replacement)
            for form, most in reference.items()
            if form in self._forms
        )

    def draw(self, length: int, draws: int, seed: int) -> Iterator[list[str]]:
        """Yield random outputs.

        The first words of a longer output are those of a shorter one with the same seed, so
        that two systems of different lengths meet the same luck.

        Args:
            length: words of each.
            draws: how many outputs.
            seed: of PCG64.
        """
        generator = np.random.Generator(np.random.PCG64(seed))
        size = len(self._words)
        if self._replacement:
            places = generator.integers(0, size, size=(length, draws))
        else:
            parts = [
                _without_replacement(size, min(size, length - start), draws, generator)
                for start in range(0, length, size)
            ]
            places = np.concatenate(parts) if parts else np.empty((0, draws), dtype=np.int64)
        for column in places.T.tolist():
            yield [self._words[place] for place in column]


class RandomOutput(NamedTuple):
    """What fixes the random outputs that one prediction is held against."""

    lines: list[int]
    """Words of each line."""
    bag: Bag
    seed: int


def random_outputs(rows: Sequence[RandomOutput], draws: int) -> Iterator[tuple[range, list[str]]]:
    """Yield rows in runs that fit into memory, each with `draws` texts a row, row after row."""
    start = 0
    texts: list[str] = []
    words = 0
    for i, row in enumerate(rows):
        drawn = row.bag.draw(sum(row.lines), draws, row.seed)
        texts.extend(_laid_out(output, row.lines) for output in drawn)
        words += draws * sum(row.lines)
        if words >= _WORDS or i + 1 == len(rows):
            yield range(start, i + 1), texts
            start, texts, words = i + 1, [], 0


def _laid_out(words: Sequence[str], lines: Sequence[int]) -> str:
    stops = [0, *accumulate(lines)]
    return "\n".join(" ".join(words[start:stop]) for start, stop in pairwise(stops))


def _without_replacement(
    size: int, length: int, draws: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return the beginnings of permutations of `size` places, shape (length, draws).

    Fisher and Yates's shuffle, many draws in step, stopped after `length` places.
    """
    first = np.arange(length)
    swaps = generator.integers(first[:, None], size, size=(length, draws))
    block = max(1, _PLACES // size)
    parts = []
    for start in range(0, draws, block):
        others = swaps[:, start : start + block]
        row = np.arange(others.shape[1])
        order = np.tile(np.arange(size), (len(row), 1))  # (block, size)
        for place, other in enumerate(others):
            taken = order[row, other]
            order[row, other] = order[:, place]
            order[:, place] = taken
        parts.append(order[:, :length])
    return np.concatenate(parts).T


def expected_minimum(most: int, length: int, size: int, kind: int, replacement: bool) -> float:
    """Return the mean of min(X, most), X the times one word is among `length` random ones.

    X is binomial with replacement, and hypergeometric without; beyond `size` words, the whole
    bag is drawn as often as it fits, and X counts the rest on top. Correct to some ten digits for
    bags of thousands of words, and to some seven for a million.

    Args:
        most: 0 or more.
        length: words drawn.
        size: words in the bag.
        kind: those of them that are the word, 1 to `size`.
        replacement: whether a word that was drawn can be drawn again.
    """
    sure = 0
    if not replacement:
        sure = length // size * kind
        length %= size
    probability = _binomial if replacement else _hypergeometric
    most -= sure
    if most <= 0:
        return float(sure + most)
    if most >= (length if replacement else min(length, kind)):  # never too many
        return sure + length * kind / size
    missing = math.fsum(
        (most - times) * probability(times, length, size, kind)
        for times in range(min(most, length + 1))
    )
    return sure + most - missing


def _binomial(times: int, length: int, size: int, kind: int) -> float:
    if kind == size:
        return float(times == length)
    share = kind / size
    logarithm = times * math.log(share) + (length - times) * math.log1p(-share)
    return math.exp(_log_choose(length, times) + logarithm)


def _hypergeometric(times: int, length: int, size: int, kind: int) -> float:
    if times > kind or length - times > size - kind:
        return 0.0
    ways = _log_choose(kind, times) + _log_choose(size - kind, length - times)
    return math.exp(ways - _log_choose(size, length))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
