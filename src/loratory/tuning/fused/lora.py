"""LoRA layers as one product each: forward and backward without a step that is not needed.

peft computes W x and B A x apart, the update in float32, and adds them. On a processor with fast
half-precision products most of the time then goes into conversions, scaling and sums over whole
activations. Here the update is added by the product itself, in the base's own type, and layers
that read the same input (q, k and v; gate and up) share A's product, and one sum of their
gradients. What the backward pass reads again is x once for all of them, and A x, which is thin.

The trained numbers stay as they are, float32 over a base in half precision; they are rounded to
the base's type for each product, as autocast would. In float32 nothing is rounded, and the result
is peft's up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

__all__ = ["Group", "can_fuse", "fused_lora"]


class Factors(NamedTuple):
    """What one layer computes with."""

    weight: Tensor
    """(out, in), frozen."""
    bias: Tensor | None
    """(out,), frozen."""
    a: Tensor
    """(r, in), trained."""
    b: Tensor
    """(out, r), trained."""
    scaling: float


class _FusedLora(torch.autograd.Function):  # type: ignore[misc]
    """y_i = W_i x + bias_i + s_i B_i A_i x, for layers of one input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[Factors], *_: Tensor) -> tuple[Tensor, ...]:
        rows = x.reshape(-1, x.shape[-1])  # (T, in)
        a = torch.cat([layer.a for layer in layers]).to(x.dtype)  # (R, in)
        read = rows @ a.T  # (T, R)
        outputs, scaled, start = [], [], 0
        for layer in layers:
            b = (layer.b * layer.scaling).to(x.dtype)  # (out, r)
            stop = start + b.shape[1]
            y = functional.linear(rows, layer.weight, layer.bias)
            outputs.append(y.addmm_(read[:, start:stop], b.T).view(*x.shape[:-1], -1))
            scaled.append(b)
            start = stop
        ctx.layers, ctx.shape = layers, x.shape
        ctx.save_for_backward(rows, read, a, *scaled)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, read, a, *scaled = ctx.saved_tensors
        inner = torch.empty_like(read)  # (T, R), the gradient of A x
        of_x, of_b, start = None, [], 0
        for layer, b, whole in zip(ctx.layers, scaled, gradients, strict=True):
            gradient = whole.reshape(-1, whole.shape[-1])  # (T, out)
            stop = start + b.shape[1]
            torch.mm(gradient, b, out=inner[:, start:stop])
            thin = (read[:, start:stop].T @ gradient).T  # (out, r), in the order that is fast
            of_b.append(thin.to(layer.b.dtype) * layer.scaling)
            if ctx.needs_input_grad[0]:
                if of_x is None:
                    of_x = gradient @ layer.weight
                else:
                    of_x.addmm_(gradient, layer.weight)
            start = stop
        of_a = (inner.T @ rows).to(ctx.layers[0].a.dtype).split([b.shape[1] for b in scaled])
        if of_x is not None:
            of_x = of_x.addmm_(inner, a).view(ctx.shape)
        return of_x, None, *of_a, *of_b


def fused_lora(x: Tensor, layers: Sequence[Factors]) -> tuple[Tensor, ...]:
    """Return what each of several LoRA layers makes of one input.

    Args:
        x: (..., in), of the weights' type.
        layers: at least one.

    Returns:
        (..., out) for each.
    """
    trained = [layer.a for layer in layers] + [layer.b for layer in layers]
    return tuple(_FusedLora.apply(x, layers, *trained))


def can_fuse(layer: Any, adapter: str) -> bool:
    """Return whether a layer is plain LoRA on a frozen linear layer, and nothing else."""
    if type(layer) is not Linear or adapter not in layer.lora_A or layer.lora_variant:
        return False
    base, a, b = layer.base_layer, layer.lora_A[adapter], layer.lora_B[adapter]
    return (
        type(base) in (nn.Linear, Conv1D)
        and not any(p.requires_grad for p in base.parameters())
        and base.weight.is_floating_point()
        and a.bias is None
        and b.bias is None
        and isinstance(layer.lora_dropout[adapter], nn.Identity)
        and not (base._forward_hooks or base._forward_pre_hooks)
    )


class Group:
    """LoRA layers that are given the same input, called one after the other.

    The first call computes all of them; the others find theirs. A layer that is called with
    another tensor after all computes for itself.

    Args:
        layers: that `can_fuse`, in the order of their calls.
        adapter: the one that is trained.
    """

    def __init__(self, layers: Sequence[Any], adapter: str) -> None:
        self.layers, self.adapter = list(layers), adapter
        self._input: Tensor | None = None
        self._found: dict[int, Tensor] = {}

    def put_in(self) -> Callable[[], None]:
        """Let the layers compute together; return what undoes it."""
        for place, layer in enumerate(self.layers):
            layer.forward = self._forward(place, layer.forward)

        def undo() -> None:
            for layer in self.layers:
                del layer.forward
            self._input, self._found = None, {}

        return undo

    def _forward(self, place: int, plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
        layer = self.layers[place]

        def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if args or kwargs or not self._applies(layer, x):
                return plain(x, *args, **kwargs)
            if self._input is x and place in self._found:
                mine = self._found.pop(place)
                if not self._found:
                    self._input = None
                return mine
            rest = self.layers if place == 0 else [layer]
            mine, *others = fused_lora(x, [_factors(each, self.adapter) for each in rest])
            if others:
                self._input, self._found = x, dict(enumerate(others, start=1))
            return mine

        return forward

    def _applies(self, layer: Any, x: Tensor) -> bool:
        return (
            not layer.disable_adapters
            and not layer.merged
            and list(layer.active_adapters) == [self.adapter]
            and x.dtype == layer.base_layer.weight.dtype
            and not torch.is_autocast_enabled(x.device.type)
        )


def _factors(layer: Any, adapter: str) -> Factors:
    base = layer.base_layer
    weight = base.weight.T if isinstance(base, Conv1D) else base.weight
    return Factors(
        weight,
        base.bias,
        layer.lora_A[adapter].weight,
        layer.lora_B[adapter].weight,
        layer.scaling[adapter],
    )
