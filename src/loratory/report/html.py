"""The run as one HTML file: no network, no script, nothing beside it.

Everything from a model, a data set or a recipe passes one door: `finalize` makes control
characters visible, autoescape does the rest, and no link or attribute name is ever made from
it. A strict Content-Security-Policy stands behind both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loratory.report import wording
from loratory.report.chart import Mark, Series, interval_strip, line_chart, thin
from loratory.report.confusion import Confusion, confusion
from loratory.report.data import LossLog, ReportData, fact, load
from loratory.report.examples import choose
from loratory.report.facts import run_facts
from loratory.report.findings import sections
from loratory.report.front import base_model, method_name
from loratory.report.proof import proof
from loratory.report.standing import standing
from loratory.report.table import Row, score_table, system_name

__all__ = ["render"]

CONFIG_CHARS = 60_000
OPENING_CHARS = 200
LOSS_ROWS = 60


class Loss(NamedTuple):
    """The loss section: a chart, its words, and the numbers behind it."""

    chart: Markup
    description: str
    rows: tuple[tuple[str, str, bool], ...]
    """(step, validation loss, is the best)."""


def render(folder: Path) -> str:
    """Return a run folder's report as one self-contained HTML page.

    The same folder always gives the same text. A stage that is missing is named.

    Raises:
        RunError: `folder` is not a folder.
    """
    data = load(folder)
    table = score_table(data)
    lead = wording.headline(data.comparisons)
    config, status = data.config_text, fact(data.manifest, "status")
    if len(config) > CONFIG_CHARS:
        config = f"{config[:CONFIG_CHARS]}\n# … cut here; the whole is in config.yaml"
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            outcome=_unbroken(_outcome(data)),
            verdict=wording.verdict(lead) if lead else "undefined",
            byline=_byline(data),
            status=None if status in (None, "complete") else str(status),
            failed=_failed(data),
            missing=data.missing,
            table=table,
            standing=standing(data.scores, data.places, lead.metric) if lead else (),
            strips={row.metric: strip for row in table.rows if (strip := _strip(row))},
            loss=_loss(data),
            proof=proof(data.manifest),
            findings=sections(data.findings),
            not_finite=data.log.not_finite,
            confusions=_confusions(data),
            choice=choose(data),
            facts=run_facts(data),
            config=config,
            version=fact(data.manifest, "loratory"),
            seed=fact(data.manifest, "seed"),
        )
    )


@cache
def _environment() -> Environment:
    def show(value: Any) -> Any:
        # Markup is what we made ourselves; all other text may hold anything.
        if isinstance(value, Markup):
            return value
        return wording.clean(value) if isinstance(value, str) else value

    environment = Environment(
        loader=PackageLoader("loratory.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=show,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["system"] = system_name
    environment.filters["count"] = wording.count
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.0f}%"
    # A probability in percent; an overlap like the scores of the table, out of 100.
    environment.filters["quality"] = lambda value, measure: (
        f"{100 * value:.0f}{'%' if 'probability' in measure else ''}"
    )
    environment.filters["opening"] = _opening
    return environment


def _opening(text: str) -> str:
    """Return how a text begins, on one line."""
    line = " ".join(text[: 2 * OPENING_CHARS].split())
    return line if len(line) <= OPENING_CHARS else f"{line[: OPENING_CHARS - 1]}…"


def _unbroken(sentence: str) -> str:
    """Return a sentence that no line break parts at `p = 0.012` or `n = 60`."""
    return re.sub(r"(?<=\b[pn]) ([=<]) (?=[\d.])", "\u00a0\\1\u00a0", sentence)


def _outcome(data: ReportData) -> str:
    lead = wording.headline(data.comparisons)
    if lead is not None:
        return wording.outcome(lead)
    lacking = data.lacks("comparison.json")
    if lacking is None:
        return "No metric that could be better or worse was compared."
    if lacking.why != "missing":
        return "This run cannot be judged: its comparison could not be read."
    return "This run cannot be judged: base and tuned model have not been compared."


def _failed(data: ReportData) -> dict[str, str] | None:
    """Return the stage that failed and why; a run that went on since has no such status."""
    failed = {key: fact(data.manifest, "failed", key) for key in ("stage", "reason")}
    if fact(data.manifest, "status") != "failed" or None in failed.values():
        return None
    return {key: str(value) for key, value in failed.items()}


def _byline(data: ReportData) -> tuple[tuple[str, str], ...]:
    created = fact(data.manifest, "created")
    parts = {
        "Base model": base_model(data),
        "Method": method_name(data),
        "Data": fact(data.manifest, "data", "name"),
        "Made": wording.moment(created) if created else None,
        "Run": data.id if data.id != data.name else None,
    }
    return tuple((name, str(value)) for name, value in parts.items() if value)


def _strip(row: Row) -> Markup | None:
    item = row.comparison
    if item is None or item.difference is None or item.low is None or item.high is None:
        return None
    ends = (item.difference, item.low, item.high)
    tone = {"improved": "good", "worse": "bad"}.get(row.verdict, "even")
    return interval_strip(*ends, row.extent, tone) if all(map(math.isfinite, ends)) else None


def _loss(data: ReportData) -> Loss | None:
    log = data.log
    if not log.train and not log.validation:
        return None
    best = _best_step(data)
    mark = Mark(*best, f"best: {best[1]:.3g} at step {best[0]:,}") if best else None
    series = [Series("training loss", thin(log.train))]
    if log.validation:
        series.append(Series("validation loss", thin(log.validation), len(log.validation) <= 60))
    words = _loss_words(log, best)
    chart = line_chart(
        series,
        id="loss",
        title="Loss against training step",
        description=words,
        x_label="steps",
        mark=mark,
    )
    rows = _spread(log.validation, LOSS_ROWS)
    return Loss(
        chart,
        words,
        tuple((f"{step:,}", f"{loss:.4f}", (step, loss) == best) for step, loss in rows),
    )


def _best_step(data: ReportData) -> tuple[int, float] | None:
    """Return the step the adapter was kept from: the manifest's, else the lowest loss."""
    validation = dict(data.log.validation)
    step = fact(data.manifest, "training", "best_step")
    if isinstance(step, int) and step in validation:
        return step, validation[step]
    return min(validation.items(), key=lambda item: item[1]) if validation else None


def _loss_words(log: LossLog, best: tuple[int, float] | None) -> str:
    sentences = []
    if log.train:
        (first, start), (last, end) = log.train[0], log.train[-1]
        sentences.append(
            f"Training loss went from {start:.3f} at step {first:,} to {end:.3f} at step {last:,}."
        )
    if best:
        step, loss = log.validation[-1]
        after = f"; at the last, step {step:,}, it was {loss:.3f}" if step != best[0] else ""
        sentences.append(f"Validation loss was best at step {best[0]:,} with {best[1]:.3f}{after}.")
    else:
        sentences.append("Validation loss was not measured.")
    return " ".join(sentences)


def _spread(points: Sequence[tuple[int, float]], limit: int) -> Sequence[tuple[int, float]]:
    """Return every k-th point, counted from the last, so that no more than `limit` remain."""
    width = -(-len(points) // limit) if points else 1
    return tuple(reversed(points[::-1][::width]))


def _confusions(data: ReportData) -> list[tuple[str, Confusion]]:
    found = ((name, confusion(data.answers(name), data.labels)) for name in ("base", "tuned"))
    return [(name, matrix) for name, matrix in found if matrix is not None]
