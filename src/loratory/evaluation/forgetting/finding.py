"""What the base model could do and the tuned one no longer can: the finding, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loratory.errors import DataError
from loratory.evaluation.compare import contrast
from loratory.evaluation.forgetting.losses import (
    ACCURACY_DROP,
    FEWEST,
    FOUND,
    NO_SIGN,
    PERPLEXITY_RISE,
    REPEATED,
    TOO_LITTLE,
    Judged,
    Loss,
    losses,
)
from loratory.evaluation.verdict import judge
from loratory.metrics.likelihood import metric_of
from loratory.records import Comparison, Contrasts, Finding

__all__ = ["forgetting", "not_measured"]

QUESTION = "forgetting"
LARGE = 1000.0
"""A rise that is not told to the percent."""
LIMITS = (
    "The probes ask for what they hold and nothing else: a skill that none of them needs can be "
    "lost without a sign.",
    "The texts are given raw, without the model's chat template. How well it still follows "
    "instructions is another question.",
    "Options are ranked by how likely they are. That a model can rank an answer first does not "
    "mean that it would write it.",
)
EMBEDDED_LIMIT = (
    "The embedded probes are technical English from Python's own reference, which the base model "
    "has probably read. Name files of your own domain in forgetting.probes."
)
REMEDIES = (
    "What can help: fewer epochs or a lower learning rate; remedy.replay_share, which trains on "
    "general text as well; remedy.kl_weight, which holds the answers near the base model's; "
    "remedy.l2_weight, which keeps the update small; or a smaller scale of the trained adapter."
)


NAMES = {
    "accuracy": "accuracy",
    "accuracy_norm": "accuracy for the length of the options",
    "perplexity": "perplexity",
}


def forgetting(
    probes: Judged,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    trials: int = 10_000,
) -> Finding:
    """Return what was forgotten, in words and numbers.

    Args:
        probes: each probe's judgements, the base model's first.
        resamples: draws behind each interval.
        confidence: of the intervals; 1 minus it is the error allowed over all numbers.
        seed: of the draws.
        trials: random swaps behind each p value.

    Raises:
        DataError: judgements of other items, of another tokenizer, or of mixed kinds.
        ConfigError: `resamples`, `confidence` or `trials` out of range.
    """
    if not probes:
        return not_measured("forgetting.probes names none.")
    _check(probes)
    found_of = {
        name: contrast(
            metric_of(base),
            base,
            tuned,
            resamples=resamples,
            confidence=confidence,
            seed=seed,
            trials=trials,
            relevant=PERPLEXITY_RISE,
        )
        for name, (base, tuned) in probes.items()
    }
    tables = _one_family(found_of)
    found = losses(probes, tables, resamples=resamples, seed=seed)
    verdict = _overall(found)
    # What was lost comes first, what cannot show a loss last.
    told = sorted(found, key=lambda loss: (loss.verdict != FOUND, bool(loss.reason)))
    sentences = [_headline(verdict, found), *(_sentence(loss, confidence) for loss in told)]
    if verdict == FOUND:
        sentences.append(REMEDIES)
    embedded = {"text", "choices"} & set(probes)
    return Finding(
        question=QUESTION,
        verdict=verdict,
        sentences=tuple(sentences),
        tables=tables,
        limits=(*LIMITS, EMBEDDED_LIMIT) if embedded else LIMITS,
        facts=_facts(found),
    )


def not_measured(reason: str) -> Finding:
    """Return the finding where nobody could look.

    Args:
        reason: why, as a sentence.
    """
    return Finding(QUESTION, "not measured", (f"Forgetting was not measured: {reason}",))


def _one_family(found: Mapping[str, Sequence[Comparison]]) -> tuple[Contrasts, ...]:
    """Judge the numbers of all probes together, but for those that say the same as another."""
    assert ACCURACY_DROP == PERPLEXITY_RISE, "a family is judged by one share"
    places = [
        (name, i)
        for name, items in found.items()
        for i, item in enumerate(items)
        if item.metric != REPEATED
    ]
    judged = judge([found[name][i] for name, i in places], relevant=PERPLEXITY_RISE)
    known = dict(zip(places, judged, strict=True))
    return tuple(
        Contrasts(name, tuple(known.get((name, i), item) for i, item in enumerate(items)))
        for name, items in found.items()
    )


def _check(probes: Judged) -> None:
    for name, (base, tuned) in probes.items():
        advice = f"Let both models judge the same items of {name}, in the same order."
        if not base:
            raise DataError(f"{name}: no judgements; a probe needs at least one item.")
        if len(base) != len(tuned):
            raise DataError(
                f"{name}: the base model judged {len(base)} items, the tuned one {len(tuned)}. "
                f"{advice}"
            )
        for old, new in zip(base, tuned, strict=True):
            if old.id != new.id:
                raise DataError(
                    f"{name}: item '{old.id}' of one is '{new.id}' of the other. {advice}"
                )
            if (old.gold, old.tokens, old.characters) != (new.gold, new.tokens, new.characters):
                raise DataError(
                    f"{name}: item '{old.id}' has other options, or other tokens, for the two "
                    f"models. {advice}"
                )


def _overall(found: Sequence[Loss]) -> str:
    verdicts = {loss.verdict for loss in found if not loss.reason}
    if FOUND in verdicts:
        return FOUND
    return NO_SIGN if verdicts == {NO_SIGN} else TOO_LITTLE


def _headline(verdict: str, found: Sequence[Loss]) -> str:
    allowed = f"{_points(ACCURACY_DROP)} of accuracy or {PERPLEXITY_RISE:.0%} of perplexity"
    if verdict == FOUND:
        names = list(dict.fromkeys(loss.probe for loss in found if loss.verdict == FOUND))
        return (
            "Fine-tuning has cost the model something that it could do before: on "
            f"{_listed(names)} it lost more than {allowed}, and more than chance explains."
        )
    if verdict == NO_SIGN:
        return f"No sign of forgetting: a loss of more than {allowed} is ruled out on every probe."
    return (
        f"Too little to tell whether the model has forgotten anything: a loss of more than "
        f"{allowed} was not found, and could not be ruled out."
    )


def _sentence(loss: Loss, confidence: float) -> str:
    unit = 1 if loss.metric == "perplexity" else 100
    interval = (
        f"{confidence:.0%} interval: {_change(loss, loss.low)} to {_change(loss, loss.high)}; "
        if loss.n >= FEWEST
        else ""
    )
    return (
        f"{loss.probe}, {NAMES[loss.metric]}: {loss.base * unit:,.1f} before and "
        f"{loss.tuned * unit:,.1f} after fine-tuning, {_change(loss, loss.value)} "
        f"({interval}{loss.n} items). {_told(loss)}"
    )


def _told(loss: Loss) -> str:
    size = _amount(loss, loss.size)
    if loss.reason:
        return f"Nothing can be told from it: {loss.reason}."
    if loss.n < FEWEST:
        return f"With fewer than {FEWEST} items nothing is said; about {loss.needed} are needed."
    if loss.verdict == FOUND:
        return f"That is forgetting: more than {size}, and more than chance explains."
    if loss.verdict == NO_SIGN:
        return f"A loss of more than {size} is ruled out."
    return (
        f"Whether more than {size} was lost cannot be told: a test of this size finds a loss of "
        f"{_amount(loss, loss.detectable)} four times in five, and one of {size} needs about "
        f"{loss.needed:,} items."
    )


def _change(loss: Loss, value: float) -> str:
    amount = _amount(loss, abs(value))
    if amount == _amount(loss, 0.0):
        return "no change"
    return f"{amount} {'worse' if value > 0 else 'better'}"


def _amount(loss: Loss, value: float) -> str:
    if loss.metric != "perplexity":
        return _points(value)
    if value >= LARGE:
        return f"more than {LARGE:,.0%}"
    return f"{value:.1%}" if value < 1 else f"{value:,.0%}"


def _points(value: float) -> str:
    number = f"{100 * value:.1f}".removesuffix(".0")
    return f"{number} {'point' if number == '1' else 'points'}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _facts(found: Sequence[Loss]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "allowed": {"accuracy_drop": ACCURACY_DROP, "perplexity_rise": PERPLEXITY_RISE},
        "losses": [
            {
                "probe": loss.probe,
                "metric": loss.metric,
                "loss": loss.value,
                "low": loss.low,
                "high": loss.high,
                "n": loss.n,
                "p": loss.p,
                "verdict": loss.verdict,
                "detectable": loss.detectable,
                "items_needed": loss.needed,
            }
            for loss in found
        ],
    }
    for name, relative in (("accuracy_drop", False), ("perplexity_rise", True)):
        values = [
            loss.value
            for loss in found
            if (loss.metric == "perplexity") == relative and not loss.reason
        ]
        facts[f"largest_{name}"] = max(values, default=None)
    return facts
