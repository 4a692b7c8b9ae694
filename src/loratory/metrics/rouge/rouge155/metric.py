"""ROUGE-1.5.5 as a metric: plain means of what the script rounds for each evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import numpy as np

from loratory.errors import suggest
from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.metrics.rouge.rouge155.combine import Score, scored
from loratory.metrics.rouge.rouge155.options import EvaluationOptions
from loratory.metrics.rouge.rouge155.score import Evaluation, evaluated, exponent, jackknifed
from loratory.records import Prediction

__all__ = ["Rouge155"]

Part = Literal["f", "precision", "recall"]

# What a score's name says already.
_NAMED = {"max_n", "lcs", "weight", "skip_gap", "skip_units", "basic_elements"}


@metric("rouge155")
@dataclass(frozen=True)
class Rouge155(EvaluationOptions):
    """ROUGE as the script ROUGE-1.5.5 scores each evaluation, to its five places (Lin 2004).

    A value is the plain mean over evaluations. The script prints the mean over bootstrap
    resamples instead, usually alike to three places; `rouge155` of
    `loratory.metrics.rouge.rouge155` gives that. Where nothing else is asked for it computes
    ROUGE-L alone, and this metric ROUGE-1, ROUGE-2 and ROUGE-L.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}

    max_n: int = field(default=2, metadata={"sig": None})
    """Compute ROUGE-1 up to ROUGE of this n; 0 for none."""
    part: Part = field(default="f", metadata={"sig": None})
    """Which of the three is reported."""

    @property
    def signature(self) -> str:
        return self._signed("rouge155", self.departures())

    def value_signature(self, value: str) -> str:
        """Return the signature of one score, which does not depend on the others computed."""
        kept = [text for text in self.departures() if text.partition(":")[0] not in _NAMED]
        return self._signed(value, kept)

    def _signed(self, name: str, departures: list[str]) -> str:
        part = [] if self.part == "f" else [f"part:{self.part}"]
        return "|".join([name, "ref:ROUGE-1.5.5", *departures, *part, "v:1"])

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        problems = super().problems()
        if self.part not in get_args(Part):
            hint = suggest(str(self.part), get_args(Part))
            problems.append(f"part: unknown '{self.part}'. {hint}")
        return problems

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return rows of evaluations and the sum of their scores, shape (n, 1 + names).

        A row is one evaluation, or jackknifed as many as it has references.

        Raises:
            DataError: a line that is no basic element, or one too long; it names the row.
        """
        place = Score._fields.index(self.part)
        rows = np.zeros((len(predictions), 1 + len(self.names())))
        exponents = [exponent(name, self) for name in self.names()]
        sets = [self._evaluations(prediction) for prediction in predictions]
        counted = iter(evaluated([one for group in sets for one in group], self))
        for row, group in zip(rows, sets, strict=True):
            row[0] = len(group)
            for _ in group:
                scores = [
                    scored(count, self.alpha, weight)[place]
                    for count, weight in zip(next(counted), exponents, strict=True)
                ]
                row[1:] += scores
        return rows

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the mean of each score over the evaluations, 0 to 1, by the script's name."""
        n = totals[..., 0]
        return {name: ratio(totals[..., i], n) for i, name in enumerate(self.names(), 1)}

    def _evaluations(self, prediction: Prediction) -> list[Evaluation]:
        whole = Evaluation(prediction.text, prediction.references, prediction.id)
        return jackknifed(whole) if self.jackknife else [whole]
