"""`loratory plan`: what a recipe will cost, from a few real steps."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loratory.cli.options import Json, Overrides, RecipeFile

if TYPE_CHECKING:
    from loratory.pipeline import Checked
    from loratory.tuning.trial import Trial

__all__ = ["plan"]


def plan(
    recipe: RecipeFile,
    overrides: Overrides = None,
    steps: Annotated[
        int, typer.Option(help="Optimiser steps to take; the first is not timed.")
    ] = 4,
    as_json: Json = False,
) -> None:
    """Tell parameters, memory and time of a recipe, from a few real steps; write nothing."""
    from loratory import pipeline
    from loratory.cli.console import progress
    from loratory.cli.show import print_json
    from loratory.config import load

    config = load(recipe, overrides or ())
    with progress() as shown:
        checked, trial = pipeline.plan(config, steps, shown)
    if as_json:
        print_json(_facts(checked, trial))
    else:
        _print(checked, trial)


def _facts(checked: Checked, trial: Trial) -> dict[str, Any]:
    memory, counted = checked.preflight.memory, checked.preflight.account
    return {
        "model": checked.preflight.model,
        "modules": [asdict(group) for group in counted.groups],
        "memory": {
            "expected": None if memory is None else asdict(memory) | {"peak": memory.peak},
            "trial_training_peak_bytes": trial.training_peak_bytes,
            "trial_peak_bytes": trial.peak_bytes,
            "machine_bytes": _machine(),
        },
        "time": {
            "steps": trial.steps,
            "step_seconds": list(trial.step_seconds),
            "training_steps": trial.training_steps,
            "start_seconds": trial.start,
            "training": asdict(trial.training),
            "validation": asdict(trial.validation),
            "prediction": {name: asdict(item) for name, item in trial.prediction.items()},
        },
    }


def _print(checked: Checked, trial: Trial) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from loratory.report.wording import count, duration, size

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, box=SIMPLE_HEAD, title_justify="left", show_edge=False)
        made.add_column(columns[0], overflow="fold")
        for column in columns[1:]:
            made.add_column(column, justify="right", no_wrap=True)
        return made

    console = Console(highlight=False)
    counted, memory = checked.preflight.account, checked.preflight.memory
    modules = table("parameters", "modules", "number", "trainable", "frozen")
    for group in counted.groups:
        modules.add_row(
            Text(group.name), count(group.modules), count(group.trainable), count(group.frozen)
        )
    console.print(modules)
    console.print(
        Text(
            f"{counted.trainable:,} trainable, {counted.percent:.3g}% of the base model's "
            f"{counted.parameters:,}; adapter file {counted.adapter_bytes:,} bytes\n"
        )
    )
    machine = _machine()
    if memory is not None:
        parts = table("memory at the peak of training", "part", "expected")
        for name, value in asdict(memory).items():
            if name != "loading":
                parts.add_row(Text(name), size(value))
        console.print(parts)
        there = "" if machine is None else f" of {size(machine)} there are"
        console.print(Text(f"{size(memory.peak)} expected{there}"))
        if machine is not None and memory.peak > machine:
            console.print(Text("That does not fit. Lower train.per_device_train_batch_size or"))
            console.print(Text("data.max_prompt_tokens, or set train.activation_checkpointing."))
    held = f"{size(trial.training_peak_bytes)} held at most in {trial.steps} steps"
    console.print(Text(f"{held}, {size(trial.peak_bytes)} with prediction\n"))
    times = table("time", "work", "expected", "from", "to")
    named = {"training": trial.training, "of it validation": trial.validation}
    named |= {f"prediction, {name}": item for name, item in trial.prediction.items()}
    for name, item in named.items():
        times.add_row(Text(name), *map(duration, (item.expected, item.low, item.high)))
    console.print(times)


def _machine() -> int | None:
    """Return the memory of what the training runs on, in bytes, if it is known."""
    from loratory.runs.environment import hardware
    from loratory.tuning.device import memory_bytes

    on_device = memory_bytes()
    found = hardware()["memory_bytes"] if on_device is None else on_device
    return None if found is None else int(found)
