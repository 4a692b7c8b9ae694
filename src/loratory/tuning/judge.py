"""A model's judgement of a probe's items: how likely it finds each option after its context.

The context of several options is run once and its key-value cache repeated for them. The output
head sees the places of options only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from loratory.errors import ModelError
from loratory.methods.base import quiet
from loratory.progress import Progress
from loratory.records import Judgement
from loratory.tasks.probes.base import Item
from loratory.tuning.encode import IGNORE, Encoded, collate, pad
from loratory.tuning.generate import sorted_batches, virtual_tokens
from loratory.tuning.loss import head_on, whole_head
from loratory.tuning.model import Resolved
from loratory.tuning.question import Question, questions_of, split

__all__ = ["judge"]

TARGETS = 1024
"""Judged tokens of a batch, at most, unless one question has more: their logits, a vocabulary
wide, are the largest tensor."""
LONGEST = 4096
"""Tokens of a context with its option, where the model does not say what it can take."""


class _Found(NamedTuple):
    nats: float
    greedy: bool


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
    # Trained vectors stand before every input, so nothing can be run apart from them.
    several = [q for q in questions if len(q.options) > 1 and not virtual_tokens(model)]
    single = split([q for q in questions if len(q.options) == 1 or virtual_tokens(model)])
    found: list[dict[int, _Found]] = [{} for _ in items]
    for asked, answer in ((single, _whole), (several, _shared(spec))):
        for batch in _batches(asked, batch_size):
            with torch.inference_mode(), quiet(), whole_head(model):
                answers = answer(model, spec, batch)
            for question, values in zip(batch, answers, strict=True):
                known = found[question.item]
                known |= dict(zip(question.places, values, strict=True))
                progress.advance(int(len(known) == len(items[question.item].options)))
    sizes: list[dict[int, tuple[int, int]]] = [{} for _ in items]
    for q in questions:
        for place, ids, size in zip(q.places, q.options, q.characters, strict=True):
            sizes[q.item][place] = len(ids), size
    return [_judgement(spec, item, found[i], sizes[i]) for i, item in enumerate(items)]


def _judgement(
    spec: Resolved, item: Item, found: dict[int, _Found], sizes: dict[int, tuple[int, int]]
) -> Judgement:
    places = range(len(item.options))
    if not all(math.isfinite(found[place].nats) for place in places):
        raise ModelError(
            f"{item.id}: {spec.name} gives a likelihood that is not a number. Its weights or its "
            "training are broken, or model.dtype is too coarse for it: try float32."
        )
    return Judgement(
        id=item.id,
        loglikelihoods=tuple(found[place].nats for place in places),
        tokens=tuple(sizes[place][0] for place in places),
        characters=tuple(sizes[place][1] for place in places),
        gold=item.gold,
        greedy=found[0].greedy if item.greedy else None,
        group=item.group,
    )


def _batches(questions: Sequence[Question], size: int) -> Iterator[list[Question]]:
    """Yield batches of like length, the longest first, none with too many targets."""
    for batch in sorted_batches([question.length for question in questions], size):
        part: list[Question] = []
        for i in batch:
            widest = max(question.targets for question in [*part, questions[i]])
            if part and widest * (len(part) + 1) > TARGETS:
                yield part
                part = []
            part.append(questions[i])
        yield part


def _whole(model: Any, spec: Resolved, batch: Sequence[Question]) -> list[list[_Found]]:
    """Judge questions of one option, each run on context and option as one."""
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    rows = [Encoded("", question.context, question.options[0], None, 0, 0) for question in batch]
    inputs = collate(spec, shift)(rows)
    inputs.pop("shift_labels", None)
    targets = inputs.pop("labels").to(model.device)  # (B, T)
    inputs = {key: value.to(model.device) for key, value in inputs.items()}
    keep = targets != IGNORE
    if spec.family == "seq2seq":
        logits = model(**inputs).logits[keep]  # (N, V)
    else:
        with head_on(model.get_output_embeddings(), keep):
            logits = model(**inputs, use_cache=False).logits[0]
    return [[found] for found in _by_row(logits, targets[keep], keep.nonzero()[:, 0], len(batch))]


def _by_row(
    logits: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor, n: int
) -> list[_Found]:
    """Sum log p over each row's targets.

    Args:
        logits: shape (N, V).
        targets: shape (N,).
        rows: the row of each target, shape (N,).
        n: number of rows.
    """
    lost = functional.cross_entropy(logits.float(), targets, reduction="none").double()
    missed = (logits.argmax(dim=-1) != targets).double()
    sums = torch.zeros(2, n, dtype=torch.float64, device=logits.device)
    sums.index_add_(1, rows, torch.stack([lost, missed]))
    return [_Found(-nats, wrong == 0) for nats, wrong in sums.T.tolist()]


Answer = Callable[[Any, Resolved, Sequence[Question]], list[list[_Found]]]


def _shared(spec: Resolved) -> Answer:
    return _shared_seq2seq if spec.family == "seq2seq" else _shared_causal


def _shared_causal(model: Any, spec: Resolved, batch: Sequence[Question]) -> list[list[_Found]]:
    """Run each context once, and all its options from the repeated cache."""
    fill = spec.tokenizer.pad_token_id
    contexts = [question.context for question in batch]
    inputs = pad(contexts, fill, left=True).to(model.device)  # (B, C)
    mask = pad([[1] * len(context) for context in contexts], 0, left=True).to(model.device)
    # Padding on the left shifts the places: each context's positions start at its own 0.
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    first = model(
        input_ids=inputs, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1
    )
    cache = first.past_key_values
    if not hasattr(cache, "batch_select_indices"):  # a cache of the model's own kind, or none
        singles = split(batch)
        return _by_question(batch, [found for (found,) in _whole(model, spec, singles)])
    options = [ids for question in batch for ids in question.options]
    owner = _owners(batch).to(model.device)  # (K,) the question of each option
    targets = pad(options, IGNORE).to(model.device)  # (K, A)
    keep = targets != IGNORE
    rows = keep.nonzero()[:, 0]
    logits = first.logits[:, -1][owner]  # (K, V), of each option's first token
    found = _by_row(
        logits, targets[:, 0], torch.arange(len(options), device=owner.device), len(options)
    )
    steps = targets.shape[1] - 1
    if steps:
        cache.batch_select_indices(owner)
        seen = keep[:, 1:]
        rows = seen.nonzero()[:, 0]
        with head_on(model.get_output_embeddings(), seen):
            logits = model(
                input_ids=pad([ids[:-1] or [fill] for ids in options], fill).to(model.device),
                attention_mask=torch.cat([mask[owner], seen.long()], dim=1),
                position_ids=places[owner][:, -1:] + 1 + torch.arange(steps, device=model.device),
                past_key_values=cache,
                use_cache=True,
            ).logits[0]  # (N, V)
        rest = _by_row(logits, targets[:, 1:][seen], rows, len(options))
        found = [
            _Found(one.nats + two.nats, one.greedy and two.greedy)
            for one, two in zip(found, rest, strict=True)
        ]
    return _by_question(batch, found)


def _shared_seq2seq(model: Any, spec: Resolved, batch: Sequence[Question]) -> list[list[_Found]]:
    """Encode each context once, and decode all its options from it."""
    contexts = [question.context for question in batch]
    inputs = pad(contexts, spec.tokenizer.pad_token_id).to(model.device)
    mask = pad([[1] * len(context) for context in contexts], 0).to(model.device)
    encoded = model.get_encoder()(input_ids=inputs, attention_mask=mask)
    owner = _owners(batch).to(model.device)
    encoded.last_hidden_state = encoded.last_hidden_state[owner]
    options = [ids for question in batch for ids in question.options]
    targets = pad(options, IGNORE).to(model.device)
    keep = targets != IGNORE
    logits = model(
        encoder_outputs=encoded,
        attention_mask=mask[owner],
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(targets),
    ).logits[keep]
    found = _by_row(logits, targets[keep], keep.nonzero()[:, 0], len(options))
    return _by_question(batch, found)


def _owners(batch: Sequence[Question]) -> torch.Tensor:
    counts = torch.tensor([len(question.options) for question in batch])
    return torch.arange(len(batch)).repeat_interleave(counts)


def _by_question(batch: Sequence[Question], found: Sequence[_Found]) -> list[list[_Found]]:
    values = iter(found)
    return [[next(values) for _ in question.options] for question in batch]
