"""What base and tuned model answer: to the test rows, to probes, and to swapped rows.

Each answer hangs on a key (`basis`). What is kept under it, in the cache or by an attempt before
this one, is not asked again; and several processes may share what is left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from loratory.errors import RunError
from loratory.pipeline import basis
from loratory.pipeline.asked import asked
from loratory.progress import Progress
from loratory.records import Judgement, Prediction
from loratory.runs import Run, cache
from loratory.runs.partial import ALONE, Partial, Share

__all__ = ["Judgements", "answers", "judgements", "load_base", "resolve_base"]


class Judgements(NamedTuple):
    """What both models make of what is not the task, by system."""

    judged: dict[str, dict[str, list[Judgement]]]
    """By probe."""
    swapped: dict[str, list[Prediction]]
    new_head: bool
    """The base model had no classification head of its own."""


def resolve_base(run: Run, progress: Progress) -> Any:
    """Find the base model that a run names."""
    from loratory.tuning.model import resolve

    classify = run.config.task.kind == "classification"
    return resolve(run.config.model, classify=classify, progress=progress)


def load_base(run: Run, progress: Progress) -> Any:
    """Load the base model that a run names, with its head where the task needs one."""
    from loratory.tuning.model import load

    return load(resolve_base(run, progress), run.config.task.choices(), run.config.seed)


def _served(run: Run, spec: Any, adapter: Path | None = None) -> Any:
    """Return what writes a run's texts in the model's place: None but with another engine."""
    from loratory.tuning.vllm import Served

    return Served(spec, adapter) if run.config.decode.engine == "vllm" else None


def answers(
    run: Run, progress: Progress, share: Share = ALONE
) -> tuple[dict[str, list[Prediction]], str]:
    """Return what base and tuned model answer to the test rows, and the key of the base model's.

    Args:
        run: trained.
        progress: hears of every batch.
        share: of the parts, where several processes answer them; others' are left out.

    Raises:
        RunError: the adapter is not there, or failed its proof.
    """
    from loratory.tuning import model as models
    from loratory.tuning.adapter import with_adapter
    from loratory.tuning.fused import accelerated
    from loratory.tuning.predict import predict
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

    def answered(model: Any, system: str, key: str, adapter: Path | None) -> list[Prediction]:
        by = _served(run, loaded.spec, adapter)
        partial = Partial(run.folder, f"predict/{system}", key, Prediction)
        title = f"predict {system}"
        return predict(model, encoder, test, config.decode, progress, title, by, partial, share)

    fingerprint, rows = models.fingerprint(loaded.spec), tokenised(encoder, test)
    key = basis.predicted(run, fingerprint, rows, test)
    base = cache.predictions(key, [example.id for example in test])
    if base is not None:
        progress.note("Base predictions taken from the cache")
    else:
        base = answered(loaded.model, "base", key, None)
        if share == ALONE:
            cache.keep(key, base)
    tuned = with_adapter(loaded, adapter)
    with accelerated(tuned, loaded.spec.family, training=False):
        own = answered(tuned, "tuned", basis.tuned(key, adapter), adapter)
    return {"base": base, "tuned": own}, key


def judgements(run: Run, progress: Progress, share: Share = ALONE) -> Judgements:
    """Return what base and tuned model make of probes and of swapped rows.

    Args:
        run: trained.
        progress: hears of every batch.
        share: of the probes, where several processes judge them; others' are left out.
    """
    from loratory.tuning import model as models
    from loratory.tuning.adapter import with_adapter
    from loratory.tuning.fused import accelerated
    from loratory.tuning.judge import judge
    from loratory.tuning.predict import predict
    from loratory.tuning.preflight import encoder_for
    from loratory.tuning.tokenised import tokenised

    config, test = run.config, run.examples("test")
    adapter = run.need("adapter", "train")
    questions = asked(config, test)
    loaded = load_base(run, progress)
    encoder = encoder_for(loaded.spec, config)
    items = {**questions.probes, **questions.pairs}
    if loaded.spec.family == "classifier":
        items = {}  # a head gives no likelihood of a text
    swaps = questions.swaps.examples
    fingerprint = models.fingerprint(loaded.spec)
    keys = {name: basis.judged(run, fingerprint, probed) for name, probed in items.items()}
    swapped = basis.predicted(run, fingerprint, tokenised(encoder, swaps), swaps)

    def judged(model: Any, system: str, number: int, name: str, key: str) -> list[Judgement]:
        partial = Partial(run.folder, f"probe/{system}/{name}", key, Judgement)
        found = partial.read(0, len(items[name]))
        if found is None and share.has(number):
            found = judge(
                model,
                loaded.spec,
                items[name],
                batch_size=config.decode.batch_size,
                max_tokens=config.forgetting.max_tokens,
                progress=progress,
                title=f"{name}, {system}",
            )
            partial.keep(0, found)
        return found or []

    def answered(model: Any, system: str, key: str, adapter: Path | None) -> list[Prediction]:
        if not swaps:
            return []
        by = _served(run, loaded.spec, adapter)
        partial = Partial(run.folder, f"probe/{system}/swapped-rows", key, Prediction)
        title = f"swapped rows, {system}"
        return predict(model, encoder, swaps, config.decode, progress, title, by, partial, share)

    base: dict[str, list[Judgement]] = {}
    taken = []
    for number, (name, probed) in enumerate(items.items()):
        known = cache.judgements(keys[name], [item.id for item in probed])
        if known is not None:
            taken.append(name)
        else:
            known = judged(loaded.model, "base", number, name, keys[name])
            if share == ALONE:
                cache.keep(keys[name], known)
        base[name] = known
    rows = cache.predictions(swapped, [example.id for example in swaps])
    if rows is not None:
        taken.append("swapped rows")
    else:
        rows = answered(loaded.model, "base", swapped, None)
        if share == ALONE:
            cache.keep(swapped, rows)
    if taken:
        progress.note(f"Base judgements taken from the cache: {', '.join(taken)}")
    tuned = with_adapter(loaded, adapter)
    with accelerated(tuned, loaded.spec.family, training=False):
        own = {
            name: judged(tuned, "tuned", number, name, basis.tuned(keys[name], adapter))
            for number, name in enumerate(items)
        }
        beside = answered(tuned, "tuned", basis.tuned(swapped, adapter), adapter)
    new_head = loaded.spec.family == "classifier" and loaded.new_head
    return Judgements({"base": base, "tuned": own}, {"base": rows, "tuned": beside}, new_head)
