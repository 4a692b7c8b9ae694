"""Linear layers of one input as one product each way, for training, with their adapters in it.

The weights of all layers stand below each other, and beside them what their adapters multiply:

    [ W | s B ]     (out + R, in + R), R the ranks of all of them
    [ A |  0  ]

An input with room for A x behind it then takes one product forward, [x, A x] [W, s B]ᵀ, and a
gradient with room for that of A x behind it one product back, [g, g s B] [W; A]. Nothing is added
to whole activations, and the thin products, which take long for what they do, are fewer.

The modules' own weights are views of it meanwhile, so that no weight is there twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loratory.tuning.fused import lora

__all__ = ["Joint", "can_join", "refresh"]


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
    own: Tensor
    """(out, r), B once more, close together, as thin products read it faster."""


class Joint:
    """Linear layers below each other, whose weights it takes over until they are put back.

    Args:
        modules: that `can_join`.
        adapter: the one that is trained.
    """

    def __init__(self, modules: Sequence[Any], adapter: str) -> None:
        self._linear = [_plain(module) for module in modules]
        adapted = [lora.can_fuse(module, adapter) for module in modules]
        factors = [
            lora.factors(module, adapter) if has else None
            for module, has in zip(modules, adapted, strict=True)
        ]
        weight = self._linear[0].weight
        self.ranks = sum(len(one.a) for one in factors if one is not None)
        self.read, self.given = weight.shape[1], sum(len(m.weight) for m in self._linear)
        whole = weight.new_zeros(self.given + self.ranks, self.read + self.ranks).detach()
        self._forth, self._back = whole[: self.given].T, whole[:, : self.read]
        self._a = whole[self.given :, : self.read]
        self._b = weight.new_zeros(self.given, self.ranks).detach()
        self.parts: list[_Part] = []
        top = left = 0
        for linear, one in zip(self._linear, factors, strict=True):
            outputs = slice(left, left + len(linear.weight))
            whole[outputs, : self.read] = linear.weight.detach()
            linear.weight.data = whole[outputs, : self.read]
            if one is not None:
                ranks = slice(top, top + len(one.a))
                b = whole[outputs, self.read :][:, ranks]
                own = self._b[outputs, ranks]
                self.parts.append(_Part(one, ranks, outputs, self._a[ranks], b, own))
                top = ranks.stop
            left = outputs.stop
        self._bias = lora.joint_bias(self._linear)

    def put_back(self) -> None:
        """Give the modules weights of their own again."""
        for linear in self._linear:
            linear.weight.data = linear.weight.data.clone(memory_format=torch.contiguous_format)

    @property
    def trained(self) -> list[Tensor]:
        """What is trained: A of every part, then B of every part."""
        factors = [part.factors for part in self.parts]
        return [one.a for one in factors] + [one.b for one in factors]

    def input(self, like: Tensor) -> Tensor:
        """Return room for an input of N rows, (N, in + R), of which the first `in` are to fill."""
        return like.new_empty(len(like), self.read + self.ranks)

    def output(self, like: Tensor) -> Tensor:
        """Return room for a gradient of N rows, (N, out + R), of which `out` are to fill."""
        return like.new_empty(len(like), self.given + self.ranks)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (N, out), added to what `residual` holds, if any; and A x, (N, R).

        Args:
            x: what `input` made, filled.
            residual: (N, out), not changed.
        """
        inner = x[:, : self.read] @ self._a.T
        x[:, self.read :] = inner
        if residual is None:
            found = lora.product(x, self._forth)
        else:
            found = lora.product(x, self._forth, residual.clone(), add=True)
        return found if self._bias is None else found.add_(self._bias), inner

    def backward(
        self, x: Tensor, inner: Tensor, gradient: Tensor, of_x: Tensor | None
    ) -> list[Tensor]:
        """Return the gradients of what is trained.

        Args:
            x: what `forward` was given.
            inner: A x.
            gradient: what `output` made, filled.
            of_x: where x's gradient goes, (N, in), if it is wanted.
        """
        outer = gradient[:, : self.given]
        of_inner = outer @ self._b
        gradient[:, self.given :] = of_inner
        a = of_inner.T @ x[:, : self.read]  # (R, in)
        b = inner.T @ outer  # (R, out)
        if of_x is not None:
            lora.product(gradient, self._back, of_x)
        found = [a[part.ranks].to(part.factors.a.dtype) for part in self.parts]
        for part in self.parts:
            own = b[part.ranks, part.outputs].T.to(part.factors.b.dtype)
            found.append(own.mul_(part.factors.scaling))
        return found


def refresh(joints: Sequence[Joint]) -> None:
    """Let joints take the trained numbers as they are now, rounded to the weights' type."""
    parts = [part for joint in joints for part in joint.parts]
    if not parts:
        return
    with torch.no_grad():
        b = torch._foreach_mul(
            [part.factors.b for part in parts], [part.factors.scaling for part in parts]
        )
        torch._foreach_copy_([part.a for part in parts], [part.factors.a for part in parts])
        torch._foreach_copy_([part.own for part in parts], b)
        torch._foreach_copy_([part.b for part in parts], [part.own for part in parts])


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
