"""ROUGE-1.5.5 over a list of evaluations: what the script prints, to its five places.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries". The arithmetic that the
papers leave open was learnt from the script's output; no line of it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from loratory.errors import ConfigError, DataError
from loratory.metrics.rouge.rouge155.combine import (
    Counts,
    Score,
    averaged,
    best,
    leave_one_out,
    pooled,
    scored,
)
from loratory.metrics.rouge.rouge155.count import element_counts, text_counts
from loratory.metrics.rouge.rouge155.options import EvaluationOptions, Rouge155Options
from loratory.metrics.rouge.rouge155.report import report
from loratory.metrics.rouge.rouge155.resample import Estimate, estimate, resampled_sums
from loratory.metrics.rouge.rouge155.text import Reader

__all__ = [
    "Average",
    "Evaluation",
    "Rouge155Result",
    "combined",
    "evaluated",
    "exponent",
    "jackknifed",
    "rouge155",
]


class Evaluation(NamedTuple):
    """One prediction (the script's peer) and its references (its models).

    Sentences are lines; with `basic_elements`, lines are elements.
    """

    prediction: str
    references: Sequence[str]
    id: str = ""
    """Its name; left empty, its position from 1. The order of names decides which evaluations
    a resample draws."""


class Average(NamedTuple):
    """One score over all evaluations."""

    recall: Estimate
    precision: Estimate
    f: Estimate


@dataclass(frozen=True)
class Rouge155Result:
    """What the script prints, as numbers; lists are in the order of `ids`."""

    options: Rouge155Options
    """How it was computed."""
    ids: list[str]
    """The names of the evaluations; jackknifed, `1.1`, `1.2` for the sets of evaluation 1."""
    averages: dict[str, Average]
    """By name of score, such as `ROUGE-L`; empty when only counts were asked for."""
    scores: dict[str, list[Score]]
    """By name of score, one an evaluation."""
    counts: dict[str, list[Counts]]
    """By name of score, one an evaluation, summed over references or of the best."""

    @property
    def n(self) -> int:
        """The number of evaluations."""
        return len(self.ids)

    @property
    def signature(self) -> str:
        """Everything that changes the numbers, on one line."""
        return self.options.signature

    def text(self, system: str = "X", each: bool = False) -> str:
        """Return the lines the script prints.

        Args:
            system: the name of the system.
            each: whether to list every evaluation (`-d`).
        """
        return report(self, system, each)


def rouge155(
    evaluations: Sequence[Evaluation | tuple[str, Sequence[str]]],
    options: Rouge155Options | None = None,
) -> Rouge155Result:
    """Score evaluations as ROUGE-1.5.5 does.

    A text without words scores 0, also against itself and where the script stops at a division
    by zero.

    Args:
        evaluations: prediction and references of each, at least one of both.
        options: what to compute; None computes ROUGE-L, as the script does by itself.

    Raises:
        ConfigError: options that contradict each other or do not exist.
        DataError: nothing to score, an evaluation without references, something that is not
            text, two evaluations of one name, or a line that is no basic element.
    """
    options = options or Rouge155Options()
    if problems := options.problems():
        raise ConfigError(problems)
    checked = _check(evaluations)
    if options.jackknife:
        checked = [one for evaluation in checked for one in jackknifed(evaluation)]
    return combined([one.id for one in checked], evaluated(checked, options), options)


def combined(
    ids: Sequence[str], rows: Sequence[Sequence[Counts]], options: Rouge155Options
) -> Rouge155Result:
    """Return scores and averages of evaluations that are counted already.

    Args:
        ids: the name of each.
        rows: what `evaluated` gave for each.
        options: without problems; those that `rows` were made under.
    """
    names = options.names()
    counts = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    scores = {
        name: [scored(count, options.alpha, exponent(name, options)) for count in counts[name]]
        for name in names
    }
    # The script sorts names with the system's behind, as strings: 1, 10, 2.
    order = sorted(range(len(ids)), key=lambda i: f"{ids[i]}.")
    averages = {}
    if options.average_over != "counts":
        for name in names:
            averages[name] = _average(
                [scores[name][i] for i in order],
                [counts[name][i] for i in order],
                options,
            )
    return Rouge155Result(options, list(ids), averages, scores, counts)


def evaluated(evaluations: Sequence[Evaluation], options: EvaluationOptions) -> list[list[Counts]]:
    """Return for each evaluation one count a name of score.

    Args:
        evaluations: named, each with references.
        options: without problems; jackknifing has been done.

    Raises:
        DataError: a line that is no basic element, or one too long; it names the evaluation.
    """
    combine = best if options.references == "best" else averaged
    weights = [exponent(name, options) for name in options.names()]
    reader = Reader(options)
    rows = []
    for one in evaluations:
        try:
            pairs = _pairs(one, reader, options)
        except DataError as error:
            raise DataError(f"evaluation {one.id}: {error}") from None
        columns = zip(*pairs, strict=True)
        rows.append([combine(one, w) for one, w in zip(columns, weights, strict=True)])
    return rows


def exponent(name: str, options: EvaluationOptions) -> float:
    """Return the weight of a score called `ROUGE-W-…`, and 1 of any other."""
    return options.weight or 1 if name.startswith("ROUGE-W-") else 1


def jackknifed(evaluation: Evaluation) -> list[Evaluation]:
    """Return an evaluation for every set of all references but one; a single one stays."""
    groups = leave_one_out(evaluation.references)
    if len(groups) == 1:
        return [evaluation]
    return [
        Evaluation(evaluation.prediction, group, f"{evaluation.id}.{i}")
        for i, group in enumerate(groups, 1)
    ]


def _check(evaluations: Sequence[Evaluation | tuple[str, Sequence[str]]]) -> list[Evaluation]:
    """Return the evaluations, each with its name."""
    if not evaluations:
        raise DataError("evaluations: none; ROUGE needs at least one prediction to score.")
    checked: dict[str, Evaluation] = {}
    for position, given in enumerate(evaluations, 1):
        if not isinstance(given, tuple | list) or not 2 <= len(given) <= 3:
            raise DataError(f"evaluation {position}: give a prediction and its references.")
        prediction, references, name = Evaluation(*given)
        name = name or str(position)
        # What is neither one text nor several is told apart below.
        several = isinstance(references, Iterable) and not isinstance(references, str)
        group: list[Any] = list(references) if several else [references]
        if not group:
            raise DataError(f"evaluation {name}: no references; ROUGE needs at least one.")
        for text in (prediction, *group):
            if not isinstance(text, str):
                kind = type(text).__name__
                raise DataError(f"evaluation {name}: {kind} where text belongs: {text!r:.40}.")
        if name in checked:
            raise DataError(f"evaluation {name}: named twice; give each its own id.")
        checked[name] = Evaluation(prediction, group, name)
    return list(checked.values())


def _pairs(one: Evaluation, reader: Reader, options: EvaluationOptions) -> list[list[Counts]]:
    """Return the counts of the prediction with each of its references."""
    if options.basic_elements is not None:
        return [element_counts(one.prediction, text, options) for text in one.references]
    prediction = reader.read(one.prediction)
    return [text_counts(prediction, reader.read(text), options) for text in one.references]


def _average(
    scores: Sequence[Score], counts: Sequence[Counts], options: Rouge155Options
) -> Average:
    """Return one score over the evaluations, given in the script's order."""
    if options.average_over == "words":
        sums = resampled_sums(np.array(counts, dtype=np.float64), options.samples)
        values = np.array([pooled(Counts(*row), options.alpha) for row in sums.tolist()])
    else:
        sums = resampled_sums(np.array(scores), options.samples)
        values = sums / len(scores)
    return Average(*(estimate(column, options.confidence) for column in values.T))
