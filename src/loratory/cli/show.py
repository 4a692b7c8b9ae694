"""What the commands print: tables for people, one JSON object for machines."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loratory.evaluation.baseline import best_baselines
from loratory.records import Prediction, Score, to_dict
from loratory.report import wording
from loratory.report.wording import clean
from loratory.runs import Run

__all__ = ["comparison", "print_json", "print_listing", "result", "scores"]

EXCERPT, SOURCE_EXCERPT = 280, 160
"""Characters of an answer, and of the text it is about, shown in a table."""


def print_json(data: Any) -> None:
    """Print one JSON object."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def result(run: Run, as_json: bool) -> None:
    """Print what a finished run found: scores, examples, and where the report is."""
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "report": str(run.folder / "report.html"),
                "scores": _plain_scores(run.scores()),
                "comparison": [to_dict(item) for item in run.comparison()],
            }
        )
        return
    console = Console(highlight=False)
    console.print(_comparison_table(run))
    console.print(_baselines(run))
    _examples(run, console)
    headline = wording.headline(run.comparison())
    if headline is not None:
        console.print(Text(f"\n{wording.outcome(headline)}", style="bold"))
    console.print(Text(f"Report: {run.folder / 'report.html'}"), soft_wrap=True)


def comparison(run: Run, as_json: bool) -> None:
    """Print a run's comparison of tuned with base."""
    if as_json:
        print_json({"comparison": [to_dict(item) for item in run.comparison()]})
    else:
        Console(highlight=False).print(_comparison_table(run))


def scores(systems: Mapping[str, Sequence[Score]], as_json: bool) -> None:
    """Print scores with interval, n and signature."""
    if as_json:
        print_json({"scores": _plain_scores(systems)})
        return
    console = Console(highlight=False, soft_wrap=True)
    for name, items in systems.items():
        console.print(Text(name, style="bold"))
        for item in items:
            console.print(Text(f"  {item}"))


def print_listing(kinds: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print the entries of each kind with their settings."""
    console = Console(highlight=False)
    for kind, entries in kinds.items():
        table = Table(title=kind, box=SIMPLE_HEAD, title_justify="left", show_edge=False)
        for column in ("name", "about", "settings"):
            table.add_column(column, overflow="fold")
        for entry in entries:
            fields = [f"{field['name']}={field['default']}" for field in entry.get("fields", ())]
            if entry.get("installed") is False:
                fields = [f"not installed: pip install --no-deps {entry['package']}"]
            table.add_row(Text(entry["name"]), Text(entry["about"]), Text("\n".join(fields)))
        console.print(table)


def _comparison_table(run: Run) -> Table:
    items = run.comparison()
    title = f"base → tuned, {items[0].n:,} test rows"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", show_edge=False)
    table.add_column("metric", min_width=10)
    for column in ("base", "tuned", "change", f"{items[0].confidence:.0%} interval", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for item in items:
        change, ends = wording.difference(item)
        verdict = wording.verdict(item)
        table.add_row(
            Text(wording.metric_name(item.metric)),
            wording.score(item.base, item.metric),
            wording.score(item.tuned, item.metric),
            change,
            ends,
            f"{item.n:,}",
            "" if verdict == "descriptive" else verdict,
        )
    return table


def _baselines(run: Run) -> Text:
    """Return a line with what a trivial system reaches."""
    best = best_baselines(run.scores()).values()
    parts = [
        f"{wording.metric_name(score.metric)} {wording.score(score.value, score.metric)} "
        f"({system.replace('_', ' ')})"
        for system, score in best
    ]
    return Text(f"Best baselines: {', '.join(parts)}." if parts else "", style="dim")


def _examples(run: Run, console: Console) -> None:
    """Print a few test rows side by side, drawn at random under the run's seed."""
    base, tuned = run.predictions("base"), run.predictions("tuned")
    count = min(run.config.evaluate.examples, len(base))
    if not count:
        return
    labels = run.config.task.choices()
    console.print(Text(f"\n{count} test rows, drawn at random", style="italic"))
    for i in sorted(random.Random(run.config.seed).sample(range(len(base)), count)):  # noqa: S311
        row = base[i]
        truth = row.references[0] if row.references else labels[row.label or 0]
        console.print(Text(f"\n{clean(row.id)}", style="bold"))
        console.print(_excerpt(row.source, SOURCE_EXCERPT), style="dim")
        table = Table(box=SIMPLE_HEAD, show_edge=False, expand=True)
        for column in ("reference", "base", "tuned"):
            table.add_column(column, overflow="fold", ratio=1)
        table.add_row(*map(_excerpt, (truth, _said(row), _said(tuned[i]))))
        console.print(table)


def _said(row: Prediction) -> str:
    if row.predicted is None:
        return row.text
    return f"{row.text} ({row.probabilities[row.predicted]:.0%})"


def _excerpt(text: str, limit: int = EXCERPT) -> Text:
    text = " ".join(clean(text).split())
    return Text(text if len(text) <= limit else f"{text[: limit - 1]}…")


def _plain_scores(systems: Mapping[str, Sequence[Score]]) -> dict[str, Any]:
    return {name: [to_dict(item) for item in items] for name, items in systems.items()}
