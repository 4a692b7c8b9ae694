"""Where a score stands: how far from random answers to a good baseline, and to people.

A score of 0.34 says little. It says more that random answers to the same rows have 0.15, the
first sentence 0.25, and people among themselves 0.41.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from loratory.evaluation.agreement import HUMAN, jackknife, jackknife_signature, several
from loratory.evaluation.baseline import MODELS, random_baseline
from loratory.evaluation.compare import check_paired
from loratory.evaluation.score import check, defined, ends, signature_of, undefined_reason
from loratory.metrics.base import Array, Metric
from loratory.metrics.ratio import ratio
from loratory.metrics.resample import Interval, Reduce, bootstrap, paired_bootstrap
from loratory.records import Place, Prediction

__all__ = ["place"]

Values = Mapping[str, Array]
"""A metric's values by name."""


class Draws(TypedDict):
    """Arguments of a bootstrap."""

    resamples: int
    confidence: float
    seed: int


def place(
    systems: Mapping[str, list[Prediction]],
    metrics: Sequence[Metric],
    *,
    of: Sequence[str] = MODELS,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Place]:
    """Return where systems stand, for every value that can be better or worse.

    Every way starts at the baseline whose name begins with `random`; without one there is no
    place. One way leads to the best of the other baselines, if there are any. One leads to
    human agreement, if the metric scores against references and some rows have several: there,
    start, goal and system are scored on those rows, against references as the jackknife leaves
    them (see `human_agreement`).

    A share is undefined unless the paired interval of goal minus start lies wholly on the
    better side of zero: of a way that may have no length there is no share.

    Args:
        systems: answers of every system to the same rows, by name.
        metrics: what to compute.
        of: the systems to place; all others are baselines. Those that are not among `systems`
            are passed over.
        resamples: number of bootstrap draws behind each interval.
        confidence: of the intervals, above 0 and below 1.
        seed: of the draws.

    Returns:
        In the metrics' order; of each metric first the ways to a baseline, then those to people,
        each by system in the order of `of`.

    Raises:
        ConfigError: as for `score`.
        DataError: as for `score`, or the systems have not answered the same rows.
    """
    baselines = [name for name in systems if name not in of]
    start = random_baseline(baselines)
    placed = [name for name in of if name in systems]
    if start is None or not placed:
        return []
    for name, answers in systems.items():
        check(answers, metrics)
        check_paired(systems[start], answers, (start, name))
    draws = Draws(resamples=resamples, confidence=confidence, seed=seed)
    others = [name for name in baselines if name != start]
    rows = {name: several(systems[name]) for name in (start, *placed)}
    left_out = len(systems[start]) - len(rows[start])
    found: list[Place] = []
    for metric in metrics:
        if others:
            names = [start, *placed, *others]
            found += _to_baseline(metric, {name: systems[name] for name in names}, placed, draws)
        if rows[start] and "references" in metric.needs:
            found += _to_people(metric, rows, left_out, draws)
    return found


def _to_baseline(
    metric: Metric, systems: Mapping[str, list[Prediction]], placed: Sequence[str], draws: Draws
) -> list[Place]:
    """Return the places on the way from the first of `systems` to the best baseline."""
    # In one call, because the shape of a row may depend on all of them.
    together = metric.statistics([row for answers in systems.values() for row in answers])
    statistics = dict(zip(systems, np.split(together, len(systems)), strict=True))
    start, *rest = systems
    values = {
        name: metric.reduce(statistics[name].sum(axis=0)) for name in rest if name not in placed
    }
    best = {value: _best(metric, value, values) for value in _directed(metric, values)}
    found = []
    for goal in {goal: None for goal in best.values() if goal is not None}:
        reached = [value for value in best if best[value] == goal]
        way = {name: statistics[name] for name in (start, *placed, goal)}
        found += _places(metric, reached, way, draws)
    order = list(best)
    return sorted(found, key=lambda one: (placed.index(one.system), order.index(one.metric)))


def _to_people(
    metric: Metric, rows: Mapping[str, list[Prediction]], left_out: int, draws: Draws
) -> list[Place]:
    """Return the places on the way from the first of the systems to human agreement."""
    people, *own = jackknife(metric, list(rows.values()))
    statistics = {**dict(zip(rows, own, strict=True)), HUMAN: people}
    values = _directed(metric, {HUMAN: metric.reduce(people.sum(axis=0))})
    return _places(metric, values, statistics, draws, left_out)


def _directed(metric: Metric, values: Mapping[str, Values]) -> list[str]:
    """Return the names of those values that can be better or worse."""
    names = next(iter(values.values()))
    return [name for name in names if name not in metric.descriptive]


def _best(metric: Metric, value: str, systems: Mapping[str, Values]) -> str | None:
    """Return the system that is best by a value, the first of equals; None if none has it."""
    sign = _sign(metric, value)
    known = {
        name: sign * float(values[value])
        for name, values in systems.items()
        if not np.isnan(values[value])
    }
    return max(known, key=lambda name: known[name]) if known else None


def _sign(metric: Metric, value: str) -> int:
    return -1 if value in metric.lower_is_better else 1


def _places(
    metric: Metric,
    values: Sequence[str],
    statistics: Mapping[str, Array],
    draws: Draws,
    left_out: int = 0,
) -> list[Place]:
    """Return the places of the systems between the first, the start, and the last, the goal."""
    start, *placed, goal = statistics
    gaps = paired_bootstrap(statistics[start], statistics[goal], metric.reduce, **draws)
    shares = _shares(metric)
    found = []
    for system in placed:
        rows = np.hstack([statistics[name] for name in (system, start, goal)])
        intervals = bootstrap(rows, shares, **draws)
        totals = rows.sum(axis=0)
        whole = shares(totals)
        marks = [metric.reduce(part) for part in np.split(totals, 3)]
        for value in values:
            numbers = [defined(float(mark[value])) for mark in marks]
            reason = _reason(metric, value, numbers, gaps[value], (start, goal))
            low, high = (None, None) if reason else ends(intervals[value])
            signature = signature_of(metric, value)
            found.append(
                Place(
                    metric=value,
                    system=system,
                    start=start,
                    goal=goal,
                    value=numbers[0],
                    at_start=numbers[1],
                    at_goal=numbers[2],
                    share=None if reason else float(whole[value]),
                    low=low,
                    high=high,
                    n=len(rows),
                    left_out=left_out,
                    signature=jackknife_signature(signature) if goal == HUMAN else signature,
                    confidence=draws["confidence"],
                    reason=reason,
                )
            )
    return found


def _shares(metric: Metric) -> Reduce:
    """Return what turns sums of three systems' rows, shape (..., 3k), into shares of the way."""

    def reduce(totals: Array) -> dict[str, Array]:
        system, start, goal = (metric.reduce(part) for part in np.split(totals, 3, axis=-1))
        shares = {}
        for name in system:
            sign = _sign(metric, name)
            way = sign * (goal[name] - start[name])
            # A draw that turns the way round has no share either.
            shares[name] = ratio(sign * (system[name] - start[name]), np.where(way > 0, way, 0.0))
        return shares

    return reduce


def _reason(
    metric: Metric,
    value: str,
    numbers: Sequence[float | None],
    gap: Interval,
    way: tuple[str, str],
) -> str | None:
    """Return why there is no share, or None when there is one."""
    if None in numbers:
        return undefined_reason(metric, value)
    start, goal = way
    if gap.low > 0 if _sign(metric, value) > 0 else gap.high < 0:
        return None
    return f"{goal} is not clearly better than {start} on these rows"
