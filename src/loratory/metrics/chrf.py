"""chrF: F-score of character n-grams, and for chrF++ of words and word pairs as well.

Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", and Popović 2017,
"chrF++: words helping character n-grams", as sacrebleu computes them: the value is the very
double of its `corpus_score`, divided by 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.metrics.sacrebleu import count_rows, range_problems, sacrebleu_signature
from loratory.records import Prediction

__all__ = ["Chrf", "chrf_score"]

# What chrF++.py, and sacrebleu with it, puts in place of a precision or recall without n-grams.
_EPSILON = 1e-16


@metric("chrf")
@dataclass(frozen=True)
class Chrf:
    """Corpus chrF (Popović 2015) as sacrebleu computes it, 0 to 1; chrF++ with `word_order: 2`.

    Counts of all rows are added up first, so it is not a mean over rows. With several
    references, a row counts against the one with the highest chrF. It is undefined where the
    references have nothing to count.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {"chrf": "the references have nothing to count"}

    char_order: int = 6
    """Longest n-grams of characters; 0 for none."""
    word_order: int = 0
    """Longest n-grams of words; 2 makes chrF++."""
    beta: int = 2
    """How many times recall weighs as much as precision."""
    lowercase: bool = False
    """Whether capital letters are made small first."""
    whitespace: bool = False
    """Whether white space counts as characters."""
    eps_smoothing: bool = False
    """Whether orders without n-grams count, with nearly 0, as in chrF++.py; otherwise they are
    left out."""

    @property
    def signature(self) -> str:
        return sacrebleu_signature(self)

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        problems = [
            problem
            for field in ("char_order", "word_order", "beta")
            for problem in range_problems(field, getattr(self, field), 0)
        ]
        if not problems and self.char_order + self.word_order == 0:
            problems.append("char_order: 0, as is word_order; one of the two must be at least 1.")
        return problems

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return one row a prediction, shape (n, 3 (char_order + word_order)).

        A row holds three numbers an order: n-grams of the answer, of the reference, and of
        both. n-grams of the answer that the reference is too short for are not counted.

        Raises:
            DataError: a row without references, or with something that is not text.
        """
        counter = self._counter()

        def count(text: str, references: Sequence[str]) -> list[float]:
            # sacrebleu shows a chrF but not its counts, so this asks behind its interface.
            columns = [[reference] for reference in references]
            (row,) = counter._extract_corpus_statistics([text], columns)
            return list(row)

        return count_rows(predictions, count, 3 * (self.char_order + self.word_order))

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `chrf`, 0 to 1; NaN where the references have nothing to count."""
        value = chrf_score(totals, beta=self.beta, eps_smoothing=self.eps_smoothing)
        return {"chrf": np.where(totals[..., 1::3].any(axis=-1), value, np.nan)}

    def _counter(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(
            char_order=self.char_order,
            word_order=self.word_order,
            beta=self.beta,
            lowercase=self.lowercase,
            whitespace=self.whitespace,
            eps_smoothing=self.eps_smoothing,
        )


def chrf_score(totals: Array, *, beta: int = 2, eps_smoothing: bool = False) -> Array:
    """Return chrF of summed counts, 0 to 1, shape (...).

    Every operation is one of sacrebleu's, in its order, so that the doubles are equal.

    Args:
        totals: n-grams of the answers, of the references and of both, three numbers an order,
            shape (..., 3 orders).
        beta: how many times recall weighs as much as precision.
        eps_smoothing: whether orders without n-grams count, with nearly 0.
    """
    factor = beta**2
    shape, orders = totals.shape[:-1], totals.shape[-1] // 3
    smoothed, precision, recall, counted = (np.zeros(shape) for _ in range(4))
    for order in range(orders):
        answer, reference, both = (totals[..., 3 * order + i] for i in range(3))
        p = ratio(both, answer, _EPSILON)
        r = ratio(both, reference, _EPSILON)
        smoothed = smoothed + ratio((1 + factor) * p * r, factor * p + r, _EPSILON)
        # An order counts where both texts are long enough for it.
        here = (answer > 0) & (reference > 0)
        precision = precision + np.where(here, p, 0.0)
        recall = recall + np.where(here, r, 0.0)
        counted = counted + here
    if eps_smoothing:
        return np.asarray(100 * smoothed / orders / 100)
    precision, recall = ratio(precision, counted, 0.0), ratio(recall, counted, 0.0)
    f = ratio((1 + factor) * precision * recall, factor * precision + recall, 0.0)
    return np.asarray(100 * f / 100)
