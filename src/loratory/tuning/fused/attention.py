"""Attention as products of whole matrices, for a CPU.

PyTorch's fused attention never holds the scores, but its backward pass on a CPU takes several times
as long as the products themselves. Here the scores are formed as one product for each key head, the
queries that share it stacked (grouped heads, Ainslie et al. 2023, arXiv 2305.13245). Long sequences
are taken in blocks of queries, each against the keys that it may see, so that no more than some
megabytes of scores are there at a time. Scores are kept for the backward pass where they are small,
and made again there where they are not.

In decoding, keys and values are read where they lie; `sdpa` repeats them for the queries' heads.

It is registered with transformers under the name that `product_attention` sets. Where it does not
serve (a mask of another shape) transformers' own `sdpa` answers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from loratory.tuning.fused.dropout import kept_places
from loratory.tuning.model import base_of
from loratory.tuning.packing import Layout, collect, spread

__all__ = ["NAME", "Kept", "attention", "product_attention", "products", "products_backward"]

NAME = "loratory_products"
BLOCK_BYTES = 2**24
"""Scores that are formed at a time, about: from 32 MiB on glibc maps new pages for each."""
OTHER = ("position_bias", "softcap", "cache")
"""What some models hand over that is not computed here."""
WINDOWS = ("sliding_window", "s_aux")
"""What is part of a mask besides, which packed rows do not have."""
KEPT = 4
"""Scores are kept up to so many times the size of the queries."""


class Kept(NamedTuple):
    """What the backward pass of `products` reads besides its input."""

    chances: list[Tensor]
    """Of each block; none where they are made again."""
    places: list[Tensor]
    """0 where a block's chances were left out, and 1 elsewhere; none without dropout."""


def products(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    s: float,
    dropout: float = 0.0,
) -> tuple[Tensor, Kept]:
    """Return softmax(s Q Kᵀ + mask) V, (N, G, T, D), and what the backward pass reads.

    Args:
        q: (N, G, T, D), the queries that share a key head.
        k: (N, S, D).
        v: (N, S, D).
        mask: (N, T, S), added to the scores.
        causal: no token looks ahead, and there is no mask.
        s: scaling.
        dropout: share of the softmax's values that are left out.
    """
    parts, kept = [], Kept([], [])
    size = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[1]
    for block in _blocks(q, k, causal):
        chances = _chances(q, k, mask, block, causal, s)
        if size <= KEPT * q.numel():
            kept.chances.append(chances)
        if dropout:
            kept.places.append(kept_places(chances.shape, dropout, chances))
            chances = chances * kept.places[-1]
        found = torch.bmm(chances, v[:, : block[2]])
        parts.append(found.view(*q.shape[:2], -1, q.shape[3]))
    whole = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return whole.mul_(1 / (1 - dropout)) if dropout else whole, kept


def products_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    s: float,
    kept: Kept,
    to: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Write the gradients of q, k and v to `to`, contiguous and of their shapes.

    Args:
        gradient: (N, G, T, D); with dropout, grown as the answer was.
        q: as `products` took it.
        k: as `products` took it.
        v: as `products` took it.
        mask: as `products` took it.
        causal: as `products` took it.
        s: as `products` took it.
        kept: what `products` gave.
        to: what is written.
    """
    of_q, of_k, of_v = to
    blocks = list(_blocks(q, k, causal))
    if len(blocks) > 1:
        of_k.zero_()
        of_v.zero_()
    for number, block in enumerate(blocks):
        start, stop, seen = block
        asked, back = _stacked(q, start, stop), _stacked(gradient, start, stop)
        places = kept.places[number] if kept.places else None
        made = kept.chances
        given = made[number] if made else _chances(q, k, mask, block, causal, s)
        left = given if places is None else given * places
        of_given = torch.bmm(back, v[:, :seen].transpose(1, 2))
        if places is not None:
            of_given.mul_(places)
        scores = torch._softmax_backward_data(of_given, given, -1, given.dtype)
        if len(blocks) == 1:
            none = q.new_empty(())
            torch.bmm(left.transpose(1, 2), back, out=of_v)
            torch.baddbmm(none, scores.transpose(1, 2), asked, beta=0, alpha=s, out=of_k)
            torch.baddbmm(none, scores, k, beta=0, alpha=s, out=of_q.view_as(asked))
            return
        of_v[:, :seen].baddbmm_(left.transpose(1, 2), back)
        of_k[:, :seen].baddbmm_(scores.transpose(1, 2), asked, alpha=s)
        found = torch.bmm(scores, k[:, :seen]).mul_(s)
        of_q[:, :, start:stop] = found.view(*q.shape[:2], -1, q.shape[3])


class _Products(torch.autograd.Function):  # type: ignore[misc]
    """softmax(s Q Kᵀ + mask) V, with the backward pass written out."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        causal: bool,
        s: float,
        dropout: float,
    ) -> Tensor:
        found, kept = products(q, k, v, mask, causal, s, dropout)
        ctx.causal, ctx.scaling, ctx.grown = causal, s, 1 / (1 - dropout)
        ctx.kept = len(kept.chances)
        ctx.save_for_backward(q, k, v, mask, *kept.chances, *kept.places)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask, *rest = ctx.saved_tensors
        kept = Kept(rest[: ctx.kept], rest[ctx.kept :])
        if kept.places:
            gradient = gradient * ctx.grown
        to = (q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape))
        products_backward(gradient, q, k, v, mask, ctx.causal, ctx.scaling, kept, to)
        return *to, None, None, None, None


def _blocks(q: Tensor, k: Tensor, causal: bool) -> Iterator[tuple[int, int, int]]:
    """Yield from which query to which a block goes, and how many keys it sees."""
    length, seen = q.shape[2], k.shape[1]
    whole = q.shape[0] * q.shape[1] * length * seen * q.element_size()
    count = min(max(math.ceil(whole / BLOCK_BYTES), 1), length)
    edges = [length * i // count for i in range(count + 1)]
    for start, stop in itertools.pairwise(edges):
        yield start, stop, stop if causal else seen


def _chances(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None,
    block: tuple[int, int, int],
    causal: bool,
    scaling: float,
) -> Tensor:
    """Return softmax of a block's scores, shape (N, G · queries, keys)."""
    start, stop, seen = block
    asked, keys = _stacked(q, start, stop), k[:, :seen].transpose(1, 2)
    if causal and not start:  # the bias is added by the product itself
        bias = _ahead(stop, q.dtype, q.device).repeat(q.shape[1], 1)
        return torch.baddbmm(bias, asked, keys, alpha=scaling).softmax(dim=-1)
    if mask is not None:
        each = mask[:, None, start:stop].expand(-1, q.shape[1], -1, -1).reshape(len(q), -1, seen)
        return torch.baddbmm(each, asked, keys, alpha=scaling).softmax(dim=-1)
    scores = torch.baddbmm(q.new_empty(()), asked, keys, beta=0, alpha=scaling)
    if causal:
        apart = scores.view(*q.shape[:2], stop - start, seen)
        apart[..., start:].add_(_ahead(stop - start, q.dtype, q.device))
    return scores.softmax(dim=-1)


def _stacked(x: Tensor, start: int, stop: int) -> Tensor:
    """Return some tokens of all heads that share a key head, (N, G, T, D) to (N, G · tokens, D)."""
    return x[:, :, start:stop].reshape(x.shape[0], -1, x.shape[3])


@lru_cache(maxsize=64)
def _ahead(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (length, length): 0 where a token may look, -inf ahead of it."""
    return torch.full((length, length), -torch.inf, dtype=dtype, device=device).triu(1)


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
    found: Tensor = _Products.apply(grouped, keys, values, mask, causal, s, dropout)
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
