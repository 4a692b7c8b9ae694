"""What can be known of a run before it is trained: the recipe, its rows, its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratory.config import RunConfig, from_mapping, load, to_mapping
from loratory.errors import ConfigError
from loratory.evaluation.leakage import find_leaks, leakage_finding, treat_leaks
from loratory.pipeline.asked import asked
from loratory.pipeline.packages import training_packages
from loratory.pipeline.texts import general_texts
from loratory.progress import Progress, Silent
from loratory.records import Example, Finding
from loratory.runs.environment import need_loggers
from loratory.tasks.base import Task
from loratory.tasks.groups import check_column, remedied, with_group
from loratory.tasks.source import Source, SourceRow, Splits, fingerprint, load_splits

if TYPE_CHECKING:
    from loratory.tuning.preflight import Preflight
    from loratory.tuning.trial import Trial

__all__ = ["SILENT", "Checked", "Recipe", "check", "plan"]

SILENT = Silent()
Recipe = RunConfig | Mapping[str, Any] | Path | str
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Checked:
    """A recipe that was looked through, data and model included."""

    config: RunConfig
    """With the task bound to the labels of the training rows."""
    splits: dict[str, list[Example]]
    leakage: Finding
    """Rows that stand in more than one split, or nearly."""
    data: dict[str, Any]
    """Facts for the manifest: name, fingerprint, rows, dropped, remedies."""
    preflight: Preflight


def check(recipe: Recipe, progress: Progress = SILENT) -> Checked:
    """Find everything that can be found wrong before training; write nothing.

    Raises:
        LoratoryError: as for `run`.
    """
    config = _config(recipe)
    progress.stage("check")
    need_loggers(config.train.report_to)
    task, data = config.task, config.data
    shared = {field.name for field in dataclasses.fields(Source)} & set(type(data).model_fields)
    given = {name: getattr(data, name) for name in shared}
    stratify = "label" if task.kind == "classification" else None
    given["seed"] = config.seed if data.seed is None else data.seed
    source = Source(stratify=stratify, **given)
    rows = load_splits(source, task.required(), Path.cwd(), task.inputs)
    task = task.bind([row.values for row in rows.train])
    config = dataclasses.replace(config, task=task)
    splits, leakage, remedies = _examples(config, rows, progress)
    # A set that is not there is to be said now.
    asked(config, splits["test"])
    texts = general_texts(config)
    counts = {name: len(examples) for name, examples in splits.items()}
    progress.note(
        f"{data.name}: {counts['train']} training, {counts['validation']} validation and "
        f"{counts['test']} test rows"
    )
    for what, number in rows.dropped.items():
        progress.note(f"Left out: {number} {what}")
    facts = {
        "name": data.name,
        "rows": counts,
        "dropped": rows.dropped,
        "fingerprint": {name: fingerprint(getattr(rows, name)) for name in splits},
        "remedies": remedies,
    }
    with training_packages("preflight", "train"):
        from loratory.tuning.preflight import preflight

        found = preflight(config, splits, progress, texts)
    return Checked(config, splits, leakage, facts, found)


def _examples(
    config: RunConfig, rows: Splits, progress: Progress
) -> tuple[dict[str, list[Example]], Finding, dict[str, Any]]:
    """Return the examples of every split, what leaked between them, and what was added.

    Leaks are looked for before remedies, whose added rows are alike by intention.
    """
    column, data = config.bias.group, config.data
    parts: dict[str, list[SourceRow]] = {name: getattr(rows, name) for name in SPLITS}
    if column:
        check_column([row.values for part in parts.values() for row in part], column)
    made = {name: _made(config.task, part, column) for name, part in parts.items()}
    splits = {name: [example for example, _ in items] for name, items in made.items()}
    found = find_leaks(splits, similarity=config.leakage.similarity, ngram=config.leakage.ngram)
    treated = treat_leaks(splits, found, config.leakage.action)
    leakage = leakage_finding(found, config.leakage.action, treated.dropped)
    if leakage.verdict == "found":
        progress.note(leakage.sentences[0])
    splits = dict(treated.splits)
    values = {example.id: row.values for example, row in made["train"]}
    helped = remedied(
        splits["train"],
        [values[example.id] for example in splits["train"]],
        data.augment,
        data.balance,
        held_out=[example.source for name in SPLITS[1:] for example in splits[name]],
        base_dir=Path.cwd(),
        seed=config.seed if data.seed is None else data.seed,
    )
    splits["train"] = helped.examples
    for note in helped.notes:
        progress.note(note)
    return splits, leakage, helped.facts


def _made(
    task: Task, rows: Sequence[SourceRow], column: str | None
) -> list[tuple[Example, SourceRow]]:
    """Return each example with the row it was made of."""
    found = []
    for row in rows:
        examples = list(task.example(row.values, row.id))
        if column:
            examples = with_group(examples, row.values, column)
        found += [(example, row) for example in examples]
    return found


def plan(recipe: Recipe, steps: int = 4, progress: Progress = SILENT) -> tuple[Checked, Trial]:
    """Check a recipe and take a few real optimiser steps, to tell time and memory; write nothing.

    Args:
        recipe: as for `run`.
        steps: optimiser steps to take; the first is not counted in the time.
        progress: hears of every step.

    Raises:
        LoratoryError: as for `run`; also for fewer than 2 steps.
    """
    if steps < 2:
        raise ConfigError(f"steps: got {steps}; at least 2 are needed, the first prepares.")
    checked = check(recipe, progress)
    config = checked.config
    with training_packages("trial"):
        from loratory.tuning import model as models
        from loratory.tuning.preflight import encoder_for
        from loratory.tuning.trial import try_out

        progress.stage("plan")
        spec, rows = checked.preflight.spec, checked.preflight.rows
        loaded = models.load(spec, config.task.choices(), config.seed)
        model = config.method.attach(loaded.model, spec.family, config.seed, loaded.heads)
        encoder, splits = encoder_for(spec, config), checked.splits
        texts = general_texts(config, config.method.training(model))
        tried = try_out(loaded, model, encoder, rows, splits, config, steps, progress, texts)
        return checked, tried


def _config(recipe: Recipe) -> RunConfig:
    if isinstance(recipe, RunConfig):
        return from_mapping(to_mapping(recipe))  # what Python put together is checked as well
    return from_mapping(recipe) if isinstance(recipe, Mapping) else load(Path(recipe))
