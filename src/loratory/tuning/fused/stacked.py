"""Linear layers of one input as one product, for answers: with their adapters, and no gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from loratory.tuning.fused import gemm, lora

__all__ = ["Gated", "Narrow", "Parts", "Wide", "blocks", "parts"]

BLOCK = 704
"""Rows that pass after pass is done with, so that they stay where a processor reads fastest."""
ROOM = 32
"""Ranks have room for a multiple of this, zeros where there are fewer: products of few rows are
faster for it."""


class Parts(NamedTuple):
    """Linear layers of one input, and their adapters."""

    weight: Tensor
    """(out, in)."""
    bias: Tensor | None
    a: Tensor
    """(R, in)."""
    b: Tensor
    """(out, R), scaled, each adapter's beside its own layer's rows."""


class Narrow(NamedTuple):
    """Layers whose results are narrow: what their adapters read stands below their weights."""

    weight: Tensor
    """[W; A], (out + R, in), in oneDNN's order, or plain."""
    bias: Tensor | None
    """(out,)."""
    update: Tensor
    """(s B)ᵀ, (R, out)."""

    @classmethod
    def of(cls, parts: Parts, *, few: bool) -> Narrow:
        """Return the layers as one; `few`: mostly some tens of rows are given, not a thousand."""
        weight = torch.cat([parts.weight, parts.a])
        return cls(_laid(weight, few), parts.bias, parts.b.T.contiguous())

    def __call__(self, x: Tensor) -> Tensor:
        """Return (N, out) of (N, in)."""
        found, width = _product(x, self.weight), self.update.shape[1]
        if len(self.update):
            found = found[:, :width].addmm_(found[:, width:], self.update)
        return found if self.bias is None else found.add_(self.bias)


class Wide(NamedTuple):
    """Layers whose results are wide: what their adapters add stands beside their weights.

    Then nothing is added to a result. The input brings room for what the adapters read of it.
    """

    weight: Tensor
    """[W, s B], (out, in + R), in oneDNN's order, or plain."""
    bias: Tensor | None
    """(out,)."""
    a: Tensor
    """Aᵀ, (in, R)."""

    @classmethod
    def of(cls, parts: Parts, *, few: bool) -> Wide:
        """Return the layers as one; `few`: mostly some tens of rows are given, not a thousand."""
        weight = torch.cat([parts.weight, parts.b], dim=1)
        return cls(_laid(weight, few), parts.bias, parts.a.T.contiguous())

    def input(self, like: Tensor) -> Tensor:
        """Return room for an input of N rows, (N, in + R), of which the first `in` are to fill."""
        return like.new_empty(len(like), sum(self.a.shape))

    def read(self, x: Tensor) -> None:
        """Fill an input's room."""
        width, ranks = self.a.shape
        if ranks:
            torch.mm(x[:, :width], self.a, out=x[:, width:])

    def __call__(self, x: Tensor) -> Tensor:
        """Return (N, out) of what `input` made, filled."""
        self.read(x)
        found = _product(x, self.weight)
        return found if self.bias is None else found.add_(self.bias)


class Gated(NamedTuple):
    """The two layers of a gated one, SiLU(gate) · up."""

    both: Wide
    apart: tuple[Tensor, Tensor] | None
    """The weights of each in oneDNN's order, where it applies what follows to the product."""

    @classmethod
    def of(cls, parts: Parts, *, few: bool) -> Gated:
        """Return gate and up as one; `few`: mostly some tens of rows are given, not a thousand."""
        if not gemm.reorders(parts.weight, few=few):
            return cls(Wide.of(parts, few=few), None)
        a, whole = parts.a.T.contiguous(), torch.cat([parts.weight, parts.b], dim=1)
        gate, up = (gemm.reordered(part) for part in whole.tensor_split(2))
        return cls(Wide(whole.new_empty(0), parts.bias, a), (gate, up))

    def __call__(self, x: Tensor) -> Tensor:
        """Return (N, out / 2) of what `both.input` made, filled."""
        if self.apart is not None:
            self.both.read(x)
            return gemm.gated_product(x, self.apart, _halves(self.both.bias))
        gates, ups = self.both(x).tensor_split(2, dim=1)
        found = torch.empty_like(gates, memory_format=torch.contiguous_format)
        for rows in blocks(x):
            torch.mul(functional.silu(gates[rows]), ups[rows], out=found[rows])
        return found


@torch.no_grad()  # type: ignore[untyped-decorator,unused-ignore]
def parts(modules: Sequence[Any], adapter: str | None) -> Parts | None:
    """Return linear layers of one input; None where one is more than linear with plain LoRA.

    Args:
        modules: of a model.
        adapter: the one that answers, if any.
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
    weight = torch.cat([module.weight for module in plain])
    ranks = sum(len(one.a) for one in factors if one is not None)
    room = -(-ranks // ROOM) * ROOM
    a, b = weight.new_zeros(room, weight.shape[1]), weight.new_zeros(len(weight), room)
    top = left = 0
    for module, one in zip(plain, factors, strict=True):
        right = left + len(module.weight)
        if one is not None:
            a[top : top + len(one.a)] = one.a
            b[left:right, top : top + len(one.a)] = one.b * one.scaling
            top += len(one.a)
        left = right
    return Parts(weight, lora.joint_bias(plain), a, b)


def blocks(x: Tensor) -> Iterator[slice]:
    """Yield the rows that are taken through several passes before the next ones."""
    for start in range(0, len(x), BLOCK):
        yield slice(start, start + BLOCK)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    return gemm.reordered_product(x, weight) if weight.is_mkldnn else gemm.product(x, weight.T)


def _laid(weight: Tensor, few: bool) -> Tensor:
    return gemm.reordered(weight) if gemm.reorders(weight, few=few) else weight


def _halves(bias: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    if bias is None:
        return None, None
    one, other = bias.tensor_split(2)
    return one, other
