"""Prompts followed at few shapes, so that a step is compiled once, and on a GPU recorded.

A step of one token a row is so short on a GPU that launching its kernels takes longer than they do.
`torch.compile` records them once for each shape and launches them together (CUDA graphs). So rows
have room for a multiple of 64 tokens, all of which is attended to and what is not there yet masked;
and there are 1, 2, 4, 8, ... of them, filled up with rows nobody asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, StaticLayer

from loratory.config import DecodeConfig
from loratory.errors import ConfigError
from loratory.tuning.fused import compiled
from loratory.tuning.model import base_of
from loratory.tuning.reading import read

__all__ = ["ByGraph", "check_graphs"]

ROOM = 64
"""Tokens that rows have room for, or a multiple of it."""


def check_graphs(decode: DecodeConfig, kind: str, family: str) -> None:
    """Refuse to compile what is not decoded greedily here.

    Args:
        decode: the recipe's section.
        kind: of the task.
        family: of the model.

    Raises:
        ConfigError: `decode.torch_compile` is on, and would do nothing.
    """
    for wrong, why in (
        (kind != "generation" or family != "causal", "texts that decoder-only models write"),
        (decode.num_beams != 1, "greedy decoding: decode.num_beams must be 1"),
        (decode.engine != "loratory", "Loratory's own decoding: vLLM does so by itself"),
    ):
        if decode.torch_compile and wrong:
            raise ConfigError(
                f"decode.torch_compile: it is for {why}. Change that, or set it to false."
            )


class _Rows:
    """Rows that are followed: as many as are asked for, and some beside.

    Args:
        held: each layer's keys and values, (B, H, L, D).
        mask: what is added to the scores of the L places, (B, 1, 1, L).
        places: the position of each row's last token, (B, 1).
        length: places that are taken, of L.
    """

    def __init__(
        self, held: Sequence[tuple[Tensor, Tensor]], mask: Tensor, places: Tensor, length: int
    ) -> None:
        self.mask, self.places, self.length = mask, places, length
        self.cache = Cache(layers=[_layer(*each, length) for each in held])
        self.select(range(len(mask)))

    def select(self, rows: Sequence[int]) -> None:
        """Keep some rows only, and fill up with others."""
        size = 1 << (len(rows) - 1).bit_length()
        chosen = torch.tensor([*rows, *[rows[0]] * (size - len(rows))], device=self.mask.device)
        if size == len(self.mask):  # what was recorded reads these very tensors
            for layer in self.cache.layers:
                layer.keys.copy_(layer.keys[chosen])
                layer.values.copy_(layer.values[chosen])
        else:
            pairs = [(layer.keys[chosen], layer.values[chosen]) for layer in self.cache.layers]
            self.cache = Cache(layers=[_layer(*pair, self.length) for pair in pairs])
        self.mask, self.places = self.mask[chosen], self.places[chosen]


class ByGraph:
    """Reads prompts by a model itself and follows them by its compiled step.

    Args:
        model: a decoder.
        fill: the token that pads, and that ended rows are given.
    """

    drafts = False
    parts = 1
    tokens = sys.maxsize

    def __init__(self, model: Any, fill: int) -> None:
        self._model, self._fill = model, fill

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Return the context in which it reads and follows."""
        # What is written to within a recorded step must not be an inference tensor.
        with torch.inference_mode(False), torch.no_grad():
            yield

    def read(self, prompts: Sequence[list[int]], room: int) -> tuple[Tensor, _Rows]:
        """Return the logits after each prompt, (B, V), and the rows; so many tokens may follow."""
        width = len(prompts[0])
        whole = -(-(width + room) // ROOM) * ROOM
        logits, held = read(self._model, prompts, self._fill, whole, packs=False)
        lengths = torch.tensor(list(map(len, prompts)), device=logits.device)[:, None]
        place = torch.arange(whole, device=logits.device)
        seen = (place >= width - lengths) & (place < width)
        dtype = held[0][0].dtype
        mask = torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)[:, None, None]
        return logits, _Rows(held, mask, lengths - 1, width)

    def follow(self, groups: Sequence[_Rows], asked: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """Return the logits after each token that is asked of rows that go on, in order, (N, V)."""
        return torch.cat([self._after(*each) for each in zip(groups, asked, strict=True)])

    def _after(self, rows: _Rows, asked: Sequence[Sequence[int]]) -> Tensor:
        beside = [[self._fill]] * (len(rows.mask) - len(asked))
        tokens = [list(row) or [self._fill] for row in asked]
        ids = torch.tensor([*tokens, *beside], device=rows.mask.device)
        rows.places = rows.places + 1
        rows.mask[..., rows.length] = 0
        rows.length += 1
        step = _compiled(compiled.BACKEND, ids.device.type)
        found = step(base_of(self._model), ids, rows.mask, rows.places, rows.cache)
        going = torch.tensor([bool(row) for row in asked] + [False] * len(beside))
        return found[going.to(found.device)]

    def kept(self, rows: _Rows, many: Sequence[int]) -> None:
        """Let the tokens hold: all do."""


def _layer(keys: Tensor, values: Tensor, length: int) -> StaticLayer:
    layer = StaticLayer(keys.shape[2])
    layer.lazy_initialization(keys, values)
    layer.keys.copy_(keys)
    layer.values.copy_(values)
    layer.cumulative_length.fill_(length)
    return layer


def _step(model: Any, ids: Tensor, mask: Tensor, places: Tensor, cache: Cache) -> Tensor:
    found: Tensor = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=places,
        past_key_values=cache,
        use_cache=True,
    ).logits[:, -1]
    return found


@lru_cache(maxsize=2)
def _compiled(backend: Any, kind: str) -> Callable[..., Tensor]:
    # Kernels that are launched together are CUDA's alone.
    mode = "reduce-overhead" if kind == "cuda" else None
    found: Callable[..., Tensor] = torch.compile(_step, backend=backend, mode=mode, dynamic=False)
    return found
