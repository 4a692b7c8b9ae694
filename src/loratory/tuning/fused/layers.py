"""A decoder's layers laid out to answer: what reads one input is one product, and little beside.

An answer grows by a token of each row at a time. Products of so few tokens are short, and most of
a step goes into what stands between them: calls, conversions, copies of keys. Here q, k and v are
one product, as are gate and up, with what the adapter reads below them; weights are kept as the
processor multiplies them; keys and values go where they stay; and rows attend with those that were
read with them, so that none looks over much more than its own.

It serves decoders of Llama's plan (RMS norms, rotary positions, gated layers, shared keys) whose
layers are plain linear ones, with or without LoRA. That one computes the same is tried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers.activations import SiLUActivation

from loratory.methods.base import quiet
from loratory.tuning.batch import padded
from loratory.tuning.fused import norm
from loratory.tuning.fused.attention import attention
from loratory.tuning.fused.gemm import has_tiles
from loratory.tuning.fused.near import is_near
from loratory.tuning.fused.plan import Norm, Plan, plans
from loratory.tuning.fused.rotary import rotate, turns
from loratory.tuning.fused.rows import Asked, Rows
from loratory.tuning.fused.stacked import Gated, Narrow, Wide, blocks, parts
from loratory.tuning.model import base_of
from loratory.tuning.packing import Layout, collect, pack, spread

__all__ = ["Layers", "Rows", "laid_out"]

TILE = 16
"""Rows of a tile (AMX). Products are compiled for each number of rows, which takes as long as ten
of them: fewer numbers are fewer times."""
COPY_BYTES = 2**30
"""The most that weights laid out anew may take; products of larger ones take the time anyway."""


class _Layer(NamedTuple):
    before: Norm
    qkv: Wide
    out: Narrow
    between: Norm
    gated: Gated
    down: Narrow


class Layers:
    """A decoder that reads prompts, and then a few tokens of each row.

    Args:
        model: of Llama's plan, with or without an adapter.
        layers: laid out.
    """

    def __init__(self, model: Any, layers: Sequence[_Layer]) -> None:
        self._model, self._layers = base_of(model), layers
        inner = self._model.model
        first = inner.layers[0]
        self._width, self._scaling = first.self_attn.head_dim, first.self_attn.scaling
        self._shared = first.self_attn.num_key_value_groups
        self._last = Norm(inner.norm.weight, norm.eps_of(inner.norm))

    def read(self, prompts: Sequence[list[int]], room: int) -> tuple[Tensor, Rows]:
        """Return the logits after each prompt, (B, V), and the rows.

        Args:
            prompts: none empty.
            room: tokens that may follow.
        """
        ids, mask = padded(prompts, 0)
        lengths = mask.sum(-1)
        ends = torch.arange(ids.shape[1]) == lengths[:, None] - 1
        packed = pack(ids, ends, most=1.0, asked_only=True)
        assert packed is not None  # whatever it saves
        inputs, last = packed
        layout: Layout = inputs["packed"]
        held: list[tuple[Tensor, Tensor]] = []

        def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (spread(x, layout) for x in (q, k, v))
            shape = (*k.shape[:2], k.shape[2] + room, k.shape[3])
            held.append((k.new_zeros(shape), v.new_zeros(shape)))
            for whole, states in zip(held[-1], (k, v), strict=True):
                whole[:, :, : states.shape[2]] = states
            if not has_tiles():
                found = attention(q, k, v, causal=True, scaling=self._scaling)
            else:
                found = scaled_dot_product_attention(
                    q, k, v, is_causal=True, scale=self._scaling, enable_gqa=True
                )
            return collect(found, layout).flatten(1)

        states = self._states(inputs["input_ids"][0], inputs["position_ids"][0], attend, last[0])
        return self._head(states), Rows(held, lengths)

    def judge(
        self, ids: Tensor, positions: Tensor, layout: Layout, mask: Tensor, last: Tensor
    ) -> Tensor:
        """Return the logits after some tokens of packed rows, (M, V).

        Args:
            ids: the N tokens, (N,).
            positions: of the tokens, (N,).
            layout: of the rows.
            mask: what a place of a row sees, added to its scores, (B, 1, T, T).
            last: true for the M tokens, (N,).
        """

        def attend(_: int, *qkv: Tensor) -> Tensor:
            q, k, v = (spread(x, layout) for x in qkv)
            found = attention(q, k, v, mask=mask, scaling=self._scaling)
            return collect(found, layout).flatten(1)

        return self._head(self._states(ids, positions, attend, last))

    def follow(self, groups: Sequence[Rows], asked: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """Return the logits after each token, in order, (N, V), and keep its keys and values.

        Rows do not grow by it: what of the tokens holds is for the caller to say.

        Args:
            groups: of rows.
            asked: tokens of each row of each group, none where it has ended.
        """
        dtype = self._model.dtype
        parts = [
            Asked(rows, tokens, self._shared, dtype)
            for rows, tokens in zip(groups, asked, strict=True)
        ]
        ids = torch.tensor([token for tokens in asked for row in tokens for token in row])
        few = -len(ids) % (TILE if has_tiles() else 1)
        sizes = [len(part.positions) for part in parts] + [few]

        def attend(layer: int, *qkv: Tensor) -> Tensor:
            *split, rest = zip(*(x.split(sizes) for x in qkv), strict=True)
            found = [
                part.attended(layer, q, k, v, self._scaling)
                for part, (q, k, v) in zip(parts, split, strict=True)
            ]
            # The rest is read by nobody.
            return torch.cat([*found, rest[0].flatten(1)]) if few or len(found) > 1 else found[0]

        positions = torch.cat([part.positions for part in parts])
        states = self._states(pad(ids, (0, few)), pad(positions, (0, few)), attend)
        return self._head(states)[: len(ids)]

    def _states(
        self, ids: Tensor, positions: Tensor, attend: Any, last: Tensor | None = None
    ) -> Tensor:
        """Return the last states of tokens, (N, d), or of those that are true in `last`, (N,)."""
        inner = self._model.model
        x = inner.embed_tokens(ids)
        cos, sin = turns(*inner.rotary_emb(x, positions[None]))
        for number, layer in enumerate(self._layers):
            qkv = layer.qkv(_normed(x, layer.before, layer.qkv)).view(len(x), -1, self._width)
            shared = qkv.shape[1] // (self._shared + 2)
            for rows in blocks(x):
                rotate(qkv[rows, :-shared], cos[rows], sin[rows])
            seen = attend(number, *qkv.split([qkv.shape[1] - 2 * shared, shared, shared], dim=1))
            if last is not None and number == len(self._layers) - 1:
                x, seen = x[last], seen[last]
            x = x + layer.out(seen)
            x += layer.down(layer.gated(_normed(x, layer.between, layer.gated.both)))
        return self._last(x)

    def _head(self, states: Tensor) -> Tensor:
        found: Tensor = self._model.get_output_embeddings()(states)
        return found


def _normed(x: Tensor, norm: Norm, to: Wide) -> Tensor:
    """Return the normalised x as an input of layers."""
    found = to.input(x)
    for rows in blocks(x):
        norm.write(x[rows], found[rows, : x.shape[1]])
    return found


def laid_out(model: Any, *, few: bool = True) -> Layers | None:
    """Return a decoder's layers laid out to answer; None where it is of another plan, or too large.

    Args:
        model: on a CPU, with or without an adapter, in evaluation mode.
        few: mostly few tokens are read at a time, as in answers.
    """
    adapter = getattr(model, "active_adapter", None)
    adapter = adapter if isinstance(adapter, str) else None
    known = plans(model) or []
    weights = [p for plan in known for p in plan.layer.parameters()]
    size = sum(p.numel() * p.element_size() for p in weights)
    if not weights or weights[0].device.type != "cpu" or size > COPY_BYTES:
        return None
    layers = []
    for plan in known:
        layer = _laid(plan, adapter, few)
        if layer is None:
            return None
        layers.append(layer)
    try:
        found = Layers(model, layers)
        return found if _is_same(model, found) else None
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None


def _laid(plan: Plan, adapter: str | None, few: bool) -> _Layer | None:
    if type(plan.layer.mlp.act_fn) not in (nn.SiLU, SiLUActivation):
        return None
    known = [parts(modules, adapter) for modules in (plan.qkv, plan.out, plan.gated, plan.down)]
    plain = [each for each in known if each is not None]
    if len(plain) < len(known):
        return None
    qkv, out, gated, down = plain
    return _Layer(
        plan.before,
        Wide.of(qkv, few=few),
        Narrow.of(out, few=few),
        plan.between,
        Gated.of(gated, few=few),
        Narrow.of(down, few=few),
    )


def _is_same(model: Any, layers: Layers) -> bool:
    """Return whether the layers give the model's logits, by trying it on two rows."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(base_of(model).config.vocab_size, (2, 12), generator=generator)
    reads = [8, 5]
    with torch.inference_mode(), quiet():
        plain = model(input_ids=ids, use_cache=False).logits
        first, rows = layers.read([row[:n].tolist() for row, n in zip(ids, reads, strict=True)], 4)
        asked = [row[n : n + 4].tolist() for row, n in zip(ids, reads, strict=True)]
        found = torch.cat([first, layers.follow([rows], [asked])])
    after = [row[n - 1] for row, n in zip(plain, reads, strict=True)]
    along = [row[n : n + 4] for row, n in zip(plain, reads, strict=True)]
    return is_near(found, torch.cat([torch.stack(after), *along]), plain.dtype)
