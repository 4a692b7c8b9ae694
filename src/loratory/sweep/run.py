"""Running trials one after the other, each in a process of its own.

A process of its own gives each trial a peak of memory that is its own, and ends with it whatever
it does.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from loratory.errors import RunError
from loratory.progress import Progress, Silent
from loratory.records import Comparison, from_dict
from loratory.report import wording
from loratory.sweep.folder import Sweep, Trial

__all__ = ["sweep"]

_COMMAND = (sys.executable, "-c", "from loratory.cli import main; main()", "run")


def sweep(folder: Sweep, progress: Progress | None = None) -> None:
    """Run the trials of a sweep that have no result yet.

    A trial that its recipe's data or model rules out is kept with the reason, and the others go
    on. Stopped at any moment, the sweep goes on where it was.

    Raises:
        RunError: the folder cannot be written.
    """
    progress = progress or Silent()
    progress.begin("trials", len(folder.trials))
    for place, trial in enumerate(folder.trials):
        found = trial
        if not trial.done:
            found = _run(folder, trial)
            folder.record(place, found)
        if found.problem:
            progress.note(f"{found.method}, seed {found.seed}: {found.problem}")
        progress.advance(1, found.name)


def _run(folder: Sweep, trial: Trial) -> Trial:
    if folder.facts.get("learning_rates") and trial.learning_rate is None:
        rate = folder.rate(trial.method)
        if rate is None:
            return dataclasses.replace(trial, problem="no learning rate gave it a first result.")
        trial = dataclasses.replace(trial, learning_rate=rate)
    log, rate = folder.log(trial), trial.learning_rate
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as said:
        done = subprocess.run(  # noqa: S603 - this very program, and a recipe of this sweep
            [
                *_COMMAND,
                str(folder.recipe(trial)),
                "--json",
                f"output_dir={folder.folder / 'runs'}",
                *([] if rate is None else [f"train.learning_rate={rate}"]),
            ],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            check=False,
        )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    if done.returncode == 2 and "error" in answer:
        return dataclasses.replace(trial, problem=" ".join(answer["error"]["problems"]))
    if done.returncode:
        # A fault, not a finding: it is not kept, so that the trial is run again.
        raise RunError(
            f"{trial.name}: ended with status {done.returncode}. {log} has "
            "the reason; going on with the sweep runs it again."
        )
    return _result(folder, trial, answer)


def _result(folder: Sweep, trial: Trial, answer: dict[str, Any]) -> Trial:
    run = Path(answer["run"])
    if not folder.directions:
        compared = [from_dict(Comparison, item, str(run)) for item in answer["comparison"]]
        directed = {item.metric: item for item in compared if not item.descriptive}
        first = wording.headline(compared)
        folder.facts["headline"] = first.metric if first else ""
        folder.facts["lower_is_better"] = {k: v.lower_is_better for k, v in directed.items()}
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    values = {
        system: {
            score["metric"]: score["value"]
            for score in answer["scores"][system]
            if score["value"] is not None
        }
        for system in ("base", "tuned")
    }
    return dataclasses.replace(
        trial,
        run=str(run.relative_to(folder.folder)) if run.is_relative_to(folder.folder) else str(run),
        values=values["tuned"],
        base=values["base"],
        trainable=int(manifest["model"]["trainable"]),
        adapter_bytes=sum(file.stat().st_size for file in (run / "adapter").glob("*.safetensors")),
        train_seconds=float(manifest["durations"]["train"]),
        peak_bytes=int(manifest["model"]["peak_memory_bytes"]),
        steps=int(manifest["training"]["steps"]),
        validation_loss=float(manifest["training"]["best_eval_loss"]),
    )
