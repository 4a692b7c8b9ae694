"""The straight line, from a recipe to evidence.

    RunConfig → examples → model → method → train → predict → score → compare → report

`run` is the line; each stage is a function of its own that reads what the one before left in
the run folder and leaves its own file there. After `predict` nothing needs torch.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratory import __version__, evaluation
from loratory.config import RunConfig, from_mapping, load, to_mapping
from loratory.errors import ConfigError, RunError, training_packages
from loratory.progress import Progress, Silent
from loratory.records import Example
from loratory.runs import Run, cache
from loratory.runs.environment import hardware, need_loggers, versions
from loratory.runs.files import write_text
from loratory.runs.stage import stage
from loratory.tasks.source import Source, fingerprint, load_splits

if TYPE_CHECKING:
    from loratory.tuning.preflight import Preflight
    from loratory.tuning.trial import Trial

__all__ = [
    "check",
    "compare",
    "plan",
    "predict",
    "prepare",
    "run",
    "score",
    "train",
    "write_report",
]

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
    with started.locked():
        train(started, progress)
        predict(started, progress)
        score(started, progress)
        compare(started, progress)
        write_report(started, progress)
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
    splits = {
        name: [found for row in getattr(rows, name) for found in task.example(row.values, row.id)]
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
    with training_packages():
        from loratory.tuning.preflight import preflight

        found = preflight(config, splits, progress)
    return Checked(config, splits, facts, found)


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
    with training_packages():
        from loratory.tuning import model as models
        from loratory.tuning.preflight import encoder_for
        from loratory.tuning.trial import try_out

        progress.stage("plan")
        spec, rows = checked.preflight.spec, checked.preflight.rows
        loaded = models.load(spec, config.task.choices(), config.seed)
        model = config.method.attach(loaded.model, spec.family, config.seed, loaded.heads)
        encoder, test = encoder_for(spec, config), checked.splits["test"]
        return checked, try_out(loaded, model, encoder, rows, test, config, steps, progress)


def prepare(recipe: Recipe, progress: Progress = SILENT) -> Run:
    """Check a recipe and lay its examples down in a new run folder.

    Raises:
        LoratoryError: as for `run`; nothing was written.
    """
    began = time.monotonic()
    checked = check(recipe, progress)
    progress.stage("prepare")
    return Run.create(
        checked.config,
        {
            "loratory": __version__,
            "versions": versions(),
            "hardware": {**hardware(), "accelerator": _accelerator()},
            "model": checked.preflight.model,
            "data": {**checked.data, "cut": checked.preflight.cut},
            "labels": list(checked.config.task.choices()),
            "supervision": list(checked.preflight.shown),
            "durations": {"prepare": time.monotonic() - began},
        },
        checked.splits,
    )


def train(run: Run, progress: Progress = SILENT) -> None:
    """Train the adapter of a prepared run, going on from its last checkpoint if it has one."""
    with stage(run, "train", progress), training_packages():
        from loratory.tuning import proof as proofs
        from loratory.tuning import train as training
        from loratory.tuning.memory import peak_bytes
        from loratory.tuning.preflight import encoder_for

        config = run.config
        rows = {split: run.examples(split) for split in ("train", "validation")}
        loaded = _load(run, progress)
        encoder = encoder_for(loaded.spec, config)
        frozen = proofs.Frozen(loaded.model, loaded.spec)
        model = config.method.attach(loaded.model, loaded.spec.family, config.seed, loaded.heads)
        frozen.note()
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        total = run.manifest()["model"]["parameters"]
        run.record(
            model={
                "fingerprint": frozen.files,
                "trainable": trainable,
                "trainable_percent": 100 * trainable / total,
            }
        )
        validation = encoder.all(rows["validation"])
        trained = training.train(
            loaded.spec,
            model,
            encoder.all(rows["train"]),
            validation,
            config.train,
            seed=config.seed,
            folder=run.folder,
            progress=progress,
            hooks=config.method.training(model),
        )
        run.record(training=dataclasses.asdict(trained), model=_memory(run, peak_bytes()))
        progress.note("Proving that the saved adapter is the trained one, in a fresh process")
        seen = proofs.observe(loaded.spec, model, loaded.heads, validation, frozen)
        del model, loaded, frozen  # the fresh process needs the memory
        found = proofs.prove(
            seen,
            run.need("adapter", "train"),
            config.model,
            config.task.choices(),
            merges=getattr(config.method, "merges", True),
        )
        run.record(proof=found.facts())
        found.check(run.folder)


def predict(run: Run, progress: Progress = SILENT) -> None:
    """Let base model, tuned model and baselines answer the test rows."""
    with stage(run, "predict", progress), training_packages():
        from loratory.tuning import model as models
        from loratory.tuning.adapter import with_adapter
        from loratory.tuning.predict import predict as answer
        from loratory.tuning.preflight import encoder_for

        config, test = run.config, run.examples("test")
        adapter = run.need("adapter", "train")
        if not run.manifest().get("proof", {}).get("passed", True):
            raise RunError(
                f"{run.folder}: its adapter failed the proof that it is what was trained; "
                f"manifest.json says how. Train again: loratory train {run.folder}"
            )
        loaded = _load(run, progress)
        encoder = encoder_for(loaded.spec, config)

        basis = _basis(run, models.fingerprint(loaded.spec), encoder.all(test))
        base = cache.predictions(basis, [example.id for example in test])
        if base is not None:
            progress.note("Base predictions taken from the cache")
        else:
            base = answer(loaded.model, encoder, test, config.decode, progress, "predict base")
            cache.keep(basis, base)
        found = {"base": base}
        tuned = with_adapter(loaded, adapter)
        found["tuned"] = answer(tuned, encoder, test, config.decode, progress, "predict tuned")
        if config.evaluate.baselines:
            found |= config.task.baselines(run.examples("train"), test, config.seed)

        run.discard_predictions()  # also those of a system that is no longer there
        for name, predictions in found.items():
            run.write_predictions(name, predictions)
        run.record(decoding=config.decode.model_dump(), base_predictions=basis)


def score(run: Run, progress: Progress = SILENT) -> None:
    """Score the predictions of every system."""
    with stage(run, "score", progress):
        settings = _settings(run)
        run.need("predictions", "predict")
        answers = {name: run.predictions(name) for name in run.systems()}
        metrics = run.config.metrics
        run.write_scores(
            {name: evaluation.score(rows, metrics, **settings) for name, rows in answers.items()},
            evaluation.place(answers, metrics, **settings),
        )


def compare(run: Run, progress: Progress = SILENT) -> None:
    """Compare the tuned model with the base model, row by row."""
    with stage(run, "compare", progress):
        run.write_comparison(
            evaluation.compare(
                run.predictions("base"),
                run.predictions("tuned"),
                run.config.metrics,
                **_settings(run),
            )
        )


def write_report(run: Run, progress: Progress = SILENT) -> None:
    """Write report.html and the model card from what the run folder holds."""
    from loratory.report import render, render_card

    with stage(run, "report", progress):
        if run.compared():
            run.record(status="complete")
        write_text(run.folder / "report.html", render(run.folder))
        write_text(run.folder / "README.md", render_card(run.folder))


def _config(recipe: Recipe) -> RunConfig:
    if isinstance(recipe, RunConfig):
        return from_mapping(to_mapping(recipe))  # what Python put together is checked as well
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


def _basis(run: Run, model: str, rows: Any) -> str:
    """Return what base predictions hang on, hashed: model, prompts, decoding, versions."""
    facts = run.manifest()
    parts = {
        "model": model,
        "dtype": facts["model"]["dtype"],
        "quantization": run.config.model.quantization,
        "family": facts["model"]["family"],
        "rows": [dataclasses.asdict(row) for row in rows],
        "examples": [dataclasses.asdict(example) for example in run.examples("test")],
        "labels": facts["labels"],
        "decoding": run.config.decode.model_dump(),
        "limit": run.config.data.max_target_tokens,
        # A new classification head is drawn under it.
        "seed": run.config.seed if facts["model"]["family"] == "classifier" else None,
        "versions": versions(),
        "hardware": {**hardware(), "accelerator": _accelerator()},
    }
    return cache.key(parts)


def _memory(run: Run, peak: int) -> dict[str, Any]:
    """Return the peak that was measured, and its share of it that was expected."""
    expected = run.manifest()["model"].get("expected_memory_bytes")
    ratio = None if expected is None else expected / peak
    return {"peak_memory_bytes": peak, "memory_expected_to_peak": ratio}


def _accelerator() -> str | None:
    from loratory.tuning.device import accelerator

    return accelerator()
