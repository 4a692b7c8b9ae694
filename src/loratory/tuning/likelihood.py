"""How likely a model finds given answers: log p(answer | prompt), summed over its tokens.

Classification by label words rests on this. The prompt is run once and its key-value cache
shared by all answers, so K labels cost little more than one. A model with trained vectors before
the prompt would put them there at every call; it is run on prompt and answer whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from loratory.methods.base import quiet
from loratory.tuning.encode import IGNORE, Encoded, Encoder, collate, pad
from loratory.tuning.generate import sorted_batches, virtual_tokens
from loratory.tuning.loss import head_on, whole_head

__all__ = ["Likelihoods", "loglikelihoods"]


class Likelihoods(NamedTuple):
    """The answers' log-likelihoods after one prompt."""

    row: int
    """Position of the prompt in the input."""
    values: list[float]
    """One an answer, in nats, the end token included."""


def loglikelihoods(
    model: Any,
    encoder: Encoder,
    prompts: Sequence[list[int]],
    answers: Sequence[list[list[int]]],
    batch_size: int,
) -> Iterator[Likelihoods]:
    """Yield the log-likelihood of every answer after its prompt.

    Args:
        model: a decoder-only or encoder-decoder model.
        encoder: what encoded prompts and answers.
        prompts: N encoded prompts.
        answers: for each prompt, K encoded answers (the same K throughout).
        batch_size: prompts in one forward pass.
    """
    score = _seq2seq if encoder.spec.family == "seq2seq" else _causal
    if virtual_tokens(model):
        score = _whole
    for batch in sorted_batches([len(prompt) for prompt in prompts], batch_size):
        with torch.inference_mode(), whole_head(model):
            columns = score(
                model, encoder, [prompts[i] for i in batch], [answers[i] for i in batch]
            )
        for row, i in enumerate(batch):
            yield Likelihoods(i, [float(column[row]) for column in columns])


def _causal(
    model: Any, encoder: Encoder, prompts: list[list[int]], answers: list[list[list[int]]]
) -> list[torch.Tensor]:
    fill = encoder.tokenizer.pad_token_id
    inputs = pad(prompts, fill, left=True).to(model.device)
    mask = pad([[1] * len(prompt) for prompt in prompts], 0, left=True).to(model.device)
    # Padding on the left shifts the places: each prompt's positions start at its own 0.
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    first = model(
        input_ids=inputs, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1
    )
    columns = []
    for k in range(len(answers[0])):
        choice = [row[k] for row in answers]
        targets = pad(choice, IGNORE).to(model.device)  # (B, A)
        logits = first.logits[:, -1:]  # (B, 1, V)
        steps = targets.shape[1] - 1
        if steps:
            spoken = pad([row[:-1] for row in choice], fill).to(model.device)[:, :steps]
            seen = (targets[:, :steps] != IGNORE).long()
            after = model(
                input_ids=spoken,
                attention_mask=torch.cat([mask, seen], dim=1),
                position_ids=places[:, -1:] + 1 + torch.arange(steps, device=model.device),
                # A copy, because running on extends it; not every kind of cache can be cut back.
                past_key_values=copy.deepcopy(first.past_key_values),
                use_cache=True,
            )
            logits = torch.cat([logits, after.logits], dim=1)
        columns.append(_log_probability(logits, targets))
    return columns


def _seq2seq(
    model: Any, encoder: Encoder, prompts: list[list[int]], answers: list[list[list[int]]]
) -> list[torch.Tensor]:
    inputs = pad(prompts, encoder.tokenizer.pad_token_id).to(model.device)
    mask = pad([[1] * len(prompt) for prompt in prompts], 0).to(model.device)
    encoded = model.get_encoder()(input_ids=inputs, attention_mask=mask)
    columns = []
    for k in range(len(answers[0])):
        targets = pad([row[k] for row in answers], IGNORE).to(model.device)
        logits = model(
            encoder_outputs=encoded,
            attention_mask=mask,
            decoder_input_ids=model.prepare_decoder_input_ids_from_labels(targets),
        ).logits
        columns.append(_log_probability(logits, targets))
    return columns


def _whole(
    model: Any, encoder: Encoder, prompts: list[list[int]], answers: list[list[list[int]]]
) -> list[torch.Tensor]:
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    batcher = collate(encoder.spec, shift)
    columns = []
    for k in range(len(answers[0])):
        pairs = zip(prompts, (row[k] for row in answers), strict=True)
        batch = batcher([Encoded("", prompt, answer, None, 0, 0) for prompt, answer in pairs])
        batch.pop("shift_labels", None)
        targets = batch.pop("labels").to(model.device)
        inputs = {key: value.to(model.device) for key, value in batch.items()}
        keep = targets != IGNORE
        with quiet():
            if encoder.spec.family == "seq2seq":
                logits = model(**inputs).logits[keep]  # (N, V)
            else:
                with head_on(model.get_output_embeddings(), keep):
                    logits = model(**inputs, use_cache=False).logits[0]
        lost = functional.cross_entropy(logits.float(), targets[keep], reduction="none")
        total = torch.zeros(len(prompts), device=model.device)
        columns.append(-total.index_add_(0, keep.nonzero()[:, 0], lost))
    return columns


def _log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum log p over the targets: (B, A, V) and (B, A) to (B,)."""
    negative = functional.cross_entropy(
        logits.float().transpose(1, 2), targets, ignore_index=IGNORE, reduction="none"
    )
    return -negative.sum(dim=1)
