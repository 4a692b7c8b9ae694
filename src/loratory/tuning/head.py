"""Cross-entropy straight from a decoder's last states: its logits are never there as a whole.

A row of logits is a vocabulary wide, and the loss needs it in float32, then its probabilities, then
its gradient. Here a block of rows goes through all of that before the next, and leaves the gradient
of its states, so that nothing a vocabulary wide is kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from loratory.tuning.packing import EVEN

__all__ = ["can_fuse", "head_losses"]

BLOCK_BYTES = 2**25
"""Of logits in float32 that are formed at a time, about."""


class _HeadLosses(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> Tensor:
        precise = torch.promote_types(states.dtype, torch.float32)
        nats = torch.empty(len(states), dtype=precise, device=states.device)
        found = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        block = max(BLOCK_BYTES // (4 * len(weight)), 1)
        for start in range(0, len(states), block):
            part = slice(start, start + block)
            told = targets[part, None]
            logits = functional.linear(states[part], weight, bias)
            chances = logits.log_softmax(dim=-1, dtype=precise)  # (block, V)
            nats[part] = -chances.gather(1, told)[:, 0]
            if found is not None:
                gradient = chances.exp_()
                gradient.scatter_add_(1, told, gradient.new_full(told.shape, -1.0))
                torch.mm(gradient.to(weight.dtype), weight, out=found[part])
        ctx.save_for_backward(found)
        return nats

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (found,) = ctx.saved_tensors
        return found * gradient[:, None].to(found.dtype), None, None, None


def head_losses(states: Tensor, head: Any, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each target in nats, (N,), in float32 or what is more exact.

    Args:
        states: (N, d), what the head reads.
        head: that `can_fuse`.
        targets: (N,).
    """
    few = -len(states) % EVEN
    whole, told = functional.pad(states, (0, 0, 0, few)), functional.pad(targets, (0, few))
    found: Tensor = _HeadLosses.apply(whole, head.weight, head.bias, told)
    return found[: len(states)]


def can_fuse(head: Any) -> bool:
    """Return whether a head is a frozen linear layer, and nothing else."""
    return (
        type(head) is nn.Linear
        and not any(p.requires_grad for p in head.parameters())
        and not (head._forward_hooks or head._forward_pre_hooks)
    )
