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
from transformers.pytorch_utils import Conv1D

from loratory.tuning.fused.gemm import product

__all__ = ["Group", "can_fuse", "factors", "fused_lora", "is_active", "joint_bias"]


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


class Rounded(NamedTuple):
    """The trained factors of layers of one input, of the type they are multiplied in."""

    a: Tensor
    """(R, in), all layers' one below the other."""
    b: list[Tensor]
    """(out, r) of each layer, scaled."""

    @classmethod
    def of(cls, layers: Sequence[Factors], dtype: torch.dtype) -> Rounded:
        """Return the factors as they are now, rounded."""
        a = torch.cat([layer.a for layer in layers]).to(dtype)
        return cls(a, [(layer.b * layer.scaling).to(dtype) for layer in layers])


def _computed(
    rows: Tensor, layers: Sequence[Factors], rounded: Rounded
) -> tuple[Tensor, list[Tensor]]:
    """Return A x, (T, R), and what each layer makes of x, (T, out)."""
    read, outputs, start = rows @ rounded.a.T, [], 0
    for layer, b in zip(layers, rounded.b, strict=True):
        stop = start + b.shape[1]
        y = product(rows, layer.weight.T)
        if layer.bias is not None:
            y += layer.bias
        outputs.append(y.addmm_(read[:, start:stop], b.T))
        start = stop
    return read, outputs


class _FusedLora(torch.autograd.Function):  # type: ignore[misc]
    """y_i = W_i x + bias_i + s_i B_i A_i x, for layers of one input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[Factors], *_: Tensor) -> tuple[Tensor, ...]:
        rows = x.reshape(-1, x.shape[-1])  # (T, in)
        rounded = Rounded.of(layers, x.dtype)
        read, outputs = _computed(rows, layers, rounded)
        ctx.layers, ctx.shape = layers, x.shape
        ctx.save_for_backward(rows, read, rounded.a, *rounded.b)
        return tuple(y.view(*x.shape[:-1], -1) for y in outputs)

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
                    of_x = product(gradient, layer.weight)
                else:
                    product(gradient, layer.weight, of_x, add=True)
            start = stop
        of_a = (inner.T @ rows).to(ctx.layers[0].a.dtype).split([b.shape[1] for b in scaled])
        if of_x is not None:
            of_x = of_x.addmm_(inner, a).view(ctx.shape)
        return of_x, None, *of_a, *of_b


def joint_bias(layers: Sequence[nn.Linear]) -> Tensor | None:
    """Return the biases of linear layers one after another, 0 where one has none; None if all."""
    if all(layer.bias is None for layer in layers):
        return None
    zeros = [layer.weight.new_zeros(layer.out_features) for layer in layers]
    each = zip(layers, zeros, strict=True)
    return torch.cat([zero if layer.bias is None else layer.bias for layer, zero in each]).detach()


def fused_lora(
    x: Tensor, layers: Sequence[Factors], rounded: Rounded | None = None
) -> tuple[Tensor, ...]:
    """Return what each of several LoRA layers makes of one input.

    Args:
        x: (..., in), of the weights' type.
        layers: at least one.
        rounded: of the layers, where nothing is trained and no gradient wanted.

    Returns:
        (..., out) for each.
    """
    if rounded is not None:
        _, outputs = _computed(x.reshape(-1, x.shape[-1]), layers, rounded)
        return tuple(y.view(*x.shape[:-1], -1) for y in outputs)
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


def is_active(layer: Any, adapter: str) -> bool:
    """Return whether a layer computes with one adapter, apart from its base."""
    return (
        not layer.disable_adapters and not layer.merged and list(layer.active_adapters) == [adapter]
    )


class Group:
    """LoRA layers that are given the same input, called one after the other.

    The first call computes all of them; the others find theirs. A layer that is called with
    another tensor after all computes for itself.

    Args:
        layers: that `can_fuse`, in the order of their calls.
        adapter: the one that is trained, or answers.
        training: the adapter's numbers change meanwhile, or gradients are asked for.
    """

    def __init__(self, layers: Sequence[Any], adapter: str, *, training: bool = True) -> None:
        self.layers, self.adapter, self.training = list(layers), adapter, training
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
        rest = self.layers if place == 0 else [layer]
        known: dict[torch.dtype, Rounded] = {}  # by the input's type, made when first wanted

        def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if args or kwargs or not self._applies(layer, x):
                return plain(x, *args, **kwargs)
            if self._input is x and place in self._found:
                mine = self._found.pop(place)
                if not self._found:
                    self._input = None
                return mine
            made = [factors(each, self.adapter) for each in rest]
            ready = None
            if not (self.training or torch.is_grad_enabled()):
                if x.dtype not in known:
                    known[x.dtype] = Rounded.of(made, x.dtype)
                ready = known[x.dtype]
            mine, *others = fused_lora(x, made, ready)
            if others:
                self._input, self._found = x, dict(enumerate(others, start=1))
            return mine

        return forward

    def _applies(self, layer: Any, x: Tensor) -> bool:
        return (
            is_active(layer, self.adapter)
            and x.dtype == layer.base_layer.weight.dtype
            and not torch.is_autocast_enabled(x.device.type)
        )


def factors(layer: Any, adapter: str) -> Factors:
    """Return what a layer that `can_fuse` computes with."""
    base = layer.base_layer
    weight = base.weight.T if isinstance(base, Conv1D) else base.weight
    return Factors(
        weight,
        base.bias,
        layer.lora_A[adapter].weight,
        layer.lora_B[adapter].weight,
        layer.scaling[adapter],
    )
