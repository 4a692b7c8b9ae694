"""Prompts read before they are answered: packed where that pays, into room for what will follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from loratory.tuning.batch import padded, sorted_batches
from loratory.tuning.loss import head_on
from loratory.tuning.model import base_of
from loratory.tuning.packing import pack

__all__ = ["READ", "Room", "read"]

READ = 4096
"""Tokens of prompts that are read at once."""


class Room(DynamicLayer):  # type: ignore[misc,unused-ignore]
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


def read(
    model: Any, prompts: Sequence[list[int]], fill: int, most: int, packs: bool
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Return the logits after each prompt, (B, V), and each layer's keys and values.

    These are (B, H, most, D). The prompts end together, where the longest does; all else is zero.

    Prompts that stand beside each other are read together, as many as make `READ` tokens.

    Args:
        model: a decoder.
        prompts: the longest first.
        fill: the token that pads.
        most: tokens that a row will have.
        packs: the model computes the same of packed rows.
    """
    width = len(prompts[0])
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
                room[here, :, :before] = room[here, :, width:] = 0  # what is masked is multiplied
                # Heads, tokens of all rows: from which each row takes its own.
                flat = states.transpose(0, 1).flatten(1, 2)
                found = flat.index_select(1, places.flatten())
                room[here, :, before:width] = found.unflatten(1, places.shape).transpose(0, 1)
    return torch.cat(logits), whole


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


def _parts(prompts: Sequence[list[int]]) -> list[list[list[int]]]:
    """Return prompts, the longest first, in parts of `READ` tokens with padding, or of one."""
    lengths = list(map(len, prompts))
    return [[prompts[i] for i in part] for part in sorted_batches(lengths, len(prompts), READ)]
