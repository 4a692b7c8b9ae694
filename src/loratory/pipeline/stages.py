"""The stages of a run: each reads what the one before left in the folder, and leaves its own."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from loratory import __version__, evaluation
from loratory.errors import RunError
from loratory.files import write_text
from loratory.pipeline import basis
from loratory.pipeline.asked import asked
from loratory.pipeline.checking import SILENT, Recipe, check
from loratory.pipeline.findings import findings
from loratory.pipeline.packages import training_packages
from loratory.pipeline.settings import settings
from loratory.pipeline.texts import general_texts
from loratory.progress import Progress
from loratory.records import Judgement, Prediction
from loratory.runs import Run, cache
from loratory.runs.environment import hardware, versions
from loratory.runs.stage import stage

__all__ = ["compare", "load_base", "predict", "prepare", "probe", "score", "train", "write_report"]


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
            config.train,
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
        from loratory.tuning import model as models
        from loratory.tuning.adapter import with_adapter
        from loratory.tuning.fused import accelerated
        from loratory.tuning.predict import predict as answer
        from loratory.tuning.preflight import encoder_for
        from loratory.tuning.tokenised import tokenised

        config, test = run.config, run.examples("test")
        adapter = run.need("adapter", "train")
        if not run.manifest().get("proof", {}).get("passed", True):
            raise RunError(
                f"{run.folder}: its adapter failed the proof that it is what was trained; "
                f"manifest.json says how. Train again: loratory train {run.folder}"
            )
        loaded = load_base(run, progress)
        encoder = encoder_for(loaded.spec, config)

        fingerprint, rows = models.fingerprint(loaded.spec), tokenised(encoder, test)
        key = basis.predicted(run, fingerprint, rows, test)
        base = cache.predictions(key, [example.id for example in test])
        if base is not None:
            progress.note("Base predictions taken from the cache")
        else:
            base = answer(
                loaded.model,
                encoder,
                test,
                config.decode,
                progress,
                "predict base",
                served(run, loaded.spec),
            )
            cache.keep(key, base)
        found = {"base": base}
        tuned = with_adapter(loaded, adapter)
        with accelerated(tuned, loaded.spec.family, training=False):
            found["tuned"] = answer(
                tuned,
                encoder,
                test,
                config.decode,
                progress,
                "predict tuned",
                served(run, loaded.spec, adapter),
            )
        if config.evaluate.baselines:
            found |= config.task.baselines(run.examples("train"), test, config.seed)

        run.discard_predictions()  # also those of a system that is no longer there
        for name, predictions in found.items():
            run.write_predictions(name, predictions)
        run.record(decoding=config.decode.model_dump(), base_predictions=key)


def probe(run: Run, progress: Progress = SILENT) -> None:
    """Ask base and tuned model what is not the task: texts, paired sentences, swapped rows."""
    with stage(run, "probe", progress), training_packages("judge"):
        from loratory.tuning import model as models
        from loratory.tuning.adapter import with_adapter
        from loratory.tuning.fused import accelerated
        from loratory.tuning.judge import judge
        from loratory.tuning.predict import predict as answer
        from loratory.tuning.preflight import encoder_for
        from loratory.tuning.tokenised import tokenised

        config, test = run.config, run.examples("test")
        adapter = run.need("adapter", "train")
        run.need("predictions", "predict")
        questions = asked(config, test)
        loaded = load_base(run, progress)
        encoder = encoder_for(loaded.spec, config)
        items = {**questions.probes, **questions.pairs}
        if loaded.spec.family == "classifier":
            items = {}  # a head gives no likelihood of a text
        swaps = questions.swaps.examples

        def judged(model: Any, system: str, name: str) -> list[Judgement]:
            return judge(
                model,
                loaded.spec,
                items[name],
                batch_size=config.decode.batch_size,
                max_tokens=config.forgetting.max_tokens,
                progress=progress,
                title=f"{name}, {system}",
            )

        def answered(model: Any, system: str, adapter: Path | None = None) -> list[Prediction]:
            if not swaps:
                return []
            by = served(run, loaded.spec, adapter)
            title = f"swapped rows, {system}"
            return answer(model, encoder, swaps, config.decode, progress, title, by)

        run.discard_probes()
        fingerprint, taken = models.fingerprint(loaded.spec), []
        for name, probed in items.items():
            key = basis.judged(run, fingerprint, probed)
            found = cache.judgements(key, [item.id for item in probed])
            if found is None:
                found = judged(loaded.model, "base", name)
                cache.keep(key, found)
            else:
                taken.append(name)
            run.write_judgements("base", name, found)
        key = basis.predicted(run, fingerprint, tokenised(encoder, swaps), swaps)
        rows = cache.predictions(key, [example.id for example in swaps])
        if rows is None:
            rows = answered(loaded.model, "base")
            cache.keep(key, rows)
        else:
            taken.append("swapped rows")
        run.write_swapped("base", rows)
        if taken:
            progress.note(f"Base judgements taken from the cache: {', '.join(taken)}")
        tuned = with_adapter(loaded, adapter)
        with accelerated(tuned, loaded.spec.family, training=False):
            for name in items:
                run.write_judgements("tuned", name, judged(tuned, "tuned", name))
            run.write_swapped("tuned", answered(tuned, "tuned", adapter))
        run.record(model={"new_head": loaded.spec.family == "classifier" and loaded.new_head})


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


def resolve_base(run: Run, progress: Progress) -> Any:
    """Find the base model that a run names."""
    from loratory.tuning.model import resolve

    classify = run.config.task.kind == "classification"
    return resolve(run.config.model, classify=classify, progress=progress)


def load_base(run: Run, progress: Progress) -> Any:
    """Load the base model that a run names, with its head where the task needs one."""
    from loratory.tuning.model import load

    return load(resolve_base(run, progress), run.config.task.choices(), run.config.seed)


def served(run: Run, spec: Any, adapter: Path | None = None) -> Any:
    """Return what writes a run's texts in the model's place: None but with another engine."""
    from loratory.tuning.vllm import Served

    return Served(spec, adapter) if run.config.decode.engine == "vllm" else None


def _memory(run: Run, peak: int) -> dict[str, Any]:
    """Return the peak that was measured, and its share of it that was expected."""
    expected = run.manifest()["model"].get("expected_memory_bytes")
    ratio = None if expected is None else expected / peak
    return {"peak_memory_bytes": peak, "memory_expected_to_peak": ratio}
