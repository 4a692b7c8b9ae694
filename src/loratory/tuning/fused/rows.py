"""Rows of prompts with their keys and values, and tokens that follow them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["Asked", "Rows"]


class Rows:
    """Rows that were read together: keys and values of all layers, within tensors longer than they.

    Args:
        room: keys and values of each layer, (B, H, most, D).
        lengths: of the rows, (B,).
    """

    def __init__(self, room: Sequence[tuple[Tensor, Tensor]], lengths: Tensor) -> None:
        self.room, self.lengths = list(room), lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def keep(self, layer: int, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Keep (n, H, D) of a layer, each vector at its place among all, (n · H,)."""
        for room, states in zip(self.room[layer], (keys, values), strict=True):
            width = room.shape[-1]
            room.view(-1, width).index_copy_(0, places, states.reshape(-1, width))

    def select(self, rows: Sequence[int]) -> None:
        """Keep some rows only."""
        chosen = torch.tensor(rows)
        self.room = [(keys[chosen], values[chosen]) for keys, values in self.room]
        self.lengths = self.lengths[chosen]


class Asked:
    """Tokens that follow some rows, n of b rows, m of a row at most, and how they attend.

    Args:
        rows: what they follow.
        asked: tokens of each row, none where it has ended.
        shared: queries that share a key.
        dtype: of the scores.
    """

    def __init__(
        self, rows: Rows, asked: Sequence[Sequence[int]], shared: int, dtype: torch.dtype
    ) -> None:
        keys, _ = rows.room[0]
        many = torch.tensor([len(row) for row in asked])
        most = max(int(many.max()), 1)
        place = torch.arange(most)
        real = place < many[:, None]  # (b, m)
        row, columns = real.nonzero()[:, 0], rows.lengths[:, None] + place
        self.rows = rows
        self.positions = columns[real]  # (n,)
        heads = row[:, None] * keys.shape[1] + torch.arange(keys.shape[1])
        self.places = (heads * keys.shape[2] + self.positions[:, None]).flatten()
        self.seen = int((rows.lengths + many).max())
        hidden = torch.arange(self.seen) > columns[..., None]  # (b, m, T)
        mask = torch.zeros(hidden.shape, dtype=dtype)
        mask.masked_fill_(hidden, torch.finfo(dtype).min)
        self.mask = (mask.repeat_interleave(shared, dim=1) if most > 1 else mask)[:, None]
        self.grid = torch.zeros(real.shape, dtype=torch.long)  # any token where there is none
        self.grid[real] = torch.arange(len(row))
        self.own = None if bool(real.all()) else real.flatten().nonzero()[:, 0]

    def attended(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float) -> Tensor:
        """Return what tokens see, (n, heads · D), of queries, keys and values, (n, heads, D)."""
        self.rows.keep(layer, self.places, k, v)
        keys, values = (room[:, :, : self.seen] for room in self.rows.room[layer])
        rows, heads, _, width = keys.shape
        q = q if self.own is None else q[self.grid.flatten()]
        # Queries that share a key stand together, so that no key is repeated.
        q = q.reshape(rows, -1, heads, q.shape[1] // heads, width).transpose(1, 2)
        shape = (rows, heads, -1, width)
        seen = scaled_dot_product_attention(
            q.reshape(shape), keys, values, self.mask, scale=scaling
        )
        seen = seen.view(q.shape).transpose(1, 2).reshape(self.grid.numel(), -1)
        return seen if self.own is None else seen[self.own]
