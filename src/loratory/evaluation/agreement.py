"""How far the people who wrote the references agree, in the terms of a metric.

Each reference is scored against the others of its row as if a system had written it. A system
that is scored against all of them has one more to be like, so it is scored against the same
reduced sets, and its numbers are averaged over them: the jackknifing of Lin 2004, "ROUGE: A
Package for Automatic Evaluation of Summaries", section 2.1. Only such numbers can be set beside
each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from loratory.errors import ConfigError, DataError
from loratory.evaluation.score import check, scored
from loratory.metrics.base import Array, Metric
from loratory.records import Prediction, Score

__all__ = ["HUMAN", "Agreement", "human_agreement", "jackknife", "jackknife_signature", "several"]

HUMAN = "human"
"""What people count as where systems have names."""


class Agreement(NamedTuple):
    """One value of people and of one system, on the same rows and sets of references."""

    human: Score
    """Every reference against the others of its row, each row weighing the same."""
    system: Score
    """The system's answer against the same sets; lower than its ordinary score, where more
    references can only raise one."""
    left_out: int
    """Rows with fewer than two references."""


def human_agreement(
    predictions: list[Prediction],
    metrics: Sequence[Metric],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Agreement]:
    """Return how far people and one system agree with people, by value, in the metrics' order.

    Rows with fewer than two references are left out and counted. A reference that a row holds
    twice agrees with itself; remove such copies first.

    Args:
        predictions: one a test row; ids are unique.
        metrics: what to compute: those that score against references.
        resamples: number of bootstrap draws of rows behind each interval.
        confidence: of the intervals, above 0 and below 1.
        seed: of the draws; both scores are of the same ones.

    Raises:
        ConfigError: as for `score`, or a metric does not score against references.
        DataError: as for `score`, or no row has two references.
    """
    check(predictions, metrics)
    problems = [
        f"{metric.name}: does not score against references, so it cannot tell how far those "
        "agree. Leave it out here."
        for metric in metrics
        if "references" not in metric.needs
    ]
    if problems:
        raise ConfigError(problems)
    rows = several(predictions)
    if not rows:
        raise DataError(
            "no row has two references, so nothing tells how far people agree. Give rows with "
            "several references."
        )
    found = []
    for metric in metrics:
        people, system = jackknife(metric, [rows])
        both = (
            scored(
                metric,
                statistics,
                resamples=resamples,
                confidence=confidence,
                seed=seed,
            )
            for statistics in (people, system)
        )
        found += [
            Agreement(_signed(human), _signed(own), len(predictions) - len(rows))
            for human, own in zip(*both, strict=True)
        ]
    return found


def several(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return the rows with at least two references."""
    return [prediction for prediction in predictions if len(prediction.references) > 1]


def jackknife(metric: Metric, systems: Sequence[list[Prediction]]) -> list[Array]:
    """Return the statistics of people, then of each system, over all references but one.

    A row of numbers is the mean over the sets that lack one reference of its row.

    Args:
        metric: one that scores against references.
        systems: each one's answers to the same rows, all with at least two references.

    Returns:
        One array of shape (n, k) for people and one for each system.
    """
    sizes = [len(prediction.references) for prediction in systems[0]]
    asked = [
        Prediction(one.id, text, others, one.source, one.label)
        for one in systems[0]
        for text, others in _leave_one_out(one.references)
    ]
    for answers in systems:
        asked += [
            dataclasses.replace(one, references=others)
            for one in answers
            for _, others in _leave_one_out(one.references)
        ]
    # In one call, because the shape of a row may depend on all of them.
    statistics = metric.statistics(asked)
    starts = np.cumsum([0, *sizes[:-1]])
    return [
        np.add.reduceat(part, starts, axis=0) / np.array(sizes, dtype=np.float64)[:, None]
        for part in np.split(statistics, len(systems) + 1)
    ]


def jackknife_signature(signature: str) -> str:
    """Return a signature that tells that each set of references lacks one."""
    *parts, version = signature.split("|")
    return "|".join([*parts, "refs:jackknife", version])


def _leave_one_out(references: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Return each reference with all others."""
    return [(one, references[:i] + references[i + 1 :]) for i, one in enumerate(references)]


def _signed(score: Score) -> Score:
    return dataclasses.replace(score, signature=jackknife_signature(score.signature))
