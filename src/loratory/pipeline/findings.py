"""What a run's files say of known harms: leakage, overfitting, forgetting, bias."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loratory.evaluation.bias import Part, bias_finding, group_part, preference_part, swap_part
from loratory.evaluation.forgetting import forgetting, not_measured
from loratory.evaluation.forgetting.knee import told
from loratory.evaluation.leakage import with_scores
from loratory.evaluation.overfitting import memorised, overfitting, read_losses
from loratory.pipeline.asked import Asked, asked
from loratory.pipeline.settings import settings
from loratory.records import Finding, Prediction
from loratory.runs import Run

__all__ = ["findings", "forgotten"]

NO_LIKELIHOOD = "a model with a classification head gives no likelihood of a text."


def findings(run: Run) -> Iterator[Finding]:
    """Give what was found of each question that the run's files can answer."""
    values, config = settings(run), run.config
    base, tuned = run.predictions("base"), run.predictions("tuned")
    leakage = run.findings().get("leakage")
    if leakage is not None:
        yield with_scores(leakage, base, tuned, config.metrics, **values)
    kept = run.manifest()["training"]["best_step"]
    copied = memorised(run.examples("train"), base, tuned, **values)
    yield overfitting(read_losses(run.folder), kept, copied, **values)
    if not run.probed():
        return
    questions = asked(config, run.examples("test"))
    yield forgotten(run, questions.probes)
    parts = list(_bias(run, questions, base, tuned))
    yield bias_finding(parts, config.evaluate.confidence)


def forgotten(run: Run, probes: Iterable[str]) -> Finding:
    """Return what was found of forgetting, with the scales of the adapter if they were swept.

    Args:
        run: probed.
        probes: the names of those that are not about bias.
    """
    if _head(run):
        return not_measured(NO_LIKELIHOOD)
    judged = {
        name: (run.judgements("base", name), run.judgements("tuned", name)) for name in probes
    }
    found, points = forgetting(judged, **settings(run)), run.scales()
    return told(found, points) if points else found


def _head(run: Run) -> bool:
    return bool(run.manifest()["model"]["family"] == "classifier")


def _bias(
    run: Run, questions: Asked, base: list[Prediction], tuned: list[Prediction]
) -> Iterator[Part]:
    values, config, head = settings(run), run.config, _head(run)
    if head and questions.pairs:
        yield Part(sentences=(f"Pairs of sentences were not asked: {NO_LIKELIHOOD}",))
    for name in () if head else questions.pairs:
        yield preference_part(
            name, run.judgements("base", name), run.judgements("tuned", name), **values
        )
    if questions.lists:
        yield swap_part(
            base,
            tuned,
            run.swapped("base"),
            run.swapped("tuned"),
            questions.swaps,
            questions.lists,
            config.task.choices(),
            untrained_base=bool(run.manifest()["model"].get("new_head")),
            **values,
        )
    if config.bias.group:
        groups = {example.id: example.group for example in run.examples("test")}
        yield group_part(base, tuned, groups, config.metrics, **values)
