"""The straight line, from a recipe to evidence.

    RunConfig → examples → model → method → train → predict → score → compare → report

`run` is the line; each stage is a function of its own that reads what the one before left in
the run folder and leaves its own file there. After `predict` nothing needs torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratory import evaluation
from loratory.config import RunConfig, from_mapping, load
from loratory.errors import LoratoryError, MissingDependencyError
from loratory.progress import Progress, Silent
from loratory.records import Example, Prediction, read_jsonl, to_lines
from loratory.runs import Run
from loratory.runs.cache import cache_dir
from loratory.runs.environment import hardware, versions
from loratory.runs.files import write_lines, write_text
from loratory.tasks.source import Source, fingerprint, load_splits

if TYPE_CHECKING:
    from loratory.tuning.preflight import Preflight

__all__ = ["check", "compare", "predict", "prepare", "report", "run", "score", "train"]

SILENT = Silent()
Recipe = RunConfig | Mapping[str, Any] | Path | str


def run(recipe: Recipe, progress: Progress = SILENT) -> Run:
    """Fine-tune a model by a recipe and gather the evidence; return its run folder.

    Args:
        recipe: a config, its mapping, or the path of a recipe file.
        progress: hears of every stage and step.

    Raises:
        LoratoryError: a mistake in the recipe or its data, or a fault of the machine; one
            clear sentence, or one for each mistake in the recipe.
    """
    started = prepare(recipe, progress)
    train(started, progress)
    predict(started, progress)
    score(started, progress)
    compare(started, progress)
    report(started, progress)
    return started


@dataclasses.dataclass(frozen=True)
class Checked:
    """A recipe that was looked through, data and model included."""

    config: RunConfig
    """With the task bound to the labels of the training rows."""
    splits: dict[str, list[Example]]
    data: dict[str, Any]
    """Facts for the manifest: name, fingerprint, rows, dropped."""
    preflight: Preflight


def check(recipe: Recipe, progress: Progress = SILENT) -> Checked:
    """Find everything that can be found wrong before training; write nothing.

    Raises:
        LoratoryError: as for `run`.
    """
    config = _config(recipe)
    progress.stage("check")
    task, data = config.task, config.data
    sizes = {
        name: getattr(data, name)
        for name in ("name", "config", "revision", "train", "validation", "test")
    }
    sizes |= {
        f"{split}_{what}": getattr(data, f"{split}_{what}", None)
        for split in ("train", "validation", "test")
        for what in ("rows", "size")
        if (split, what) != ("train", "size")
    }
    stratify = "label" if task.kind == "classification" else None
    source = Source(columns=data.columns, stratify=stratify, seed=config.seed, **sizes)
    rows = load_splits(source, task.required(), Path.cwd(), task.inputs)
    task = task.bind([row.values for row in rows.train])
    config = dataclasses.replace(config, task=task)
    splits = {
        name: [example for row in getattr(rows, name) for example in task.example(*row[::-1])]
        for name in ("train", "validation", "test")
    }
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
    }
    with _training_packages():
        from loratory.tuning.preflight import preflight

        found = preflight(config, splits, progress)
    return Checked(config, splits, facts, found)


def prepare(recipe: Recipe, progress: Progress = SILENT) -> Run:
    """Check a recipe and lay its examples down in a new run folder.

    Raises:
        LoratoryError: as for `run`; nothing was written.
    """
    began = time.monotonic()
    checked = check(recipe, progress)
    progress.stage("prepare")
    new = Run.create(
        checked.config,
        {
            "loratory": versions()["loratory"],
            "versions": versions(),
            "hardware": {**hardware(), "accelerator": _accelerator()},
            "model": checked.preflight.model,
            "data": {**checked.data, "cut": checked.preflight.cut},
            "labels": list(checked.config.task.choices()),
            "supervision": list(checked.preflight.shown),
        },
    )
    for split, examples in checked.splits.items():
        new.write_examples(split, examples)
    new.record(durations={"prepare": time.monotonic() - began})
    return new


def train(run: Run, progress: Progress = SILENT) -> None:
    """Train the adapter of a prepared run, going on from its last checkpoint if it has one."""
    with _stage(run, "train", progress), _training_packages():
        from loratory.tuning import model as models
        from loratory.tuning import train as training
        from loratory.tuning.memory import peak_bytes
        from loratory.tuning.preflight import encoder_for

        config = run.config
        rows = {split: run.examples(split) for split in ("train", "validation")}
        loaded = _load(run, progress)
        encoder = encoder_for(loaded.spec, config)
        model = config.method.attach(loaded.model, loaded.spec.family, config.seed, loaded.heads)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        total = run.manifest()["model"]["parameters"]
        run.record(
            model={
                "fingerprint": models.fingerprint(loaded.spec),
                "trainable": trainable,
                "trainable_percent": 100 * trainable / total,
            }
        )
        trained = training.train(
            loaded.spec,
            model,
            encoder.all(rows["train"]),
            encoder.all(rows["validation"]),
            config.train,
            seed=config.seed,
            folder=run.folder,
            progress=progress,
        )
        run.record(training=dataclasses.asdict(trained), model={"peak_memory_bytes": peak_bytes()})


def predict(run: Run, progress: Progress = SILENT) -> None:
    """Let base model, tuned model and baselines answer the test rows."""
    with _stage(run, "predict", progress), _training_packages():
        from loratory.tuning import model as models
        from loratory.tuning.adapter import with_adapter
        from loratory.tuning.predict import predict as answer
        from loratory.tuning.preflight import encoder_for

        config, test = run.config, run.examples("test")
        adapter = run.need("adapter", "train")
        loaded = _load(run, progress)
        encoder = encoder_for(loaded.spec, config)

        key = _key(run, models.fingerprint(loaded.spec), encoder.all(test))
        cached = cache_dir() / "predictions" / f"{key}.jsonl"
        if cached.is_file():
            progress.note("Base predictions taken from the cache")
            base = read_jsonl(cached, Prediction)
        else:
            base = answer(loaded.model, encoder, test, config.decode, progress, "predict base")
            write_lines(cached, to_lines(base))
        run.write_predictions("base", base)

        tuned = with_adapter(loaded, adapter)
        run.write_predictions(
            "tuned", answer(tuned, encoder, test, config.decode, progress, "predict tuned")
        )
        run.record(decoding=config.decode.model_dump(), base_predictions=key)
    if config.evaluate.baselines:
        systems = config.task.baselines(run.examples("train"), test, config.seed)
        for name, predictions in systems.items():
            run.write_predictions(name, predictions)


def score(run: Run, progress: Progress = SILENT) -> None:
    """Score the predictions of every system."""
    with _stage(run, "score", progress):
        settings = _settings(run)
        run.write_scores(
            {
                name: evaluation.score(run.predictions(name), run.config.metrics, **settings)
                for name in run.systems()
            }
        )


def compare(run: Run, progress: Progress = SILENT) -> None:
    """Compare the tuned model with the base model, row by row."""
    with _stage(run, "compare", progress):
        run.write_comparison(
            evaluation.compare(
                run.predictions("base"),
                run.predictions("tuned"),
                run.config.metrics,
                **_settings(run),
            )
        )


def report(run: Run, progress: Progress = SILENT) -> None:
    """Write report.html and the model card from what the run folder holds."""
    from loratory.report import render, render_card

    with _stage(run, "report", progress):
        run.record(status="complete")
        write_text(run.folder / "report.html", render(run.folder))
        write_text(run.folder / "README.md", render_card(run.folder))


@contextmanager
def _stage(run: Run, name: str, progress: Progress) -> Iterator[None]:
    """Hold the folder, time the stage, and leave in the manifest how it ended."""
    with run.locked():
        progress.stage(name)
        began = time.monotonic()
        try:
            yield
        except LoratoryError as error:
            run.record(status="failed", failed={"stage": name, "reason": str(error)})
            raise
        run.record(durations={name: time.monotonic() - began})


@contextmanager
def _training_packages() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this needs the package {error.name}, which is not installed. "
            "Run: pip install 'loratory[train]'"
        ) from None


def _config(recipe: Recipe) -> RunConfig:
    if isinstance(recipe, RunConfig):
        return recipe
    return from_mapping(recipe) if isinstance(recipe, Mapping) else load(Path(recipe))


def _load(run: Run, progress: Progress) -> Any:
    from loratory.tuning import model as models

    config = run.config
    classify = config.task.kind == "classification"
    spec = models.resolve(config.model, classify=classify, progress=progress)
    return models.load(spec, config.task.choices(), config.seed)


def _settings(run: Run) -> dict[str, Any]:
    evaluate = run.config.evaluate
    return {
        "resamples": evaluate.resamples,
        "confidence": evaluate.confidence,
        "seed": run.config.seed,
    }


def _key(run: Run, model: str, rows: Any) -> str:
    """Return what base predictions hang on, hashed: model, prompts, decoding, versions."""
    facts = run.manifest()
    parts = {
        "model": model,
        "dtype": facts["model"]["dtype"],
        "family": facts["model"]["family"],
        "rows": [dataclasses.asdict(row) for row in rows],
        "examples": [dataclasses.asdict(example) for example in run.examples("test")],
        "labels": facts["labels"],
        "decoding": run.config.decode.model_dump(),
        "limit": run.config.data.max_target_tokens,
        "seed": run.config.seed,  # a new classification head is drawn under it
        "versions": facts["versions"],
        "hardware": facts["hardware"],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _accelerator() -> str | None:
    from loratory.tuning.device import accelerator

    return accelerator()
