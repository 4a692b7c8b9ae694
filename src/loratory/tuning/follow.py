"""What gives the logits after prompts, and after what follows them: a model, or its layers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from loratory.tuning.fused.attention import product_attention
from loratory.tuning.fused.layers import Layers
from loratory.tuning.fused.rows import Rows
from loratory.tuning.loss import whole_head
from loratory.tuning.model import base_of
from loratory.tuning.reading import READ, Room, read

__all__ = ["ByLayers", "ByModel"]


class ByLayers:
    """Reads and follows prompts by layers laid out for it, several tokens of a row at a time.

    Args:
        layers: of the model.
    """

    drafts = True
    parts = 2
    """Groups of rows at once: one may leave and another be read while the other goes on."""
    tokens = READ

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def ready(self) -> AbstractContextManager[None]:
        """Return the context in which it reads and follows."""
        return nullcontext()

    def read(self, prompts: Sequence[list[int]], room: int) -> tuple[Tensor, Rows]:
        """Return the logits after each prompt, (B, V), and the rows; so many tokens may follow."""
        return self._layers.read(prompts, room)

    def follow(self, groups: Sequence[Rows], asked: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """Return the logits after each token that is asked of rows that go on, in order, (N, V)."""
        return self._layers.follow(groups, asked)

    def kept(self, rows: Rows, many: Sequence[int]) -> None:
        """Let so many of the tokens that were asked hold, of each row."""
        rows.lengths = rows.lengths + torch.tensor(many)


class _Batch:
    """Rows that a model goes on with."""

    def __init__(self, cache: DynamicCache, mask: Tensor, places: Tensor) -> None:
        self.cache, self.mask, self.places = cache, mask, places

    def select(self, rows: Sequence[int]) -> None:
        """Keep some rows only."""
        chosen = torch.tensor(rows, device=self.mask.device)
        self.cache.batch_select_indices(chosen)
        self.places, self.mask = self.places[chosen], self.mask[chosen]


class ByModel:
    """Reads prompts by a model itself and follows them, one token of each row at a time.

    Args:
        model: a decoder.
        fill: the token that pads, and that ended rows are given.
        packs: the model computes the same of packed rows.
    """

    drafts = False
    parts = 1
    tokens = sys.maxsize  # it reads them in parts itself

    def __init__(self, model: Any, fill: int, *, packs: bool) -> None:
        self._model, self._fill, self._packs = model, fill, packs

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Return the context in which it reads and follows."""
        with whole_head(self._model), product_attention(self._model):
            yield

    def read(self, prompts: Sequence[list[int]], room: int) -> tuple[Tensor, _Batch]:
        """Return the logits after each prompt, (B, V), and the rows; so many tokens may follow."""
        width = len(prompts[0])
        logits, held = read(self._model, prompts, self._fill, width + room, self._packs)
        cache = DynamicCache(config=base_of(self._model).config)
        cache.layers = [Room(keys, values, width) for keys, values in held]
        lengths = torch.tensor(list(map(len, prompts)), device=logits.device)[:, None]
        mask = torch.arange(width, device=logits.device) >= width - lengths
        return logits, _Batch(cache, mask.long(), lengths - 1)

    def follow(self, groups: Sequence[_Batch], asked: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """Return the logits after each token that is asked of rows that go on, in order, (N, V)."""
        found = [self._after(*each) for each in zip(groups, asked, strict=True)]
        return torch.cat(found)

    def _after(self, rows: _Batch, asked: Sequence[Sequence[int]]) -> Tensor:
        ids = torch.tensor([row or [self._fill] for row in asked], device=rows.mask.device)
        rows.mask = torch.cat([rows.mask, torch.ones_like(ids)], dim=1)
        rows.places = rows.places + 1
        found: Tensor = self._model(
            input_ids=ids,
            attention_mask=rows.mask,
            position_ids=rows.places,
            past_key_values=rows.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        going = torch.tensor([bool(row) for row in asked], device=found.device)
        return found if bool(going.all()) else found[going]

    def kept(self, rows: _Batch, many: Sequence[int]) -> None:
        """Let the tokens hold: all do."""
