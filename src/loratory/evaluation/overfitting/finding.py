"""Whether a training learnt its rows by heart: from the losses that each validation measured.

Three signs are looked for. After its best, the validation loss rose by more than noise. At the step
that was kept, rows that were trained on are far easier than rows that were not. And answers to test
rows repeat training targets word for word (`memorised`). Training and validation rows were measured
alike, without dropout and at the same moments. The rise is of the same rows, so it is paired; the
gap is of two sets of rows, each of which is drawn anew for its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loratory.errors import DataError
from loratory.evaluation.compare import contrast
from loratory.evaluation.overfitting.copies import Memorised
from loratory.evaluation.overfitting.losses import LOSSES, RowLoss, RowLosses
from loratory.evaluation.verdict import MIN_ROWS
from loratory.metrics.ratio import ratio
from loratory.metrics.resample import weights
from loratory.records import Comparison, Contrasts, Finding

__all__ = ["GAP", "LEAST_GAP", "RISE", "overfitting"]

RISE = 0.05
"""Share of its lowest value by which a validation loss must rise to count."""
GAP = 1.5
"""Validation loss as a multiple of the training rows' from which the gap is large."""
LEAST_GAP = 0.1
"""In nats a token (for classes: a row); a smaller gap is none, whatever the multiple."""

_CELLS = 1 << 21
"""Numbers held at once."""

LIMITS = (
    "Validation rows tell of rows like themselves. Where they resemble training rows more than "
    "later use will, overfitting to that likeness does not show.",
    "The best of several validations looks a little better than it is, as it was chosen by the "
    "same rows.",
)


def overfitting(
    losses: Sequence[RowLosses],
    kept_step: int,
    memorised: Memorised | None = None,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Finding:
    """Return whether a training overfitted, in words and comparisons.

    Found: the validation loss rose from its lowest value to its last by more than `RISE` of it,
    with an interval above 0; or at the kept step the validation loss is `GAP` times the training
    rows' or more and at least `LEAST_GAP` above it, with an interval of the gap above 0; or
    more answers repeat training targets than the base model's and the references do.

    Args:
        losses: of every validation, in order of steps.
        kept_step: the step whose state is the adapter.
        memorised: what was counted in the answers; None where nothing was.
        resamples: bootstrap draws behind each interval.
        confidence: of the intervals.
        seed: of the draws.

    Raises:
        DataError: the validations are not of the same rows.
    """
    settings: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    tables: list[Contrasts] = []
    signs: list[tuple[str, str]] = []
    facts: dict[str, Any] = {"kept_step": kept_step}
    kept = next((x for x in losses if x.step == kept_step), None)
    if len({(len(x.validation), len(x.training)) for x in losses}) > 1:
        raise DataError(f"{LOSSES}: its validations are of different rows. Train the run again.")
    if kept is not None:
        facts["curve"] = [
            {"step": x.step, "validation": _mean(*_of(x)), "training": _mean(*_seen(x))}
            for x in losses
        ]
        rise, table = _rise(losses, kept_step, **settings)
        gap, gap_table = _gap(kept, **settings)
        signs += [rise, gap]
        tables += [x for x in (table, gap_table) if x is not None]
    curve = {verdict for verdict, _ in signs}
    if memorised is not None:
        signs.append((memorised.verdict, memorised.sentence))
        tables += [memorised.table] if memorised.table is not None else []
        facts["memorised"] = memorised.facts
    order = ("found", "no sign", "too little to tell", "not measured")
    signs.sort(key=lambda sign: order.index(sign[0]))
    verdicts = [verdict for verdict, _ in signs]
    verdict = verdicts[0] if verdicts else "not measured"
    # Losses of too few rows are no acquittal, whatever the answers say.
    if verdict == "no sign" and not curve & {"found", "no sign"}:
        verdict = "too little to tell"
    sentences = [sentence for _, sentence in signs]
    if kept is None:
        sentences.append(
            f"The losses of step {kept_step}, whose state was kept, are missing, as in a run that "
            "an earlier Loratory began; what they would show cannot be told."
        )
    return Finding("overfitting", verdict, tuple(sentences), tuple(tables), LIMITS, facts)


def _of(losses: RowLosses) -> tuple[Sequence[float], Sequence[int]]:
    return losses.validation, losses.validation_tokens


def _seen(losses: RowLosses) -> tuple[Sequence[float], Sequence[int]]:
    return losses.training, losses.training_tokens


def _mean(nats: Sequence[float], tokens: Sequence[int]) -> float | None:
    return sum(nats) / sum(tokens) if sum(tokens) else None


def _pairs(nats: Sequence[float], tokens: Sequence[int]) -> list[tuple[float, int]]:
    return list(zip(nats, tokens, strict=True))


def _rise(
    losses: Sequence[RowLosses], kept_step: int, **settings: Any
) -> tuple[tuple[str, str], Contrasts | None]:
    """Say whether the validation loss rose after its best."""
    rows = len(losses[0].validation)
    means = [_mean(*_of(x)) or 0.0 for x in losses]
    best = min(range(len(losses)), key=lambda i: means[i])
    low, last = losses[best], losses[-1]
    if len(losses) < 2:
        return (
            "too little to tell",
            f"There was one validation, at step {low.step} (loss {means[0]:.3f}); whether its loss "
            "rose again takes at least two. Lower train.eval_steps.",
        ), None
    if rows < MIN_ROWS:
        return (
            "too little to tell",
            f"Validation has {rows} rows; whether its loss rose takes at least {MIN_ROWS}.",
        ), None
    if low is last:
        return (
            "no sign",
            f"Validation loss was lowest, {means[best]:.3f}, at the last of {len(losses)} "
            f"validations (step {low.step}): training has not gone past its best. Longer training "
            "may lower it further.",
        ), None
    [found] = contrast(RowLoss(), _pairs(*_of(low)), _pairs(*_of(last)), **settings)
    assert found.difference is not None and found.low is not None and found.high is not None
    table = Contrasts(
        f"Validation loss: at step {low.step} and at the last, {last.step}",
        (found,),
        (f"step {low.step}", f"step {last.step}"),
    )
    course = (
        f"Validation loss fell to {means[best]:.3f} at step {low.step} and was {means[-1]:.3f} at "
        f"the last, {last.step}: {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}] "
        f"over {rows} rows"
    )
    if found.low > 0 and found.difference > RISE * means[best]:
        remedy = (
            f"The adapter kept is that of step {kept_step}, before the rise."
            if kept_step <= low.step
            else f"The adapter kept is that of step {kept_step}, not of the lowest loss."
        )
        return (
            "found",
            f"{course}. Training went past its best: fewer epochs, a lower learning rate or more "
            f"rows would help. {remedy}",
        ), table
    small = "which is no more than noise" if found.low <= 0 else f"less than {RISE:.0%} of it"
    return ("no sign", f"{course}, {small}."), table


def _gap(kept: RowLosses, **settings: Any) -> tuple[tuple[str, str], Contrasts | None]:
    """Say how much easier training rows are than validation rows, at the kept step."""
    fewest = min(len(kept.validation), len(kept.training))
    if fewest < MIN_ROWS:
        return (
            "too little to tell",
            f"The gap between training and validation loss is of {fewest} rows; it takes at least "
            f"{MIN_ROWS} of each.",
        ), None
    seen, unseen = _mean(*_seen(kept)) or 0.0, _mean(*_of(kept)) or 0.0
    gap = unseen - seen
    low, high = _apart(_pairs(*_seen(kept)), _pairs(*_of(kept)), **settings)
    found = Comparison(
        metric="loss",
        base=seen,
        tuned=unseen,
        difference=gap,
        low=low,
        high=high,
        n=fewest,
        signature=RowLoss.signature,
        confidence=settings["confidence"],
        lower_is_better=True,
    )
    table = Contrasts(
        f"Loss at step {kept.step}: of {len(kept.training)} training rows and of "
        f"{len(kept.validation)} validation rows",
        (found,),
        ("training rows", "validation rows"),
    )
    said = (
        f"At the kept step, {kept.step}, the loss is {seen:.3f} on rows that were trained on and "
        f"{unseen:.3f} on validation rows: a gap of {gap:+.3f} [{low:+.3f}, {high:+.3f}]"
    )
    if low > 0 and gap >= LEAST_GAP and unseen >= GAP * seen:
        return (
            "found",
            f"{said}. The model knows its training rows far better than others: it has learnt "
            "them by heart in part. More rows, a smaller rank or fewer steps would help.",
        ), table
    if low > 0:
        return ("no sign", f"{said}, which is usual: less than {GAP:g} times as high."), table
    return ("no sign", f"{said}, which may be chance."), table


def _apart(
    one: Sequence[tuple[float, int]],
    two: Sequence[tuple[float, int]],
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> tuple[float, float]:
    """Return the interval of the mean of `two` minus that of `one`, each drawn by itself."""
    means = []
    for number, rows in enumerate((one, two)):
        statistics = RowLoss().statistics(list(rows))
        # Seeds of their own: the two sets of rows have nothing to do with each other.
        block = max(1, _CELLS // len(rows))
        blocks = weights(len(rows), resamples, 2 * seed + number, block)
        sums = np.concatenate([draws @ statistics for draws in blocks])
        means.append(ratio(sums[:, 0], sums[:, 1]))
    ends = np.quantile(means[1] - means[0], [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(ends[0]), float(ends[1])
