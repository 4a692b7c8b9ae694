"""RMS normalisation with its backward pass written out: fewer passes over the activations.

RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467) divides a token's state by its root mean
square. Where half precision makes products fast, such passes over memory are what is left to
save. Of the input the backward pass reads its own type, and one number a token.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

__all__ = ["can_fuse", "eps_of", "normalised", "put_in", "rms_norm"]


class _RmsNorm(torch.autograd.Function):  # type: ignore[misc]
    """w x / rms(x), with a frozen weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        normal, inverse = normalised(x, eps)
        ctx.save_for_backward(normal, weight, inverse)
        return normal * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        normal, weight, inverse = ctx.saved_tensors
        exact, of_normal = normal.to(inverse.dtype), (gradient * weight).to(inverse.dtype)
        share = torch.linalg.vecdot(of_normal, exact)[..., None].div_(-normal.shape[-1])
        found = torch.addcmul(of_normal, exact, share).mul_(inverse)
        return found.to(normal.dtype), None, None


def normalised(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return x / sqrt(mean(x²) + eps), of x's shape and type, and the factor, (..., 1)."""
    # Of one type throughout: PyTorch multiplies tensors of two types many times as slowly.
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    squares = torch.linalg.vecdot(exact, exact)[..., None]
    inverse = squares.div_(x.shape[-1]).add_(eps).rsqrt_()
    return (exact * inverse).to(x.dtype), inverse


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return w x / sqrt(mean(x²) + eps), of x's shape and type; the weight gets no gradient."""
    found: Tensor = _RmsNorm.apply(x, weight, eps)
    return found


def can_fuse(module: Any) -> bool:
    """Return whether a module is RMS normalisation with a frozen weight, by trying it.

    Its name suggests it; that it computes the same settles it.
    """
    eps, weight = eps_of(module), getattr(module, "weight", None)
    if not type(module).__name__.endswith("RMSNorm") or eps is None or weight is None:
        return False
    if weight.requires_grad or weight.is_meta or weight.dim() != 1 or "forward" in vars(module):
        return False
    if isinstance(weight, FakeTensor):  # a rehearsal has no numbers to try
        return True
    with torch.no_grad():
        plain = copy.deepcopy(module).float()
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(2, 3, len(weight), generator=generator).to(weight.device)
        return bool(torch.allclose(plain(x), rms_norm(x, plain.weight, eps), rtol=1e-5, atol=1e-6))


def put_in(module: Any) -> Callable[[], None]:
    """Let a module that `can_fuse` compute by `rms_norm`; return what undoes it."""
    eps, plain = eps_of(module), module.forward

    def forward(x: Tensor) -> Tensor:
        # A method that trains norms may call one with a copy of its weight.
        if x.dtype != module.weight.dtype or module.weight.requires_grad:
            found: Tensor = plain(x)
            return found
        return rms_norm(x, module.weight, eps)

    module.forward = forward

    def undo() -> None:
        del module.forward

    return undo


def eps_of(module: Any) -> Any:
    """Return what a norm adds to the mean square; None where it has none."""
    return getattr(module, "variance_epsilon", getattr(module, "eps", None))
