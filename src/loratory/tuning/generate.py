"""Text from a model: greedy or beam decoding of many prompts, the same for base and tuned."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from loratory.methods.base import quiet
from loratory.tuning.batch import padded, sorted_batches
from loratory.tuning.encode import Encoder
from loratory.tuning.greedy import can_decode, greedy
from loratory.tuning.model import base_of
from loratory.tuning.vllm import Served

__all__ = ["Generated", "generate", "virtual_tokens"]


class Generated(NamedTuple):
    """One decoded answer."""

    row: int
    """Position of its prompt in the input."""
    text: str
    new_tokens: int
    """The end token included."""
    finished: bool
    """False when the length limit came before an end token."""


def virtual_tokens(model: Any) -> int:
    """Return how many trained vectors the adapter puts before every input: mostly none."""
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return 0
    return int(config.num_virtual_tokens)


def _of_one_length(batches: list[list[int]], lengths: Sequence[int]) -> list[list[int]]:
    """Split batches so that each holds rows of one length."""
    return [
        list(group)
        for batch in batches
        for _, group in itertools.groupby(batch, key=lambda i: lengths[i])
    ]


def generate(
    model: Any,
    encoder: Encoder,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    num_beams: int,
    no_repeat_ngram_size: int,
    batch_size: int,
    compiled: bool = False,
    served: Served | None = None,
) -> Iterator[Generated]:
    """Yield an answer for every prompt, batch by batch, in no particular order.

    Sampling and every other default that comes with a model are off: base and tuned are
    decoded by these settings alone. Where the same model is served by an engine, that answers,
    greedily.

    Args:
        model: base or tuned, in evaluation mode.
        encoder: of the prompts.
        prompts: none empty.
        max_new_tokens: an answer ends after so many.
        num_beams: 1 is greedy.
        no_repeat_ngram_size: no n-gram of this size comes twice; 0 forbids nothing.
        batch_size: rows answered together, at most.
        compiled: steps of own greedy decoding are compiled by `torch.compile`.
        served: an engine that has the model.
    """
    tokenizer, ends = encoder.tokenizer, frozenset(encoder.stop_ids)
    if served is not None:
        for row, ids in served.greedy(prompts, stops=ends, max_new_tokens=max_new_tokens):
            yield _answer(row, ids, ends, tokenizer)
        return
    vectors = virtual_tokens(model)
    left = encoder.spec.family == "causal"
    if left and num_beams == 1 and not vectors and can_decode(model):
        for row, ids in greedy(
            model,
            prompts,
            stops=ends,
            fill=tokenizer.pad_token_id,
            max_new_tokens=max_new_tokens,
            no_repeat_ngram_size=no_repeat_ngram_size,
            batch_size=batch_size,
            compiled=compiled,
        ):
            yield _answer(row, ids, ends, tokenizer)
        return
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        num_beams=num_beams,
        no_repeat_ngram_size=no_repeat_ngram_size or None,
        do_sample=False,
        eos_token_id=list(encoder.stop_ids),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        # Part of the model's vocabulary rather than of a decoding style.
        decoder_start_token_id=_start(model),
        forced_bos_token_id=getattr(model.generation_config, "forced_bos_token_id", None),
    )
    # A model's own settings would fill in whatever is None above. A peft model hands on the
    # asking, but not the telling: those of the model inside would stay.
    inner = base_of(model)
    inner.generation_config = model.generation_config = config
    lengths = [len(prompt) for prompt in prompts]
    batches = sorted_batches(lengths, batch_size)
    if vectors and left:
        # Padding would stand between the vectors and the prompt, and peft drops the positions
        # that would tell.
        batches = _of_one_length(batches, lengths)
    for batch in batches:
        rows = [prompts[i] for i in batch]
        # A decoder continues its prompt, so all prompts must end in the last column.
        padding = padded(rows, tokenizer.pad_token_id, left=left)
        inputs, mask = (x.to(model.device) for x in padding)
        with torch.inference_mode(), quiet():
            out = model.generate(input_ids=inputs, attention_mask=mask, generation_config=config)
        skip = inputs.shape[1] if left else 1
        for i, ids in zip(batch, out[:, skip:].tolist(), strict=True):
            yield _answer(i, ids, ends, tokenizer)


def _answer(row: int, ids: list[int], ends: Collection[int], tokenizer: Any) -> Generated:
    stop = next((place for place, token in enumerate(ids) if token in ends), None)
    said = ids if stop is None else ids[:stop]
    text = tokenizer.decode(said, skip_special_tokens=True).strip()
    return Generated(row, text, len(said) + (stop is not None), stop is not None)


def _start(model: Any) -> int | None:
    own = getattr(model.generation_config, "decoder_start_token_id", None)
    return own if own is not None else getattr(model.config, "decoder_start_token_id", None)
