"""Running the trials of a sweep that have no result yet, on whatever engine."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

from loratory.codec import from_dict
from loratory.progress import Progress, Silent
from loratory.records import Comparison
from loratory.report import wording
from loratory.sweep.engine import Engine, here
from loratory.sweep.folder import Sweep, Trial
from loratory.sweep.process import Ended, Job

__all__ = ["sweep"]

FINDINGS = ("ConfigError", "DataError", "ModelError")
"""What a trial would say again, however often it is run."""
WORDS = 300
"""Characters of a log's last line in a sentence."""


def sweep(folder: Sweep, progress: Progress | None = None, engine: Engine = here) -> None:
    """Run the trials of a sweep that have no result yet.

    A trial that its recipe's data or model rules out is kept with the reason. One that fails
    otherwise is kept with its fault, and run again when the sweep is gone on with. In both cases
    the others go on. Stopped at any moment, the sweep goes on where it was.

    Args:
        folder: of the sweep.
        progress: hears of every trial.
        engine: what runs them: `here`, or what `Workers.start` gives.

    Raises:
        RunError: the folder cannot be written.
    """
    progress = progress or Silent()
    progress.begin("trials", len(folder.trials))
    given: dict[int, Trial] = {}  # by place, with the learning rate that they run with

    def settle(place: int, trial: Trial) -> None:
        if trial != folder.trials[place]:
            folder.record(place, trial)
        if said := trial.problem or trial.fault:
            progress.note(f"{trial.method}, seed {trial.seed}: {said}")
        progress.advance(1, trial.name)

    def take() -> list[Job]:
        """Return the jobs that can begin and were not given out."""
        jobs = []
        for place, trial in enumerate(folder.trials):
            if place in given or not _ready(folder, trial):
                continue
            given[place] = trial if trial.done else _with_rate(folder, trial)
            if given[place].done:
                settle(place, given[place])
            else:
                jobs.append(_job(folder, place, given[place]))
        return jobs

    for job, ended in engine(take):
        found = _found(folder, given[job.place], job.log, ended)
        if found.fault:  # the rate is chosen anew when it is run again
            rate = folder.trials[job.place].learning_rate
            found = dataclasses.replace(found, learning_rate=rate)
        settle(job.place, found)
    for place, trial in enumerate(folder.trials):
        if place not in given:
            fault = "has no learning rate before all those that its method tries have a result."
            settle(place, dataclasses.replace(trial, fault=fault))


def _tries(folder: Sweep, trial: Trial) -> list[Trial]:
    """Return the trials by which this one's learning rate is chosen."""
    if not folder.facts.get("learning_rates") or trial.learning_rate is not None:
        return []
    return [
        other
        for other in folder.trials
        if other.method == trial.method and other.learning_rate is not None
    ]


def _ready(folder: Sweep, trial: Trial) -> bool:
    return trial.done or all(other.done for other in _tries(folder, trial))


def _with_rate(folder: Sweep, trial: Trial) -> Trial:
    """Return a trial with the learning rate that its method learnt best with."""
    if not _tries(folder, trial):
        return trial
    rate = folder.rate(trial.method)
    if rate is None:
        return dataclasses.replace(trial, problem="no learning rate gave it a first result.")
    return dataclasses.replace(trial, learning_rate=rate)


def _job(folder: Sweep, place: int, trial: Trial) -> Job:
    log, rate = folder.log(trial).absolute(), trial.learning_rate
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = [
        "run",
        str(folder.recipe(trial)),
        "--json",
        f"output_dir={folder.folder / 'runs'}",
        *([] if rate is None else [f"train.learning_rate={rate}"]),
    ]
    return Job(place, tuple(arguments), log, Path.cwd())


def _found(folder: Sweep, trial: Trial, log: Path, ended: Ended) -> Trial:
    """Return a trial with its result, or why it has none."""
    trial = dataclasses.replace(
        trial, fault="", threads=ended.threads, began=ended.began, ended=ended.ended
    )
    if ended.lost:
        return dataclasses.replace(trial, fault=ended.lost)
    try:
        answer = json.loads(ended.out)
    except ValueError:
        answer = {}
    if ended.status == 2 and "error" in answer:
        said = " ".join(answer["error"]["problems"])
        if answer["error"]["type"] in FINDINGS:
            return dataclasses.replace(trial, problem=said)
        return dataclasses.replace(trial, fault=said)
    if ended.status or "run" not in answer:
        return dataclasses.replace(trial, fault=_fault(ended.status, log))
    try:
        return _result(folder, trial, answer)
    except OSError as error:
        return dataclasses.replace(trial, fault=f"its run folder cannot be read here: {error}.")


def _fault(status: int, log: Path) -> str:
    """Return how a process ended that gave no answer, with the last words of its log."""
    how = f"ended with status {status}"
    if status < 0:
        how = f"was ended by signal {signal.Signals(-status).name}"
    if status == -signal.SIGKILL:
        how += ", as a system does that runs out of memory"
    said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = wording.clean(said).split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{how}{f': {last[:WORDS]}' if last else ''} (all it said: {log})"


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
