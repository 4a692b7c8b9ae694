"""The stages of a run: each reads what the one before left in the folder, and leaves its own."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from loratory import __version__, evaluation
from loratory.files import write_text
from loratory.pipeline import basis
from loratory.pipeline.answering import answers, judgements, resolve_base
from loratory.pipeline.checking import SILENT, Recipe, check
from loratory.pipeline.findings import findings
from loratory.pipeline.packages import training_packages
from loratory.pipeline.settings import settings
from loratory.pipeline.texts import general_texts
from loratory.progress import Progress
from loratory.runs import Run
from loratory.runs.environment import hardware, versions
from loratory.runs.partial import discard
from loratory.runs.stage import stage

__all__ = ["compare", "predict", "prepare", "probe", "score", "train", "write_report"]


def prepare(recipe: Recipe, progress: Progress = SILENT) -> Run:
    """Check a recipe and lay its examples down in a new run folder.

    Raises:
        LoratoryError: as for `run`; nothing was written.
    """
    began = time.monotonic()
    checked = check(recipe, progress)
    progress.stage("prepare")
    run = Run.create(
        checked.config,
        {
            "loratory": __version__,
            "versions": versions(),
            "hardware": {**hardware(), "accelerator": basis.accelerator()},
            "model": checked.preflight.model,
            "data": {**checked.data, "cut": checked.preflight.cut},
            "labels": list(checked.config.task.choices()),
            "supervision": list(checked.preflight.shown),
            "durations": {"prepare": time.monotonic() - began},
        },
        checked.splits,
    )
    run.write_finding(checked.leakage)
    return run


def train(run: Run, progress: Progress = SILENT) -> None:
    """Train the adapter of a prepared run, going on from its last checkpoint if it has one."""
    with stage(run, "train", progress), training_packages("train"):
        from loratory.tuning import model as models
        from loratory.tuning import proof as proofs
        from loratory.tuning import train as training
        from loratory.tuning.memory import peak_bytes
        from loratory.tuning.preflight import encoder_for
        from loratory.tuning.resuming import shared_batch
        from loratory.tuning.tokenised import tokenised
        from loratory.tuning.validation import goal_for

        config = run.config
        rows = {split: run.examples(split) for split in ("train", "validation")}
        spec = resolve_base(run, progress)
        frozen = proofs.Frozen(spec)
        loaded = models.load(spec, config.task.choices(), config.seed)
        frozen.take(loaded.model)
        encoder = encoder_for(spec, config)
        model = config.method.attach(loaded.model, loaded.spec.family, config.seed, loaded.heads)
        frozen.note()
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        total = run.manifest()["model"]["parameters"]
        world = int(os.environ.get("WORLD_SIZE", "1"))
        begun = any(run.folder.glob("checkpoints/*"))
        by = run.manifest().get("processes", 1) if begun else world
        run.record(processes=by)
        run.record(
            model={
                "fingerprint": frozen.files,
                "trainable": trainable,
                "trainable_percent": 100 * trainable / total,
            }
        )
        validation = tokenised(encoder, rows["validation"])
        hooks = config.method.training(model)
        trained = training.train(
            spec,
            model,
            tokenised(encoder, rows["train"]),
            validation,
            shared_batch(config.train, by, world),
            seed=config.seed,
            folder=run.folder,
            progress=progress,
            hooks=hooks,
            remedy=config.remedy,
            texts=general_texts(config, hooks),
            goal=goal_for(config, encoder, rows["validation"]),
        )
        run.record(training=dataclasses.asdict(trained), model=_memory(run, peak_bytes()))
        progress.note("Proving that the saved adapter is the trained one, in a fresh process")
        seen = proofs.observe(spec, model, loaded.heads, validation, frozen)
        del model, loaded, frozen  # the fresh process needs the memory
        if not run.leads:
            return
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
    with stage(run, "predict", progress), training_packages("predict"):
        config = run.config
        found, key = answers(run, progress)
        if config.evaluate.baselines:
            test = run.examples("test")
            found |= config.task.baselines(run.examples("train"), test, config.seed)
        run.discard_predictions()  # also those of a system that is no longer there
        for name, predictions in found.items():
            run.write_predictions(name, predictions)
        run.record(decoding=config.decode.model_dump(), base_predictions=key)
        discard(run.folder)


def probe(run: Run, progress: Progress = SILENT) -> None:
    """Ask base and tuned model what is not the task: texts, paired sentences, swapped rows."""
    with stage(run, "probe", progress), training_packages("judge"):
        run.need("predictions", "predict")
        found = judgements(run, progress)
        run.discard_probes()
        for system, judged in found.judged.items():
            for name, rows in judged.items():
                run.write_judgements(system, name, rows)
            run.write_swapped(system, found.swapped[system])
        run.record(model={"new_head": found.new_head})
        discard(run.folder)


def score(run: Run, progress: Progress = SILENT) -> None:
    """Score the predictions of every system."""
    with stage(run, "score", progress):
        values = settings(run)
        run.need("predictions", "predict")
        answers = {name: run.predictions(name) for name in run.systems()}
        metrics = run.config.metrics
        run.write_scores(
            {name: evaluation.score(rows, metrics, **values) for name, rows in answers.items()},
            evaluation.place(answers, metrics, **values),
        )


def compare(run: Run, progress: Progress = SILENT) -> None:
    """Compare the tuned model with the base model, row by row, and look for known harms."""
    with stage(run, "compare", progress):
        run.write_comparison(
            evaluation.compare(
                run.predictions("base"),
                run.predictions("tuned"),
                run.config.metrics,
                **settings(run),
                relevant=run.config.evaluate.relevant,
            )
        )
        for finding in findings(run):
            run.write_finding(finding)


def write_report(run: Run, progress: Progress = SILENT) -> None:
    """Write report.html and the model card from what the run folder holds."""
    from loratory.report import render, render_card

    with stage(run, "report", progress):
        if run.compared():
            run.record(status="complete")
        write_text(run.folder / "report.html", render(run.folder))
        write_text(run.folder / "README.md", render_card(run.folder))


def _memory(run: Run, peak: int) -> dict[str, Any]:
    """Return the peak that was measured, and its share of it that was expected."""
    expected = run.manifest()["model"].get("expected_memory_bytes")
    ratio = None if expected is None else expected / peak
    return {"peak_memory_bytes": peak, "memory_expected_to_peak": ratio}
