"""Rotary positions (Su et al. 2021, arXiv 2104.09864), halves of a vector turned together."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["rotate", "rotate_back", "turns"]


def turns(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `rotate` multiplies by, (N, 1, D) each, of a model's (1, N, D)."""
    half = sin.shape[-1] // 2
    return cos[0][:, None], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)[:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate (N, heads, D), in place."""
    torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin, out=x)


def rotate_back(gradient: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Write the gradient of what was rotated, (N, heads, D), to `out`."""
    rolled = gradient.roll(gradient.shape[-1] // 2, -1)
    torch.addcmul(gradient * cos, rolled, sin, value=-1, out=out)
