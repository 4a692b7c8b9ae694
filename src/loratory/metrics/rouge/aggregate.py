"""`BootstrapAggregator` and `compute`: what rouge_score and `evaluate` make of many pairs.

Both draw from numpy's old generator, so that a seed gives their very numbers. The middle value
is the median of the resampled means, not the mean: it moves with the seed. For new work use
`rouge` and `loratory.score`, whose value is the mean and whose interval is seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from loratory.errors import DataError
from loratory.metrics.array import Array
from loratory.metrics.rouge.kind import TYPES
from loratory.metrics.rouge.scorer import RougeScorer, Score

__all__ = ["AggregateScore", "BootstrapAggregator", "compute"]


class AggregateScore(NamedTuple):
    """Percentiles of the resampled means; each end is a tuple of the class that was added."""

    low: Any
    mid: Any
    high: Any


class BootstrapAggregator:
    """Means over pairs with bootstrap intervals, as `rouge_score.scoring.BootstrapAggregator`.

    Args:
        confidence_interval: share of the resampled means between low and high, 0 to 1.
        n_samples: number of draws.
        seed: of the draws; None takes numpy's global generator as it stands, as rouge_score
            does. A seed gives what `numpy.random.seed(seed)` before `aggregate` would.

    Raises:
        ValueError: one of them is out of range.
    """

    def __init__(
        self, confidence_interval: float = 0.95, n_samples: int = 1000, seed: int | None = None
    ) -> None:
        if not 0 <= confidence_interval <= 1:
            raise ValueError("confidence_interval must be in range [0, 1]")
        if n_samples <= 0:
            raise ValueError("n_samples must be positive")
        self._confidence = confidence_interval
        self._samples = n_samples
        self._seed = seed
        self._scores: dict[str, list[tuple[float, ...]]] = {}

    def add_scores(self, scores: Mapping[str, tuple[float, ...]]) -> None:
        """Add one pair: a named tuple of numbers for each type."""
        for name, score in scores.items():
            self._scores.setdefault(name, []).append(score)

    def aggregate(self) -> dict[str, AggregateScore]:
        """Return low, mid and high of every type, in the order in which they were added."""
        # The global generator has the methods of a RandomState.
        generator = np.random if self._seed is None else np.random.RandomState(self._seed)
        tail = (1 - self._confidence) / 2
        result = {}
        for name, scores in self._scores.items():
            means = _resampled(np.array(scores, dtype=np.float64), self._samples, generator)
            ends = np.percentile(means, 100 * np.array([tail, 0.5, 1 - tail]), axis=0)
            result[name] = AggregateScore(*(type(scores[0])(*end) for end in ends))
        return result


def compute(
    *,
    predictions: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    rouge_types: Sequence[str] | None = None,
    use_aggregator: bool = True,
    use_stemmer: bool = False,
    tokenizer: Callable[[str], Sequence[Hashable]] | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return what `evaluate.load("rouge").compute(...)` does.

    Args:
        predictions: n texts.
        references: n texts, or n lists of texts, of which the best counts for each type.
        rouge_types: `rouge1`, `rouge2`, `rougeL` and `rougeLsum` when not given.
        use_aggregator: whether to give one number a type.
        use_stemmer: whether words longer than three characters are stemmed (Porter).
        tokenizer: a function from text to tokens, in place of the default.
        seed: of the aggregator; without one, numpy's global generator serves. (`evaluate`
            seeds it from its state when the metric is loaded, and restores it.)

    Returns:
        By type, the aggregator's middle F as a float; without aggregator, a list of n F.

    Raises:
        DataError: no pairs, or unequal numbers of predictions and references.
        ValueError: a type that does not exist.
    """
    if len(predictions) != len(references):
        raise DataError(
            f"{len(predictions)} predictions but {len(references)} references; they must pair up."
        )
    if not len(predictions):
        raise DataError("predictions: empty; ROUGE of no pairs is not defined.")
    scorer = RougeScorer(
        list(TYPES if rouge_types is None else rouge_types),
        use_stemmer=use_stemmer,
        tokenizer=None if tokenizer is None else _Function(tokenizer),
    )
    scores: list[dict[str, Score]] = []
    for prediction, reference in zip(predictions, references, strict=True):
        if isinstance(reference, str):
            scores.append(scorer.score(reference, prediction))
        else:
            scores.append(scorer.score_multi(reference, prediction))
    if not use_aggregator:
        return {name: [score[name].fmeasure for score in scores] for name in scores[0]}
    aggregator = BootstrapAggregator(seed=seed)
    for score in scores:
        aggregator.add_scores(score)
    return {name: float(found.mid.fmeasure) for name, found in aggregator.aggregate().items()}


class _Function:
    """A function as a tokenizer."""

    def __init__(self, tokenize: Callable[[str], Sequence[Hashable]]) -> None:
        self.tokenize = tokenize


def _resampled(matrix: Array, samples: int, generator: Any) -> Array:
    """Return the mean of every column over each draw of rows, shape (samples, columns)."""
    n = len(matrix)
    means = np.zeros((samples, matrix.shape[1]))
    for i in range(samples):
        # The numbers of choice(arange(n), size=n), without its cost.
        means[i] = matrix[generator.randint(0, n, size=n)].mean(axis=0)
    return means
