"""A model's judgement of a probe's items: how likely it finds each option after its context."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loratory.errors import ModelError
from loratory.progress import Progress
from loratory.records import Judgement
from loratory.tasks.probes.base import Item
from loratory.tuning.generate import virtual_tokens
from loratory.tuning.likelihood import Found, Query, loglikelihoods
from loratory.tuning.model import Resolved
from loratory.tuning.question import questions_of

__all__ = ["judge"]

LONGEST = 4096
"""Tokens of a context with its option, where the model does not say what it can take."""


def judge(
    model: Any,
    spec: Resolved,
    items: Sequence[Item],
    *,
    batch_size: int,
    max_tokens: int,
    progress: Progress,
    title: str,
) -> list[Judgement]:
    """Return one judgement for every item, in order.

    Args:
        model: decoder-only or encoder-decoder, with or without an adapter; put into evaluation
            mode.
        spec: the base model.
        items: what is asked.
        batch_size: contexts or texts in one forward pass, at most.
        max_tokens: plain texts are cut to so many tokens. A context that is too long for the
            model loses its beginning.
        progress: hears of every batch.
        title: what is judged, for the progress display.

    Raises:
        ModelError: the model has a classification head, an option is longer than the model can
            take, or a likelihood is not a number.
    """
    if spec.family == "classifier":
        raise ModelError(
            f"{spec.name}: a model with a classification head gives no likelihood of texts, so "
            "probes cannot be judged."
        )
    model.eval()
    progress.begin(title, len(items))
    limit = (spec.positions or LONGEST) - virtual_tokens(model)
    questions = [
        question
        for i, item in enumerate(items)
        for question in questions_of(spec, item, i, max_tokens, limit)
    ]
    found: list[dict[int, Found]] = [{} for _ in items]
    asked = [Query(question.context, question.options) for question in questions]
    for i, options in loglikelihoods(model, spec, asked, batch_size):
        question = questions[i]
        known = found[question.item]
        known |= dict(zip(question.places, options, strict=True))
        progress.advance(int(len(known) == len(items[question.item].options)))
    sizes: list[dict[int, tuple[int, int]]] = [{} for _ in items]
    for q in questions:
        for place, ids, size in zip(q.places, q.options, q.characters, strict=True):
            sizes[q.item][place] = len(ids), size
    return [_judgement(spec, item, found[i], sizes[i]) for i, item in enumerate(items)]


def _judgement(
    spec: Resolved, item: Item, found: dict[int, Found], sizes: dict[int, tuple[int, int]]
) -> Judgement:
    places = range(len(item.options))
    if not all(math.isfinite(found[place].loglikelihood) for place in places):
        raise ModelError(
            f"{item.id}: {spec.name} gives a likelihood that is not a number. Its weights or its "
            "training are broken, or model.dtype is too coarse for it: try float32."
        )
    return Judgement(
        id=item.id,
        loglikelihoods=tuple(found[place].loglikelihood for place in places),
        tokens=tuple(sizes[place][0] for place in places),
        characters=tuple(sizes[place][1] for place in places),
        gold=item.gold,
        greedy=found[0].greedy if item.greedy else None,
        group=item.group,
    )
