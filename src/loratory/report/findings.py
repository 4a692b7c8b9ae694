"""What was found beside the scores, leakage, overfitting, forgetting and bias, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from loratory.records import Comparison, Contrasts, Finding
from loratory.report import wording
from loratory.report.scales import Scales, scales

__all__ = ["Line", "Section", "Sheet", "sections", "summary"]

TITLES = {
    "leakage": "Leakage",
    "overfitting": "Overfitting",
    "forgetting": "Forgetting",
    "bias": "Bias",
}
TONES = {"found": "bad", "no sign": "good"}


class Line(NamedTuple):
    """One comparison, as text."""

    name: str
    lower_is_better: bool
    base: str
    tuned: str
    difference: str
    interval: str
    p: str
    verdict: str
    n: int
    reason: str
    """Why there is no value; empty where there is one."""


class Sheet(NamedTuple):
    """Comparisons under one title."""

    title: str
    sides: tuple[str, ...]
    lines: tuple[Line, ...]


class Section(NamedTuple):
    """One question, answered."""

    id: str
    title: str
    verdict: str
    tone: str
    """`good`, `bad` or `even`."""
    sentences: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    limits: tuple[str, ...]
    scales: Scales | None
    """Of the question on forgetting, where the adapter's scale was swept."""


def sections(findings: Mapping[str, Finding]) -> tuple[Section, ...]:
    """Return what was found, by question; nothing for a run in which nobody looked."""
    return tuple(
        Section(
            id=question,
            title=TITLES.get(question, question),
            verdict=finding.verdict,
            tone=TONES.get(finding.verdict, "even"),
            sentences=finding.sentences,
            sheets=tuple(map(_sheet, finding.tables)),
            limits=finding.limits,
            scales=scales(finding.facts),
        )
        for question, finding in findings.items()
    )


def summary(findings: Mapping[str, Finding]) -> list[tuple[str, str, str]]:
    """Return title, verdict and first sentence of each question."""
    return [
        (TITLES.get(question, question), finding.verdict, finding.sentences[0])
        for question, finding in findings.items()
        if finding.sentences
    ]


def _sheet(table: Contrasts) -> Sheet:
    sides = tuple(side[:1].upper() + side[1:] for side in table.sides)
    return Sheet(table.title, sides, tuple(map(_line, table.comparisons)))


def _line(item: Comparison) -> Line:
    change, ends = wording.difference(item)
    return Line(
        name=wording.metric_name(item.metric),
        lower_is_better=item.lower_is_better,
        base=wording.score(item.base, item.metric),
        tuned=wording.score(item.tuned, item.metric),
        difference=change,
        interval=ends,
        p=wording.corrected_p(item),
        verdict=wording.verdict(item),
        n=item.n,
        reason=item.reason or "",
    )
