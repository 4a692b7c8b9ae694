"""The score table, as both the HTML report and the model card show it."""

from __future__ import annotations

import math
from typing import NamedTuple

from loratory.records import Comparison, Score
from loratory.report import wording
from loratory.report.data import ReportData

__all__ = ["Cell", "Row", "Table", "score_table", "system_name"]


class Cell(NamedTuple):
    """One system's score, as text."""

    value: str
    interval: str
    """Empty when undefined."""
    reason: str
    """Why there is no value; empty when there is one."""


class Row(NamedTuple):
    """One metric: every system's score and what tuning changed."""

    metric: str
    name: str
    lower_is_better: bool
    cells: tuple[Cell, ...]
    """One a system of the table."""
    comparison: Comparison | None
    difference: str
    interval: str
    p: str
    """Corrected where it was judged; empty when undefined or not recorded."""
    verdict: wording.Verdict
    extent: tuple[float, float]
    """The scale its interval is drawn on, in the metric's unit; zero lies inside."""
    n: int
    headline: bool


class Table(NamedTuple):
    """Scores with a better direction, and those that only describe."""

    systems: tuple[str, ...]
    """`base` and `tuned` first, then the baselines."""
    rows: tuple[Row, ...]
    descriptive: tuple[Row, ...]
    signatures: tuple[tuple[str, str], ...]
    """(metric name, signature): everything that changes the numbers."""
    unscaled: tuple[str, ...]
    """Names of those of `rows` that are not out of 100."""
    confidence: str
    tested: bool
    """Whether any row has a p value."""


def system_name(system: str) -> str:
    """Return a system's name for a table head: `Lead sentence` for `lead_sentence`."""
    words = system.replace("_", " ")
    return words[:1].upper() + words[1:]


def score_table(data: ReportData) -> Table:
    """Arrange scores and comparisons by metric, in the order they were computed.

    Either file may be missing: without scores the values of `base` and `tuned` come from the
    comparison, without a comparison there are no differences.
    """
    compared = {item.metric: item for item in data.comparisons}
    systems = ("base", "tuned", *(name for name in data.scores if name not in ("base", "tuned")))
    scored = {
        system: {item.metric: item for item in data.scores.get(system, ())} for system in systems
    }
    metrics = list(dict.fromkeys([*compared, *(m for by in scored.values() for m in by)]))
    items: list[Score | Comparison] = [*data.comparisons]
    items += [item for by in data.scores.values() for item in by]
    undirected = wording.descriptive(items)
    lead = wording.headline(data.comparisons)
    extents = _extents(data.comparisons)
    rows = []
    for metric in metrics:
        comparison = compared.get(metric)
        found = [by[metric] for by in scored.values() if metric in by]
        cells = (_cell(system, scored[system].get(metric), comparison) for system in systems)
        change, ends = wording.difference(comparison) if comparison else ("–", "")
        first: Score | Comparison = found[0] if found else compared[metric]
        rows.append(
            Row(
                metric=metric,
                name=wording.metric_name(metric),
                lower_is_better=first.lower_is_better,
                cells=tuple(cells),
                comparison=comparison,
                difference=change,
                interval=ends,
                p=wording.corrected_p(comparison) if comparison else "",
                verdict=wording.verdict(comparison) if comparison else "undefined",
                extent=extents.get(wording.scale(metric), (0.0, 1.0)),
                n=comparison.n if comparison else first.n,
                headline=lead is not None and metric == lead.metric,
            )
        )
    signatures = dict.fromkeys((wording.metric_name(x.metric), x.signature) for x in items)
    return Table(
        systems=systems,
        rows=tuple(row for row in rows if row.metric not in undirected),
        descriptive=tuple(row for row in rows if row.metric in undirected),
        signatures=tuple(signatures),
        unscaled=tuple(
            row.name
            for row in rows
            if row.metric not in undirected and wording.scale(row.metric) == 1
        ),
        confidence=wording.confidence(items[0].confidence if items else 0.95),
        tested=any(row.p for row in rows),
    )


def _cell(system: str, score: Score | None, comparison: Comparison | None) -> Cell:
    if score is not None:
        ends = wording.interval(score.low, score.high, score.metric)
        reason = "" if score.value is not None else score.reason or "undefined"
        return Cell(wording.score(score.value, score.metric), ends, reason)
    if comparison is not None and system in ("base", "tuned"):
        value = comparison.base if system == "base" else comparison.tuned
        reason = "" if value is not None else comparison.reason or "undefined"
        return Cell(wording.score(value, comparison.metric), "", reason)
    return Cell("–", "", "not scored")


def _extents(comparisons: tuple[Comparison, ...]) -> dict[float, tuple[float, float]]:
    """Return one scale for each unit, so that strips below each other can be compared."""
    ends: dict[float, list[float]] = {}
    undirected = wording.descriptive(comparisons)
    for item in comparisons:
        if item.metric not in undirected:
            values = (item.low, item.difference, item.high)
            ends.setdefault(wording.scale(item.metric), [0.0]).extend(
                x for x in values if x is not None and math.isfinite(x)
            )
    return {unit: (min(values), max(values)) for unit, values in ends.items()}
