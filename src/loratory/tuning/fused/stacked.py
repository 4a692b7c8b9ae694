"""Linear layers of one input as one product, for answers: with their adapters, and no gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loratory.tuning.fused import lora

__all__ = ["Stacked", "stacked"]

USUAL = 32
"""Rows that a weight is laid out for: those of a batch of answers."""


class Stacked(NamedTuple):
    """Linear layers below each other."""

    weight: Tensor
    """(out + R, in): the layers, then what their adapters read; as oneDNN keeps it, or plain."""
    bias: Tensor | None
    """(out,)."""
    update: Tensor | None
    """(R, out): what the adapters add, each to its own layer's part."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return (N, out) of (N, in)."""
        if self.weight.is_mkldnn:
            found = torch.ops.mkldnn._linear_pointwise(x, self.weight, None, "none", [], "")
        else:
            found = lora.product(x, self.weight.T)
        if self.update is not None:
            wide = self.update.shape[1]
            found = found[:, :wide].addmm_(found[:, wide:], self.update)
        return found if self.bias is None else found.add_(self.bias)


def stacked(modules: Sequence[Any], adapter: str | None, *, few: bool = True) -> Stacked | None:
    """Return layers of one input as one; None where one is more than linear with plain LoRA.

    Args:
        modules: of a model.
        adapter: the one that answers, if any.
        few: mostly few rows are given at a time, some tens and not a thousand.
    """
    plain, factors = [], []
    for module in modules:
        update = None
        if adapter is not None and lora.can_fuse(module, adapter) and not module.merged:
            if lora.is_active(module, adapter):
                update = lora.factors(module, adapter)
            elif not module.disable_adapters:
                return None
            module = module.base_layer
        if type(module) is not nn.Linear:
            return None
        plain.append(module)
        factors.append(update)
    weights = [module.weight for module in plain]
    dtype, widths = weights[0].dtype, [len(weight) for weight in weights]
    bias = None
    if any(module.bias is not None for module in plain):
        zeros = [weight.new_zeros(len(weight)) for weight in weights]
        each = zip(plain, zeros, strict=True)
        bias = torch.cat([zero if module.bias is None else module.bias for module, zero in each])
    known = [(place, one) for place, one in enumerate(factors) if one is not None]
    update = None
    if known:
        update = weights[0].new_zeros(sum(len(one.a) for _, one in known), sum(widths))
        top = 0
        for place, one in known:
            bottom, left = top + len(one.a), sum(widths[:place])
            update[top:bottom, left : left + widths[place]] = (one.b * one.scaling).T
            top = bottom
    whole = torch.cat([*weights, *(one.a.to(dtype) for _, one in known)]).detach()
    bias, update = (None if x is None else x.detach() for x in (bias, update))
    return Stacked(_kept(whole) if few else whole, bias, update)


def _kept(weight: Tensor) -> Tensor:
    """Return a weight in the order in which oneDNN multiplies bfloat16, where it does."""
    if weight.dtype != torch.bfloat16 or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return weight
    kept: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, USUAL)
    return kept
