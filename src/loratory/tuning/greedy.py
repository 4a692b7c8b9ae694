"""Greedy decoding of many prompts at once: what has ended leaves the batch.

It gives what transformers' `generate` gives without sampling and with one beam. What differs is the
price: keys and values go into room made beforehand instead of being copied at every token, the head
is one product for the whole batch, and a batch shrinks as its answers end.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, NoRepeatNGramLogitsProcessor
from transformers.cache_utils import DynamicLayer

from loratory.methods.base import quiet
from loratory.tuning.batch import padded, sorted_batches
from loratory.tuning.fused import can_pack
from loratory.tuning.fused.attention import product_attention
from loratory.tuning.loss import head_on, whole_head
from loratory.tuning.model import base_of
from loratory.tuning.packing import pack
from loratory.tuning.pages import kept_pages

__all__ = ["can_decode", "greedy", "most_rows"]

READ = 4096
"""Tokens of prompts that are read at once."""
CACHE_BYTES = 2**31
"""Keys and values that are held at once."""
SHRINK = 0.25
"""Share of a batch that has ended before the rest is moved together."""


class _Room(DynamicLayer):  # type: ignore[misc,unused-ignore]
    """Keys and values of one layer, within tensors that are longer than they are.

    Args:
        keys: (B, H, most, D), of which the prompts are the first.
        values: as `keys`.
        length: of the prompts.
    """

    def __init__(self, keys: Tensor, values: Tensor, length: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self._room: tuple[Tensor, ...] = (keys, values)
        self.keys, self.values = (room[..., :length, :] for room in self._room)

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[..., start:stop, :] = states
        self.keys, self.values = (room[..., :stop, :] for room in self._room)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        length = self.get_seq_length()
        self._room = tuple(room[indices] for room in self._room)
        self.keys, self.values = (room[..., :length, :] for room in self._room)


def can_decode(model: Any) -> bool:
    """Return whether a decoder tells positions by number and keeps plain keys and values."""
    inner = base_of(model)
    if "position_ids" not in inspect.signature(inner.forward).parameters:
        return False
    try:
        layers = DynamicCache(config=inner.config).layers
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def greedy(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    stops: Collection[int],
    fill: int,
    max_new_tokens: int,
    no_repeat_ngram_size: int = 0,
    batch_size: int,
) -> Iterator[tuple[int, list[int]]]:
    """Yield the place of a prompt and the tokens that follow it, the one that ends it included.

    Args:
        model: a decoder that `can_decode`, with or without an adapter, in evaluation mode.
        prompts: none empty.
        stops: tokens that end an answer.
        fill: the token that pads.
        max_new_tokens: an answer ends after so many.
        no_repeat_ngram_size: no n-gram of this size comes twice; 0 forbids nothing.
        batch_size: prompts answered together, at most; fewer where their keys and values would
            take more than `CACHE_BYTES`.
    """
    lengths = [len(prompt) for prompt in prompts]
    most = most_rows(model, max(lengths, default=0) + max_new_tokens)
    with kept_pages():
        packs = can_pack(model)
        for batch in sorted_batches(lengths, min(batch_size, most)):
            rows = [prompts[i] for i in batch]
            with torch.inference_mode(), quiet(), whole_head(model), product_attention(model):
                said = _said(model, rows, stops, fill, max_new_tokens, no_repeat_ngram_size, packs)
            yield from zip(batch, said, strict=True)


def most_rows(model: Any, tokens: int) -> int:
    """Return how many rows of so many tokens may be decoded at once; at least one.

    Args:
        model: a decoder that `can_decode`.
        tokens: of the longest prompt and answer.
    """
    config = base_of(model).config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    a_token: int = 2 * config.num_hidden_layers * heads * width * base_of(model).dtype.itemsize
    return max(CACHE_BYTES // (a_token * tokens), 1)


def _said(
    model: Any,
    prompts: Sequence[list[int]],
    stops: Collection[int],
    fill: int,
    most: int,
    ngram: int,
    packs: bool,
) -> list[list[int]]:
    device = model.device
    forbid = NoRepeatNGramLogitsProcessor(ngram) if ngram else None
    ends = torch.tensor(sorted(stops), device=device)
    said: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # the prompt of each row of the batch
    ids, mask = (x.to(device) for x in padded(prompts, fill, left=True))  # (B, T)
    places = mask.sum(-1, keepdim=True) - 1  # of the last token
    logits, cache = _read(model, prompts, fill, ids.shape[1] + most, packs)
    for step in range(most):
        scores = logits if forbid is None else forbid(ids, logits.float())
        chosen = scores.max(dim=-1).indices  # (B,); argmax takes five times as long
        over = torch.isin(chosen, ends)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if not said[row] or said[row][-1] not in stops:
                said[row].append(token)
        ended = [said[row][-1] in stops for row in rows]
        if all(ended) or step + 1 == most:
            break
        asked = chosen.masked_fill(over, fill)[:, None]
        ids = torch.cat([ids, asked], dim=1) if forbid is not None else ids
        mask, places = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1), places + 1
        if sum(ended) >= SHRINK * len(rows):
            kept = [i for i, done in enumerate(ended) if not done]
            going = torch.tensor(kept, device=device)
            cache.batch_select_indices(going)
            ids, mask, asked, places = (x[going] for x in (ids, mask, asked, places))
            rows = [rows[i] for i in kept]
        logits = model(
            input_ids=asked,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
    return said


def _read(
    model: Any, prompts: Sequence[list[int]], fill: int, most: int, packs: bool
) -> tuple[Tensor, DynamicCache]:
    """Return the logits after each prompt, shape (B, V), and all keys and values, ending together.

    Prompts that stand beside each other are read together, as many as make `READ` tokens.

    Args:
        model: a decoder.
        prompts: the longest first.
        fill: the token that pads.
        most: tokens that a row will have.
        packs: the model computes the same of packed rows.
    """
    config, width = base_of(model).config, len(prompts[0])
    logits: list[Tensor] = []
    whole: list[tuple[Tensor, Tensor]] = []
    for rows in _parts(prompts):
        here = slice(sum(map(len, logits)), sum(map(len, logits)) + len(rows))
        last, cache, places = _read_part(model, rows, fill, packs)
        logits.append(last)
        before = width - places.shape[1]
        for number, layer in enumerate(cache.layers):
            if len(whole) == number:
                shape = (len(prompts), layer.keys.shape[1], most, layer.keys.shape[3])
                whole.append((layer.keys.new_empty(shape), layer.values.new_empty(shape)))
            for room, states in zip(whole[number], (layer.keys, layer.values), strict=True):
                room[here, :, :before] = 0  # what is masked is still multiplied
                # Heads, tokens of all rows: from which each row takes its own.
                flat = states.transpose(0, 1).flatten(1, 2)
                found = flat.index_select(1, places.flatten())
                room[here, :, before:width] = found.unflatten(1, places.shape).transpose(0, 1)
    cache = DynamicCache(config=config)
    cache.layers = [_Room(keys, values, width) for keys, values in whole]
    return torch.cat(logits), cache


def _read_part(
    model: Any, rows: Sequence[list[int]], fill: int, packs: bool
) -> tuple[Tensor, DynamicCache, Tensor]:
    """Return the logits after each prompt, keys and values, and where each row's tokens are there.

    The places, (B, T), are those of the tokens of all rows, the last of each row in the last
    column; what stands before a row's first is to be masked.
    """
    cache = DynamicCache(config=base_of(model).config)
    if packs:
        ids, mask = (x.to(model.device) for x in padded(rows, fill))
        place = torch.arange(ids.shape[1], device=ids.device)
        lengths = mask.sum(-1, keepdim=True)  # (B, 1)
        packed = pack(ids, place == lengths - 1)
        if packed is not None:
            inputs, seen = packed
            with head_on(model.get_output_embeddings(), seen):
                last = model(**inputs, past_key_values=cache, use_cache=True).logits[0]
            # The layout has each row's places from the left; here they end together.
            column = (place - (ids.shape[1] - lengths)).clamp(min=0)
            return last, cache, inputs["packed"].places.gather(1, column)
    ids, mask = (x.to(model.device) for x in padded(rows, fill, left=True))
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    places = torch.arange(ids.numel(), device=ids.device).view(ids.shape)
    return out.logits[:, -1], cache, places


def _parts(prompts: Sequence[list[int]]) -> Iterator[Sequence[list[int]]]:
    """Yield prompts, the longest first, in parts of `READ` tokens with padding, or of one."""
    start = 0
    while start < len(prompts):
        many = max(READ // len(prompts[start]), 1)
        yield prompts[start : start + many]
        start += many
