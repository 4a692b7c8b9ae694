"""Dropout that draws four places at a time: on a CPU, draws take longer than all the rest of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["can_fuse", "kept_places", "put_in"]


def kept_places(shape: Sequence[int], share: float, like: Tensor) -> Tensor:
    """Return 0 where a place drops out, with a chance of `share` to 1 in 65,536, and 1 elsewhere.

    Args:
        shape: of what is returned.
        share: 0 to 1.
        like: of the type and device that are wanted.
    """
    count = math.prod(shape)
    words = torch.empty(-(-count // 4), dtype=torch.int64, device=like.device)
    words.random_(-(2**63), None)
    found = like.new_empty(count)
    # Compared into the wanted type at once: turning truths into numbers takes longer.
    torch.ge(words.view(torch.int16)[:count], round(share * 2**16) - 2**15, out=found)
    return found.view(*shape)


def can_fuse(module: Any) -> bool:
    """Return whether a module is dropout, and draws."""
    return type(module) is nn.Dropout and 0 < module.p < 1 and "forward" not in vars(module)


def put_in(module: nn.Dropout) -> Callable[[], None]:
    """Let a module that `can_fuse` draw by `kept_places`; return what undoes it."""
    plain = module.forward

    def forward(x: Tensor) -> Tensor:
        if not module.training or x.device.type != "cpu" or not x.is_floating_point():
            found: Tensor = plain(x)
            return found
        return x * kept_places(x.shape, module.p, x).mul_(1 / (1 - module.p))

    module.forward = forward

    def undo() -> None:
        del module.forward

    return undo
