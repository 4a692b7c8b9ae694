"""Attention as two products of whole matrices, for training on a CPU.

PyTorch's fused attention saves memory by never holding the scores, but its backward pass on a CPU
takes several times as long as the products themselves. For sequences of training length the scores
are small. So they are formed as one product for each key head, the queries that share it stacked
(grouped heads, Ainslie et al. 2023, arXiv 2305.13245), and either kept for the backward pass or,
where they would be larger than what they are made of, made again there.

It is registered with transformers under the name that `accelerated` sets. Where it does not serve
(dropout, another mask than none or one that is added or true where it may look, long sequences,
generation) transformers' own `sdpa` answers.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

__all__ = ["LONGEST", "NAME", "attention", "causal_bias", "register"]

NAME = "loratory_products"
LONGEST = 1024
"""Tokens up to which the products are taken; beyond, the scores cost more than they save."""
KEPT = 4
"""Scores are kept up to so many times the size of the queries."""


class _Products(torch.autograd.Function):  # type: ignore[misc]
    """softmax(s Q Kᵀ + bias) V, with the backward pass written out."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scaling: float) -> Tensor:
        chances = _chances(q, k, bias, scaling)
        kept = chances.numel() <= KEPT * q.numel()
        ctx.scaling = scaling
        ctx.save_for_backward(q, k, v, bias, *([chances] if kept else []))
        return torch.bmm(chances, v)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, *kept = ctx.saved_tensors
        chances = kept[0] if kept else _chances(q, k, bias, ctx.scaling)
        of_v = torch.bmm(chances.transpose(1, 2), gradient)
        of_chances = torch.bmm(gradient, v.transpose(1, 2))
        scores = torch._softmax_backward_data(of_chances, chances, -1, chances.dtype)
        of_q = torch.bmm(scores, k).mul_(ctx.scaling)
        of_k = torch.bmm(scores.transpose(1, 2), q).mul_(ctx.scaling)
        return of_q, of_k, of_v, None, None


def _chances(q: Tensor, k: Tensor, bias: Tensor, scaling: float) -> Tensor:
    return torch.baddbmm(bias, q, k.transpose(1, 2), alpha=scaling).softmax(dim=-1)


def attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scaling: float | None = None
) -> Tensor:
    """Return softmax(s Q Kᵀ + bias) V, shape (B, H, T, D).

    Args:
        q: (B, H, T, D).
        k: (B, G, S, D), each of its heads read by H / G of the queries'.
        v: (B, G, S, D).
        bias: added to the scores: broadcast to (B G, H / G · T, S).
        scaling: s; 1 / sqrt(D) unless told.
    """
    rows, heads, length, width = q.shape
    groups, seen = k.shape[1], k.shape[2]
    stacked = q.reshape(rows * groups, heads // groups * length, width)
    keys, values = (x.reshape(rows * groups, seen, width) for x in (k, v))
    scaling = 1 / math.sqrt(width) if scaling is None else scaling
    return _Products.apply(stacked, keys, values, bias, scaling).view(rows, heads, length, width)


@lru_cache(maxsize=64)
def causal_bias(length: int, times: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (times · length, length): 0 where a token may look, -inf ahead of it."""
    ahead = torch.full((length, length), -torch.inf, dtype=dtype, device=device).triu(1)
    return ahead.repeat(times, 1)


def _masked_bias(mask: Tensor, groups: int, times: int, dtype: torch.dtype) -> Tensor:
    """Return a mask of (B, 1, T, S), true where a token may look or to be added, as a bias."""
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
            ~mask, torch.finfo(dtype).min
        )
    rows, _, length, seen = mask.shape
    spread = mask.to(dtype).expand(rows, groups, length, seen).repeat(1, 1, times, 1)
    return spread.reshape(rows * groups, times * length, seen)


def _forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Answer transformers as its `sdpa_attention_forward` does."""
    length, groups = query.shape[2], key.shape[1]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    fits = (
        query.requires_grad
        and not dropout
        and query.device.type == "cpu"
        and length <= LONGEST
        and query.shape[1] % groups == 0
        and key.shape == value.shape
        and query.shape[-1] == key.shape[-1]
        and not any(kwargs.get(name) is not None for name in ("position_bias", "softcap", "cache"))
        and (attention_mask is None or attention_mask.shape[:2] == (len(query), 1))
        and (attention_mask is not None or key.shape[2] == length)
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
    times = query.shape[1] // groups
    if attention_mask is not None:
        bias = _masked_bias(attention_mask, groups, times, query.dtype)
    elif causal and length > 1:
        bias = causal_bias(length, times, query.dtype, query.device)
    else:
        bias = query.new_zeros(())
    return attention(query, key, value, bias, scaling).transpose(1, 2), None


def register() -> None:
    """Make the attention known to transformers, under `NAME`."""
    AttentionInterface.register(NAME, _forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
