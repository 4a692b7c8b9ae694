"""Rows of a batch as one, without padding, what they begin with in common computed once.

Most of a decoder's work is done token by token: layers, norms, the head. Padding is work for
nothing there, and so is the template of the prompts, which every row begins with: causal attention
lets nothing that follows change it, so that its states are the same in all rows, and what it learns
is the sum over them. Only attention looks from one token to another. It gets its rows back, the
common beginning repeated, and gives its answers back to the tokens.

That a model computes the same this way is tried out, not assumed: with positions of another kind,
sliding windows or layers that look at neighbours it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["MOST", "Layout", "collect", "pack", "spread"]

MOST = 0.9
"""Packed where so many tokens are left at most, of those with padding; else it does not pay."""
EVEN = 32
"""Rows are as long as a multiple of this, of which a softmax of bfloat16 is quickest, and so many
tokens are there, as padding allows. Products by tiles (AMX) are compiled for each number of tokens,
which takes half as long for such a number, and is needed less often."""
ROOM = 1.1
"""Rows are up to so many times as long for it."""


@dataclass
class Layout:
    """Where the N tokens of B packed rows stand."""

    places: Tensor
    """(B, T): the token that each row has at each place, any where there is none."""
    own: Tensor
    """(N,): row · T + place of each token, the first row's of what all begin with."""
    prefix: int
    """Tokens that all rows begin with."""
    asked: Tensor | None = None
    """(M,): the tokens whose last states are read, in order, and behind them any; None where all
    may be."""
    _known: dict[tuple[int, ...], tuple[Tensor, Tensor]] = field(default_factory=dict)
    _own: dict[int, Tensor] = field(default_factory=dict)

    def indices(self, *groups: int) -> tuple[Tensor, Tensor]:
        """Return which of N · heads vectors stands where in rows, and the way back.

        Args:
            groups: heads of each of what stands together at a token: of one tensor, or of q, k and
                v. In rows each group is (B, heads, T), one behind the other.
        """
        if groups not in self._known:
            length, whole = self.places.shape[1], sum(groups)
            row, place = self.own // length, self.own % length
            out, back, first, before = [], [], 0, 0
            for heads in groups:
                head = torch.arange(heads, device=self.own.device)
                out.append((self.places[:, None] * whole + first + head[:, None]).flatten())
                back.append(before + (row[:, None] * heads + head) * length + place[:, None])
                first, before = first + heads, before + out[-1].numel()
            self._known[groups] = torch.cat(out), torch.cat(back, dim=1).flatten()
        return self._known[groups]

    def own_indices(self, heads: int) -> Tensor:
        """Return which of N · heads vectors stands where in (B, heads, T), each of them once.

        Where a place has no token, or one that another row has too, it is N · heads.
        """
        if heads not in self._own:
            count = len(self.own)
            tokens = torch.full_like(self.places.flatten(), count)
            tokens[self.own] = torch.arange(count, device=self.own.device)
            tokens = tokens.view_as(self.places)[:, None]  # (B, 1, T)
            head = torch.arange(heads, device=self.own.device)[:, None]
            found = torch.where(tokens < count, tokens * heads + head, count * heads)
            self._own[heads] = found.flatten()
        return self._own[heads]


def pack(
    ids: Tensor, keep: Tensor, most: float = MOST, *, asked_only: bool = False
) -> tuple[dict[str, Any], Tensor] | None:
    """Return a model's inputs for packed rows, and which of their tokens are supervised, (1, N).

    Supervised tokens come in the order they have in the batch. Nothing is returned where packing
    does not pay.

    Args:
        ids: (B, T), padded on the right.
        keep: (B, T), true where a token's successor is learnt; each row's last token is.
        most: it pays where so many tokens are left at most, of those with padding.
        asked_only: nothing is read but the last states of the tokens in `keep`, which the layout
            names first. Rows may then be a little longer, and some padding stay, where that is
            quicker.
    """
    rows, length = ids.shape
    place = torch.arange(length, device=ids.device)
    lengths = torch.where(keep, place + 1, 0).amax(dim=1)  # (B,)
    common = (ids == ids[:1]).all(dim=0) & ~keep.any(dim=0) & (place < lengths.amin() - 1)
    prefix = int(common.long().cumprod(dim=0).sum()) if rows > 1 else 0
    real = place < lengths[:, None]
    real[1:, :prefix] = False
    own = real.flatten().nonzero()[:, 0]
    if len(own) > most * rows * length:
        return None
    even = -(-length // EVEN) * EVEN if asked_only else length
    if even <= ROOM * length:
        ids = functional.pad(ids, (0, even - length))
        keep = functional.pad(keep, (0, even - length))
        own, length = own // length * even + own % length, even
    if asked_only:
        beyond = (torch.arange(length, device=ids.device) >= lengths[:, None]).flatten().nonzero()
        own = torch.cat([own, beyond[: -len(own) % EVEN, 0]]).sort().values
    places = torch.zeros_like(ids).flatten()
    places[own] = torch.arange(len(own), device=ids.device)
    places = places.view(rows, length)
    places[1:, :prefix] = places[0, :prefix]
    kept = keep.flatten()[own]
    inputs = {
        "input_ids": ids.flatten()[own][None],
        "position_ids": (own % length)[None],
        # One that is there already, so that the model makes none; attention goes by the layout.
        "attention_mask": torch.ones((1, 1, 1, 1), dtype=torch.bool, device=ids.device),
        "packed": Layout(places, own, prefix, _evened(kept) if asked_only else None),
    }
    return inputs, kept[None]


def _evened(kept: Tensor) -> Tensor:
    """Return which are true, and behind them as many others as make the number even."""
    asked, others = kept.nonzero()[:, 0], (~kept).nonzero()[:, 0]
    few = -len(asked) % EVEN
    return torch.cat([asked, others[:few]]) if few < len(others) else asked


class _Spread(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        heads, width = x.shape[1:]
        out, _ = layout.indices(heads)
        ctx.layout, ctx.shape = layout, x.shape
        rows, length = layout.places.shape
        return x.reshape(-1, width).index_select(0, out).view(rows, heads, length, width)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        _, heads, width = ctx.shape
        prefix = ctx.layout.prefix
        _, back = ctx.layout.indices(heads)
        found = gradient.reshape(-1, width).index_select(0, back).view(ctx.shape)
        if prefix:  # every row has looked at it
            found[:prefix] = gradient[:, :, :prefix].sum(dim=0).transpose(0, 1)
        return found, None


class _Collect(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        _, heads, _, width = x.shape
        _, back = layout.indices(heads)
        ctx.layout, ctx.shape = layout, x.shape
        return x.reshape(-1, width).index_select(0, back).view(-1, heads, width)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        _, heads, _, width = ctx.shape
        _, back = ctx.layout.indices(heads)
        found = gradient.new_zeros(ctx.shape)
        found.view(-1, width).index_copy_(0, back, gradient.reshape(-1, width))
        return found, None


def spread(x: Tensor, layout: Layout) -> Tensor:
    """Return tokens in their rows, (N, heads, D) to (B, heads, T, D), padding filled with any."""
    found: Tensor = _Spread.apply(x, layout)
    return found


def collect(x: Tensor, layout: Layout) -> Tensor:
    """Return rows as tokens, (B, heads, T, D) to (N, heads, D)."""
    found: Tensor = _Collect.apply(x, layout)
    return found
