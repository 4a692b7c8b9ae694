"""Attention as products of whole matrices, for a CPU.

PyTorch's fused attention never holds the scores, but its backward pass on a CPU takes several times
as long as the products themselves (`products`).

In decoding, keys and values are read where they lie; `sdpa` repeats them for the queries' heads.

It is registered with transformers under the name that `product_attention` sets. Where it does not
serve (a mask of another shape) transformers' own `sdpa` answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from loratory.tuning.fused.products import Kept, Way, products, products_backward
from loratory.tuning.model import base_of
from loratory.tuning.packing import Layout, collect, spread

__all__ = ["NAME", "attention", "product_attention"]

NAME = "loratory_products"
OTHER = ("position_bias", "softcap", "cache")
"""What some models hand over that is not computed here."""
WINDOWS = ("sliding_window", "s_aux")
"""What is part of a mask besides, which packed rows do not have."""


class _Products(torch.autograd.Function):  # type: ignore[misc]
    """softmax(s Q Kᵀ + mask) V, with the backward pass written out."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, way: Way) -> Tensor:
        found, kept = products(q, k, v, way)
        ctx.way, ctx.kept = way._replace(mask=None), len(kept.chances)
        ctx.save_for_backward(q, k, v, way.mask, *kept.chances, *kept.places)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask, *rest = ctx.saved_tensors
        way, kept = ctx.way._replace(mask=mask), Kept(rest[: ctx.kept], rest[ctx.kept :])
        if way.dropout:
            gradient = gradient * (1 / (1 - way.dropout))
        to = (q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape))
        products_backward(gradient, q, k, v, way, kept, to)
        return *to, None


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scaling: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return softmax(s Q Kᵀ + mask) V, shape (B, H, T, D).

    Args:
        q: (B, H, T, D).
        k: (B, K, S, D), each of its heads read by H / K of the queries'.
        v: (B, K, S, D).
        mask: (B, 1, T, S), added to the scores; or true where a token may look.
        causal: no token looks ahead; T and S are equal, and there is no mask.
        scaling: s; 1 / sqrt(D) unless told.
        dropout: share of the softmax's values that are left out, the others grown for it, 0 to 1.
    """
    rows, heads, length, width = q.shape
    shared, seen = k.shape[1], k.shape[2]
    grouped = q.reshape(rows * shared, heads // shared, length, width)
    keys, values = (x.reshape(rows * shared, seen, width) for x in (k, v))
    if mask is not None:
        mask = _added(mask, q.dtype).expand(rows, shared, length, seen).flatten(0, 1)
    s = 1 / math.sqrt(width) if scaling is None else scaling
    found: Tensor = _Products.apply(grouped, keys, values, Way(s, causal, mask, dropout))
    return found.view(rows, heads, length, width)


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill_(~mask, torch.finfo(dtype).min)


def _forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    packed: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Answer transformers as its `sdpa_attention_forward` does."""
    if packed is not None:
        if any(kwargs.get(name) is not None for name in OTHER + WINDOWS):
            raise ValueError("attention of this kind does not take packed rows")
        q, k, v = (spread(x[0].transpose(0, 1), packed) for x in (query, key, value))
        found = attention(q, k, v, causal=True, scaling=scaling, dropout=dropout)
        return collect(found, packed)[None], None
    length = query.shape[2]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    causal = causal and attention_mask is None and length > 1
    fits = (
        dropout < 1
        and query.device.type == "cpu"
        and query.shape[1] % key.shape[1] == 0
        and query.shape[-1] == key.shape[-1]
        and key.shape == value.shape
        and not any(kwargs.get(name) is not None for name in OTHER)
        and (attention_mask is None or attention_mask.shape[:2] == (len(query), 1))
        and (not causal or key.shape[2] == length)
    )
    if not fits:
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=is_causal,
            **kwargs,
        )
    found = attention(
        query, key, value, mask=attention_mask, causal=causal, scaling=scaling, dropout=dropout
    )
    return found.transpose(1, 2), None


@contextmanager
def product_attention(model: Any) -> Iterator[bool]:
    """Let a model attend by products within the context, and yield whether it does.

    It does on a CPU, where its attention is transformers' `sdpa`. Contexts may be nested.
    """
    inner = base_of(model)
    device = next(inner.parameters()).device.type
    kind = getattr(inner.config, "_attn_implementation", None)
    if kind != "sdpa" or device != "cpu":
        yield kind == NAME
        return
    AttentionInterface.register(NAME, _forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    inner.set_attn_implementation(NAME)
    try:
        yield True
    finally:
        inner.set_attn_implementation("sdpa")
