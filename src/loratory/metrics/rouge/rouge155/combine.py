"""From counts to scores: several references, and ROUGE-1.5.5's roundings.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Counts", "Score", "added", "averaged", "best", "leave_one_out", "pooled", "scored"]


class Counts(NamedTuple):
    """Units of one evaluation; whole numbers, but for ROUGE-W."""

    reference: float
    """Units of the reference (the script's M count, for model)."""
    prediction: float
    """Units of the prediction (its P count, for peer)."""
    hits: float
    """Units they share (its H count)."""


class Score(NamedTuple):
    """Recall, precision and F of one evaluation, 0 to 1, rounded to five places."""

    recall: float
    precision: float
    f: float


def added(values: Iterable[float]) -> float:
    """Return the sum, rounded after every addition, as the script's is and `sum` may not be."""
    total = 0.0
    for value in values:
        total += value
    return total


def averaged(counts: Sequence[Counts], weight: float = 1) -> Counts:
    """Return the sums over references: a long reference weighs more (`-f A`).

    Args:
        counts: one a reference.
        weight: the exponent of ROUGE-W; 1 for anything else.
    """
    raised = [_raised(count, weight) for count in counts]
    return Counts(*(added(column) for column in zip(*raised, strict=True)))


def best(counts: Sequence[Counts], weight: float = 1) -> Counts:
    """Return the counts of the reference with the highest recall, the first of equals (`-f B`).

    Args:
        counts: one a reference.
        weight: the exponent of ROUGE-W; 1 for anything else.
    """
    return _raised(max(counts, key=lambda count: _ratio(count.hits, count.reference)), weight)


def scored(counts: Counts, alpha: float, weight: float = 1) -> Score:
    """Return the scores of one evaluation; 0 where there is nothing to divide by.

    Recall and precision are rounded before F is made of them, and F is rounded again.

    Args:
        counts: of one evaluation.
        alpha: weight of precision in F, 0 to 1.
        weight: the exponent of ROUGE-W, which is taken back; 1 for anything else.
    """
    recall, precision = (round(value, 5) for value in _inverted(counts, weight))
    return Score(recall, precision, round(_f(recall, precision, alpha), 5))


def pooled(counts: Counts, alpha: float) -> Score:
    """Return the scores of the sums over several evaluations, unrounded.

    The exponent of ROUGE-W stays in them: the script does not take it back here.
    """
    recall, precision = _inverted(counts, 1)
    return Score(recall, precision, _f(recall, precision, alpha))


def leave_one_out(references: Sequence[str]) -> list[list[str]]:
    """Return the sets of all references but one, last left out first; a single one stays."""
    if len(references) < 2:
        return [list(references)]
    size = len(references)
    return [[*references[:i], *references[i + 1 :]] for i in reversed(range(size))]


def _raised(counts: Counts, weight: float) -> Counts:
    # The script weights what is already a sum of weighted lengths, after it has chosen the best
    # reference; hence a text does not score 1 against itself in ROUGE-W.
    return counts._replace(reference=counts.reference**weight) if weight != 1 else counts


def _inverted(counts: Counts, weight: float) -> tuple[float, float]:
    recall = _ratio(counts.hits, counts.reference)
    precision = _ratio(counts.hits, counts.prediction)
    if weight == 1:
        return recall, precision
    return recall ** (1 / weight), precision ** (1 / weight)


def _f(recall: float, precision: float, alpha: float) -> float:
    return _ratio(precision * recall, (1 - alpha) * precision + alpha * recall)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
