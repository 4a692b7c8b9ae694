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
from loratory.metrics.rouge.rouge155.options import Rouge155Options
from loratory.metrics.rouge.rouge155.report import report
from loratory.metrics.rouge.rouge155.resample import Estimate, estimate, resampled_sums
from loratory.metrics.rouge.rouge155.text import Reader

__all__ = ["Average", "Evaluation", "Rouge155Result", "rouge155"]


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
        checked = [one for evaluation in checked for one in _jackknifed(evaluation)]
    names = options.names()
    weights = {name: _weight(name, options) for name in names}
    rows = _counts(checked, options, list(weights.values()))
    counts = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    scores = {
        name: [scored(count, options.alpha, weights[name]) for count in counts[name]]
        for name in names
    }
    # The script sorts names with the system's behind, as strings: 1, 10, 2.
    order = sorted(range(len(checked)), key=lambda i: f"{checked[i].id}.")
    averages = {}
    if options.average_over != "counts":
        for name in names:
            averages[name] = _average(
                [scores[name][i] for i in order],
                [counts[name][i] for i in order],
                options,
            )
    return Rouge155Result(options, [one.id for one in checked], averages, scores, counts)


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


def _jackknifed(evaluation: Evaluation) -> list[Evaluation]:
    groups = leave_one_out(evaluation.references)
    if len(groups) == 1:
        return [evaluation]
    return [
        Evaluation(evaluation.prediction, group, f"{evaluation.id}.{i}")
        for i, group in enumerate(groups, 1)
    ]


def _counts(
    evaluations: Sequence[Evaluation], options: Rouge155Options, weights: Sequence[float]
) -> list[list[Counts]]:
    """Return for each evaluation one count a name; `weights` has one exponent a name."""
    combine = best if options.references == "best" else averaged
    reader = Reader(options)
    rows = []
    for one in evaluations:
        if options.basic_elements is None:
            prediction = reader.read(one.prediction)
            pairs = [text_counts(prediction, reader.read(text), options) for text in one.references]
        else:
            try:
                pairs = [element_counts(one.prediction, text, options) for text in one.references]
            except DataError as error:
                raise DataError(f"evaluation {one.id}: {error}") from None
        columns = zip(*pairs, strict=True)
        rows.append([combine(one, w) for one, w in zip(columns, weights, strict=True)])
    return rows


def _weight(name: str, options: Rouge155Options) -> float:
    return options.weight or 1 if name.startswith("ROUGE-W-") else 1


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
