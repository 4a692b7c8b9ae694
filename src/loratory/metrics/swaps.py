"""What changes in a system's answer when nothing changes in its input but the group.

For classes: how often the predicted class flips, and how far the probabilities move (Garg et al.
2019, "Counterfactual Fairness in Text Classification through Robustness", arXiv 1809.10610). For
texts: how far the answer, the match with the reference, the length and the tone move (cf. Huang et
al. 2020, "Reducing Sentiment Bias in Language Models via Counterfactual Evaluation", arXiv
1911.03064).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from loratory.errors import DataError
from loratory.metrics.array import Array
from loratory.metrics.polarity import polarity
from loratory.metrics.ratio import counted, means, ratio
from loratory.metrics.rouge.score import rouge
from loratory.records import Prediction

__all__ = ["ClassSwaps", "SwappedPair", "TextSwaps"]


class SwappedPair(NamedTuple):
    """One system's answers to a row and to the same row about the other group."""

    original: Prediction
    swapped: Prediction
    expected: str
    """For texts, the answer to the original with the groups swapped: what a system gives that
    treats both alike."""
    direction: int
    """1 where the first group was replaced by the second, -1 the other way, 0 where both stood
    in the row."""


@dataclass(frozen=True)
class ClassSwaps:
    """Flips of the predicted class, and shifts of the probabilities, second minus first group."""

    name: ClassVar[str] = "swaps"
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"flip_rate", "probability_gap"})

    labels: tuple[str, ...] = ()
    """Names of the classes whose probability is followed, all of them or none."""
    groups: tuple[str, str] = ("first", "second")

    @property
    def shifts(self) -> tuple[str, ...]:
        """Names of the signed gaps: of two classes the second alone, as the other is its mirror."""
        followed = self.labels[1:] if len(self.labels) == 2 else self.labels
        first, second = self.groups
        return tuple(f"p({label}), {second} minus {first}" for label in followed)

    @property
    def descriptive(self) -> frozenset[str]:
        return frozenset(self.shifts)

    @property
    def undefined(self) -> Mapping[str, str]:
        unsided = "in no row stood words of one group alone"
        return {
            "probability_gap": "not every prediction has probabilities",
            **dict.fromkeys(self.shifts, unsided),
        }

    @property
    def signature(self) -> str:
        return f"swaps|groups:{'+'.join(self.groups)}|v:1"

    def statistics(self, pairs: list[SwappedPair]) -> Array:
        """Return rows of 1, flip, 1 and gap, 1 and signed gaps; shape (n, 5 + shifts).

        The gap is the total variation distance of both distributions, half the sum of absolute
        differences: for two classes the change of either probability.

        Raises:
            DataError: a prediction without a class, or with another number of probabilities.
        """
        shifts = len(self.shifts)
        rows = np.zeros((len(pairs), 5 + shifts))
        for i, pair in enumerate(pairs):
            old, new = pair.original, pair.swapped
            for prediction in (old, new):
                if prediction.predicted is None:
                    raise DataError(f"row '{prediction.id}': no predicted class.")
            rows[i, :2] = 1, old.predicted != new.predicted
            if not old.probabilities or not new.probabilities:
                continue
            first, second = np.array(old.probabilities), np.array(new.probabilities)
            if len(first) != len(second) or (self.labels and len(first) != len(self.labels)):
                raise DataError(
                    f"row '{new.id}': {len(second)} probabilities beside {len(first)} for "
                    f"{len(self.labels)} classes; every row needs one a class."
                )
            change = second - first
            rows[i, 2:4] = 1, np.abs(change).sum() / 2
            if pair.direction and shifts:
                rows[i, 4] = 1
                rows[i, 5:] = pair.direction * change[-shifts:]
        return rows

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return flip rate, mean gap and mean signed gaps, shares of 1."""
        complete = totals[..., 2] == totals[..., 0]
        return {
            "flip_rate": ratio(totals[..., 1], totals[..., 0]),
            "probability_gap": ratio(totals[..., 3], np.where(complete, totals[..., 2], 0.0)),
            **{
                name: ratio(totals[..., 5 + i], totals[..., 4])
                for i, name in enumerate(self.shifts)
            },
        }


@dataclass(frozen=True)
class TextSwaps:
    """Changes of a generated text; the signed ones are the second minus the first group."""

    name: ClassVar[str] = "swaps"
    SIZES: ClassVar[tuple[str, ...]] = (
        "answer_changed",
        "rougeL_gap",
        "length_gap",
        "tone_gap",
    )
    lower_is_better: ClassVar[frozenset[str]] = frozenset(SIZES)

    groups: tuple[str, str] = ("first", "second")

    @property
    def shifts(self) -> tuple[str, ...]:
        first, second = self.groups
        return tuple(
            f"{what}, {second} minus {first}" for what in ("rougeL", "relative length", "tone")
        )

    @property
    def descriptive(self) -> frozenset[str]:
        return frozenset(self.shifts)

    @property
    def undefined(self) -> Mapping[str, str]:
        return dict.fromkeys(self.shifts, "in no row stood words of one group alone")

    @property
    def signature(self) -> str:
        return f"swaps|groups:{'+'.join(self.groups)}|ref:rouge_score|stem:yes|tone:words|v:1"

    def statistics(self, pairs: list[SwappedPair]) -> Array:
        """Return rows of 1 and the four sizes, then 1 and the three signed changes; (n, 9).

        `answer_changed` is 1 minus the ROUGE-L F of the answer to the swapped row against the
        answer to the original with its groups swapped; two empty answers are alike. Each answer's
        ROUGE-L is with its own row's references. The length is that of the swapped row's answer
        in words, over the longer of the two. Tone is `polarity`, which runs from -1 to 1, halved.
        """
        alike = _rouge_l([pair.swapped.text for pair in pairs], [(p.expected,) for p in pairs])
        empty = np.array([not p.swapped.text.split() and not p.expected.split() for p in pairs])
        scores = [
            _rouge_l([p.text for p in side], [p.references or ("",) for p in side])
            for side in ([p.original for p in pairs], [p.swapped for p in pairs])
        ]
        words = np.array(
            [[len(p.text.split()) for p in (x.original, x.swapped)] for x in pairs], dtype=float
        ).reshape(-1, 2)
        length = (words[:, 1] - words[:, 0]) / np.maximum(words.max(axis=1, initial=1), 1)
        tone = np.array([(polarity(x.swapped.text) - polarity(x.original.text)) / 2 for x in pairs])
        match = scores[1] - scores[0]
        changed = np.where(empty, 0.0, 1 - alike)
        sizes = counted([changed, np.abs(match), np.abs(length), np.abs(tone)])
        side = np.array([pair.direction for pair in pairs], dtype=float)
        signed = np.stack([np.abs(side), side * match, side * length, side * tone], axis=1)
        return np.concatenate([sizes, signed], axis=1)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the mean sizes, and the mean signed changes where words of one group stood."""
        return means(totals[..., :5], self.SIZES) | means(totals[..., 5:], self.shifts)


def _rouge_l(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    found: Array = rouge(list(texts), [tuple(many) for many in references], ("rougeL",), True)[
        "rougeL"
    ].f
    return found
