"""Attention as products of whole matrices, forward and backward, a block of queries at a time.

The scores are formed as one product for each key head, the queries that share it stacked (grouped
heads, Ainslie et al. 2023, arXiv 2305.13245). Long sequences are taken in blocks of queries, each
against the keys that it may see, so that no more than some megabytes of scores are there at a time.
Scores are kept for the backward pass where they are small, and made again there where they are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from loratory.tuning.fused.dropout import kept_places

__all__ = ["Kept", "Way", "products", "products_backward"]

BLOCK_BYTES = 2**24
"""Scores that are formed at a time, about: from 32 MiB on glibc maps new pages for each."""
BLOCKS = ((192, 2**62), (480, 64), (1024, 128), (2**62, 192))
"""Queries of a block, below so many, where none looks ahead: shorter ones leave more keys out, and
longer ones are multiplied faster. Multiples of 32, of which a softmax of bfloat16 is quickest."""
KEPT = 4
"""Scores are kept up to so many times the size of the queries."""


class Way(NamedTuple):
    """What attention is besides queries, keys and values."""

    scaling: float
    causal: bool = False
    """No token looks ahead, and there is no mask."""
    mask: Tensor | None = None
    """(N, T, S), added to the scores."""
    dropout: float = 0.0
    """Share of the softmax's values that are left out."""


class Kept(NamedTuple):
    """What the backward pass of `products` reads besides its input."""

    chances: list[Tensor]
    """Of each block; none where they are made again."""
    places: list[Tensor]
    """0 where a block's chances were left out, and 1 elsewhere; none without dropout."""


def products(q: Tensor, k: Tensor, v: Tensor, way: Way) -> tuple[Tensor, Kept]:
    """Return softmax(s Q Kᵀ + mask) V, (N, G, T, D), and what the backward pass reads.

    Args:
        q: (N, G, T, D), the queries that share a key head.
        k: (N, S, D).
        v: (N, S, D).
        way: how they attend.
    """
    dropout = way.dropout
    parts, kept = [], Kept([], [])
    blocks = list(_blocks(q, k, way.causal))
    seen = sum((stop - start) * seen for start, stop, seen in blocks)  # by a head
    for block in blocks:
        chances = _chances(q, k, way, block)
        if seen <= KEPT * q.shape[2] * q.shape[3]:
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
    way: Way,
    kept: Kept,
    to: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Write the gradients of q, k and v to `to`, contiguous and of their shapes.

    Args:
        gradient: (N, G, T, D); with dropout, grown as the answer was.
        q: as `products` took it.
        k: as `products` took it.
        v: as `products` took it.
        way: as `products` took it.
        kept: what `products` gave.
        to: what is written.
    """
    (of_q, of_k, of_v), s = to, way.scaling
    blocks = list(_blocks(q, k, way.causal))
    if len(blocks) > 1:
        of_k.zero_()
        of_v.zero_()
    for number, block in enumerate(blocks):
        start, stop, seen = block
        asked, back = _stacked(q, start, stop), _stacked(gradient, start, stop)
        places = kept.places[number] if kept.places else None
        made = kept.chances
        given = made[number] if made else _chances(q, k, way, block)
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


def _blocks(q: Tensor, k: Tensor, causal: bool) -> Iterator[tuple[int, int, int]]:
    """Yield from which query to which a block goes, and how many keys it sees."""
    length, seen = q.shape[2], k.shape[1]
    each = q.shape[0] * q.shape[1] * seen * q.element_size()
    size = max(BLOCK_BYTES // each, 1)
    if causal:
        size = min(size, next(queries for below, queries in BLOCKS if length < below))
    for start in range(0, length, size):
        stop = min(start + size, length)
        yield start, stop, stop if causal else seen


def _chances(q: Tensor, k: Tensor, way: Way, block: tuple[int, int, int]) -> Tensor:
    """Return softmax of a block's scores, shape (N, G · queries, keys)."""
    scaling, causal, mask, _ = way
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
