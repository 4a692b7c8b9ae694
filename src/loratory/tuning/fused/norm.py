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
        ctx.save_for_backward(x, weight, inverse)
        return normal * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        return of_input(gradient, x, weight, inverse), None, None


def normalised(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return x / sqrt(mean(x²) + eps), of x's shape and type, and the factor, (..., 1)."""
    # Of one type throughout: PyTorch multiplies tensors of two types many times as slowly.
    exact = x.to(torch.promote_types(x.dtype, torch.float32), copy=True)
    length = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
    inverse = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return exact.mul_(inverse).to(x.dtype), inverse


def of_input(gradient: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
    """Return the gradient of a norm's input, a new tensor.

    It is what layer normalisation's would be if x's mean were 0, and nothing were taken from its
    gradient's mean. PyTorch computes that one in a single pass on a CPU; the mean comes back here.

    Args:
        gradient: of w x / rms(x), (..., d).
        x: (..., d).
        weight: w, (d,).
        inverse: 1 / rms(x), (..., 1), in float32 or what is more exact.
    """
    # Beside statistics of another type than x, a CPU takes a weight of theirs, a GPU one of x's.
    given = weight.to(inverse.dtype) if x.device.type == "cpu" else weight
    zero = torch.zeros_like(inverse)
    found: Tensor = torch.ops.aten.native_layer_norm_backward(
        gradient, x, x.shape[-1:], zero, inverse, given, None, [True, False, False]
    )[0]
    mean = (gradient @ weight[:, None]).to(inverse.dtype).mul_(inverse).div_(x.shape[-1])
    return found.add_(mean.to(x.dtype))


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
