"""Linear layers of one input as one product each way, for training, with their adapters.

The weights of all layers stand below each other, W, and so do their A; their B stand beside each
other's rows. How a processor multiplies by them fastest differs: `_Within` or `_Reordered`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loratory.tuning.fused import gemm, lora

__all__ = ["Joint", "can_join", "joint", "refresh"]


class _Part(NamedTuple):
    """One adapted layer among those of a joint."""

    factors: lora.Factors
    ranks: slice
    """Its rows of A."""
    outputs: slice
    """Its rows of W."""
    a: Tensor
    """(r, in), a view of the joint."""
    b: Tensor
    """(out, r), a view of the joint."""


class Joint:
    """Linear layers below each other.

    Args:
        modules: that `can_join`.
        adapter: the one that is trained.
    """

    room = 0
    """Numbers behind those of an input or a gradient, for the ranks."""

    def __init__(self, modules: Sequence[Any], adapter: str) -> None:
        self.linear = [_plain(module) for module in modules]
        adapted = [lora.can_fuse(module, adapter) for module in modules]
        factors = [
            lora.factors(module, adapter) if has else None
            for module, has in zip(modules, adapted, strict=True)
        ]
        weight = self.linear[0].weight
        ranks = sum(len(one.a) for one in factors if one is not None)
        self.read, self.given = weight.shape[1], sum(len(m.weight) for m in self.linear)
        self.a, self.b = self._lay(ranks)
        self.parts: list[_Part] = []
        top = left = 0
        for linear, one in zip(self.linear, factors, strict=True):
            outputs = slice(left, left + len(linear.weight))
            if one is not None:
                rows = slice(top, top + len(one.a))
                self.parts.append(_Part(one, rows, outputs, self.a[rows], self.b[outputs, rows]))
                top = rows.stop
            left = outputs.stop
        self._bias = lora.joint_bias(self.linear)

    def _lay(self, ranks: int) -> tuple[Tensor, Tensor]:
        """Lay out the weights; return room for A, (R, in), and zeros for s B, (out, R)."""
        raise NotImplementedError

    def update(self) -> None:
        """Take in `a` and `b` as they are now."""

    def put_back(self) -> None:
        """Give the modules weights of their own again."""

    def _forth(self, x: Tensor, inner: Tensor, residual: Tensor | None) -> Tensor:
        """Return W x + s B A x, of what `input` made and of A x."""
        raise NotImplementedError

    def _back(self, gradient: Tensor, inner: Tensor) -> Tensor:
        """Return the gradient of x, of what `output` made and of that of A x."""
        raise NotImplementedError

    @property
    def trained(self) -> list[Tensor]:
        """What is trained: A of every part, then B of every part."""
        factors = [part.factors for part in self.parts]
        return [one.a for one in factors] + [one.b for one in factors]

    def input(self, like: Tensor) -> Tensor:
        """Return room for an input of N rows, of which the first `read` numbers are to fill."""
        return like.new_empty(len(like), self.read + self.room)

    def output(self, like: Tensor) -> Tensor:
        """Return room for a gradient of N rows, of which the first `given` are to fill."""
        return like.new_empty(len(like), self.given + self.room)

    def as_input(self, x: Tensor) -> Tensor:
        """Return (N, in) with room behind it: itself where there needs to be none."""
        return _filled(x, self.input(x)) if self.room else x

    def as_output(self, gradient: Tensor) -> Tensor:
        """Return (N, out) with room behind it: itself where there needs to be none."""
        return _filled(gradient, self.output(gradient)) if self.room else gradient

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (N, out), added to what `residual` holds, if any; and A x, (N, R).

        Args:
            x: what `input` made, filled.
            residual: (N, out), not changed.
        """
        inner = x[:, : self.read] @ self.a.T
        found = self._forth(x, inner, residual)
        return found if self._bias is None else found.add_(self._bias), inner

    def backward(
        self,
        x: Tensor,
        inner: Tensor,
        gradient: Tensor,
        *,
        scale: tuple[Tensor, Tensor] | None = None,
        wanted: bool = True,
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Return the gradients of x, (N, in), and of what is trained.

        Args:
            x: what was read, (N, in).
            inner: A x.
            gradient: what `output` made, filled.
            scale: what x is yet to be multiplied by, (N, 1) and (in,).
            wanted: whether x's is.
        """
        outer = gradient[:, : self.given]
        of_inner = outer @ self.b
        left = of_inner if scale is None else (of_inner * scale[0]).to(of_inner.dtype)
        a = left.T @ x  # (R, in)
        if scale is not None:
            a *= scale[1]
        b = inner.T @ outer  # (R, out)
        trained = [a[part.ranks].to(part.factors.a.dtype) for part in self.parts]
        for part in self.parts:
            own = b[part.ranks, part.outputs].T.to(part.factors.b.dtype)
            trained.append(own.mul_(part.factors.scaling))
        return self._back(gradient, of_inner) if wanted else None, trained


class _Within(Joint):
    """With the adapters' numbers in the matrix of the weights.

        [ W | s B ]     (out + R, in + R)
        [ A |  0  ]

    An input with room for A x behind it then takes one product forward, [x, A x] [W, s B]ᵀ, and a
    gradient with room for that of A x behind it one product back, [g, g s B] [W; A]. Nothing is
    added to whole activations. The modules' own weights are views of it meanwhile, so that no
    weight is there twice.
    """

    def _lay(self, ranks: int) -> tuple[Tensor, Tensor]:
        self.room = ranks
        weight = self.linear[0].weight
        whole = weight.new_zeros(self.given + ranks, self.read + ranks).detach()
        rows = whole[: self.given, : self.read].split([len(m.weight) for m in self.linear])
        for linear, own in zip(self.linear, rows, strict=True):
            linear.weight.data = own.copy_(linear.weight.detach())
        self._forward, self._backward = whole[: self.given].T, whole[:, : self.read]
        self._beside = whole[: self.given, self.read :]
        # B once more, close together, as thin products read it faster.
        return whole[self.given :, : self.read], weight.new_zeros(self.given, ranks).detach()

    def update(self) -> None:
        self._beside.copy_(self.b)

    def put_back(self) -> None:
        for linear in self.linear:
            linear.weight.data = linear.weight.data.clone(memory_format=torch.contiguous_format)

    def _forth(self, x: Tensor, inner: Tensor, residual: Tensor | None) -> Tensor:
        x[:, self.read :] = inner
        if residual is None:
            return gemm.product(x, self._forward)
        return gemm.product(x, self._forward, residual.clone(), add=True)

    def _back(self, gradient: Tensor, inner: Tensor) -> Tensor:
        gradient[:, self.given :] = inner
        return gemm.product(gradient, self._backward)


class _Reordered(Joint):
    """With copies of W and Wᵀ in oneDNN's order, and the adapters beside them."""

    def _lay(self, ranks: int) -> tuple[Tensor, Tensor]:
        weight = torch.cat([linear.weight.detach() for linear in self.linear])
        self._forward, self._backward = gemm.reordered(weight), gemm.reordered(weight.T)
        return weight.new_empty(ranks, self.read), weight.new_zeros(self.given, ranks)

    def _forth(self, x: Tensor, inner: Tensor, residual: Tensor | None) -> Tensor:
        return gemm.reordered_product(x, self._forward, residual).addmm_(inner, self.b.T)

    def _back(self, gradient: Tensor, inner: Tensor) -> Tensor:
        return gemm.reordered_product(gradient, self._backward).addmm_(inner, self.a)


def joint(modules: Sequence[Any], adapter: str) -> Joint:
    """Return linear layers as one, as the processor multiplies by them fastest.

    Args:
        modules: that `can_join`.
        adapter: the one that is trained.
    """
    reorders = gemm.reorders(_plain(modules[0]).weight, few=False)
    return (_Reordered if reorders else _Within)(modules, adapter)


def refresh(joints: Sequence[Joint]) -> None:
    """Let joints take the trained numbers as they are now, rounded to the weights' type."""
    parts = [part for each in joints for part in each.parts]
    if not parts:
        return
    with torch.no_grad():
        b = torch._foreach_mul(
            [part.factors.b for part in parts], [part.factors.scaling for part in parts]
        )
        torch._foreach_copy_([part.a for part in parts], [part.factors.a for part in parts])
        torch._foreach_copy_([part.b for part in parts], b)
        for each in joints:
            each.update()


def can_join(modules: Sequence[Any], adapter: str) -> bool:
    """Return whether layers are frozen linear ones, with plain LoRA or without any adapter."""
    for module in modules:
        linear = _plain(module)
        if linear is not module and not lora.can_fuse(module, adapter):
            return False
        if type(linear) is not nn.Linear or linear._forward_hooks or linear._forward_pre_hooks:
            return False
        if any(p.requires_grad for p in linear.parameters()):
            return False
        if type(linear.weight.data) is not Tensor:  # quantised, or of another kind
            return False
    return len({_plain(module).weight.dtype for module in modules}) == 1


def _plain(module: Any) -> Any:
    return getattr(module, "base_layer", module)


def _filled(x: Tensor, room: Tensor) -> Tensor:
    room[:, : x.shape[1]] = x
    return room
