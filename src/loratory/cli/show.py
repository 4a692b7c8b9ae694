"""What the commands print: tables for people, one JSON object for machines."""

from __future__ import annotations

import json
import random
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loratory.codec import to_dict
from loratory.evaluation.baseline import best_baselines
from loratory.methods.base import Family
from loratory.records import Comparison, Place, Prediction, Score
from loratory.report import wording
from loratory.report.findings import summary
from loratory.report.standing import standing
from loratory.report.wording import clean
from loratory.runs import Run

__all__ = ["compared", "comparison", "print_json", "print_listing", "result", "scores"]

EXCERPT, SOURCE_EXCERPT = 280, 160
"""Characters of an answer, and of the text it is about, shown in a table."""

TITLES = {"peft_types": "peft_types (other types of peft; settings: loratory list NAME)"}
"""Titles of listings that say more than the kind."""

NAME = 9
"""Characters of a system's name on one line of a table's head."""


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
                "places": [to_dict(item) for item in run.places()],
                "comparison": [to_dict(item) for item in run.comparison()],
                "findings": {name: to_dict(item) for name, item in run.findings().items()},
            }
        )
        return
    console = Console(highlight=False)
    console.print(_comparison_table(run.comparison(), "base", "tuned"))
    console.print(_baselines(run))
    _standing(run.scores(), run.places(), console)
    _examples(run, console)
    for title, verdict, sentence in summary(run.findings()):
        line = Text(f"{title}: {verdict}. ", style="bold")
        console.print(line.append(clean(sentence), style="not bold"))
    headline = wording.headline(run.comparison())
    if headline is not None:
        console.print(Text(f"\n{wording.outcome(headline)}", style="bold"))
    console.print(Text(f"Report: {run.folder / 'report.html'}"), soft_wrap=True)


def comparison(run: Run, as_json: bool) -> None:
    """Print a run's comparison of tuned with base."""
    compared(run.comparison(), "base", "tuned", as_json)


def compared(
    items: Sequence[Comparison],
    first: str,
    second: str,
    as_json: bool,
    seeds: Sequence[int] = (),
) -> None:
    """Print comparisons of two systems, which are called base and tuned in the records.

    Args:
        items: at least one.
        first: what to call the system that is `base` in them.
        second: what to call the one that is `tuned`.
        as_json: print one JSON object, with every number in full.
        seeds: of the trainings behind each number, where they are several.
    """
    if as_json:
        listed = [to_dict(item) for item in items]
        known = {"seeds": list(seeds)} if seeds else {}
        print_json({"base": first, "tuned": second, **known, "comparison": listed})
        return
    console = Console(highlight=False)
    console.print(_comparison_table(items, first, second))
    if seeds:
        numbers = ", ".join(map(str, seeds))
        console.print(
            f"Means over {len(seeds)} seeds ({numbers}), each on the same {items[0].n:,} test "
            "rows; the intervals hold what other seeds and other rows would change."
        )


def scores(
    systems: Mapping[str, Sequence[Score]], as_json: bool, places: Sequence[Place] | None = None
) -> None:
    """Print scores with interval, n and signature, and where the systems stand.

    Args:
        systems: scores by the system's name.
        as_json: print one JSON object.
        places: of a run's systems; None for scores that belong to no run.
    """
    if as_json:
        data: dict[str, Any] = {"scores": _plain_scores(systems)}
        if places is not None:
            data["places"] = [to_dict(item) for item in places]
        print_json(data)
        return
    console = Console(highlight=False, soft_wrap=True)
    for name, items in systems.items():
        console.print(Text(name, style="bold"))
        for item in items:
            console.print(Text(f"  {item}"))
    _standing(systems, places or (), console)


def print_listing(kinds: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print the entries of each kind with their settings; of a single entry, what they mean."""
    console = Console(highlight=False)
    found = [entry for entries in kinds.values() for entry in entries]
    if len(found) == 1 and found[0].get("fields"):
        _settings(found[0], console)
        return
    for kind, entries in kinds.items():
        settings = [_in_short(entry) for entry in entries]
        table = _plain_table(TITLES.get(kind, kind), "name", "about")
        if any(settings):
            table.add_column("settings", overflow="fold")
        for entry, fields in zip(entries, settings, strict=True):
            cells = (Text(entry["name"]), _about(entry), *([Text(fields)] if any(settings) else []))
            table.add_row(*cells)
        console.print(table)


def _settings(entry: Mapping[str, Any], console: Console) -> None:
    console.print(Text(entry["name"], style="bold"))
    console.print(_about(entry))
    meanings = any(field["about"] for field in entry["fields"])
    table = _plain_table(None, "setting", "default", *(["meaning"] if meanings else []))
    for field in entry["fields"]:
        cells = [Text(field["name"]), Text(json.dumps(field["default"]))]
        table.add_row(*cells, *([Text(field["about"])] if meanings else []))
    console.print(table)


def _plain_table(title: str | None, *columns: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _in_short(entry: Mapping[str, Any]) -> str:
    """Return the settings of an entry, or how to get what it needs."""
    if entry.get("installed") is False:
        return f"not installed: pip install --no-deps {entry['package']}"
    return "\n".join(f"{field['name']}={field['default']}" for field in entry.get("fields", ()))


def _about(entry: Mapping[str, Any]) -> Text:
    """Return an entry's sentence, and below it what a method can be used with."""
    about = Text(entry["about"])
    if "families" in entry:
        every = len(entry["families"]) == len(get_args(Family))
        bases = " and ".join(entry["quantised"])
        words = (
            "any family" if every else ", ".join(entry["families"]),
            "merges" if entry["merges"] else "does not merge",
            f"{bases} bases" if bases else "no quantised base",
        )
        about.append(f"\n{'; '.join(words)}", style="dim")
    return about


def _comparison_table(items: Sequence[Comparison], first: str, second: str) -> Table:
    first, second = clean(first), clean(second)
    sizes = {item.n for item in items}
    title = Text(f"{first} → {second}, {max(sizes):,} test rows")
    table = Table(
        title=title,
        box=SIMPLE_HEAD,
        title_justify="left",
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("metric", min_width=11, overflow="fold")
    for system in (first, second):
        # Folded here: a table that is too wide would cut numbers rather than a long name.
        folded = "\n".join(textwrap.wrap(system, NAME)) or "–"
        table.add_column(Text(folded), justify="right", no_wrap=True)
    interval = f"{wording.confidence(items[0].confidence)} interval"
    # The title has the number of rows, and the table has to fit into eighty columns.
    n = ["n"] if len(sizes) > 1 else []
    for column in ("change", interval, "p", *n):
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
            wording.corrected_p(item),
            *([f"{item.n:,}"] if n else []),
            "" if verdict == "descriptive" else verdict,
        )
    return table


def _standing(
    systems: Mapping[str, Sequence[Score]], places: Sequence[Place], console: Console
) -> None:
    """Print where base and tuned stand by the metric that speaks for the run."""
    lead = wording.headline(systems.get("tuned", ()))
    for sentence in standing(systems, places, lead.metric) if lead else ():
        console.print(Text(clean(sentence)))


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
