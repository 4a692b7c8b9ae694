"""The plan of Llama's decoder layers: norms, attention with rotary positions, a gated layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loratory.tuning.fused import norm
from loratory.tuning.model import base_of

__all__ = ["Norm", "Plan", "plans"]

PARTS = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
QKV, OUT = ("q_proj", "k_proj", "v_proj"), "o_proj"
GATED, DOWN = ("gate_proj", "up_proj"), "down_proj"


class Norm(NamedTuple):
    """RMS normalisation."""

    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return a new tensor of x's shape and type."""
        return norm.normalised(x, self.eps)[0].mul_(self.weight)

    def write(self, x: Tensor, out: Tensor) -> Tensor:
        """Write the normalised x, (N, d), to `out`, and return 1 / rms, (N, 1)."""
        normal, inverse = norm.normalised(x, self.eps)
        torch.mul(normal, self.weight, out=out)
        return inverse


class Plan(NamedTuple):
    """What one layer consists of; linear layers that read the same stand together."""

    layer: Any
    before: Norm
    qkv: list[Any]
    out: list[Any]
    between: Norm
    gated: list[Any]
    down: list[Any]

    @property
    def linear(self) -> list[list[Any]]:
        """The linear layers in their order."""
        return [self.qkv, self.out, self.gated, self.down]


def plans(model: Any) -> list[Plan] | None:
    """Return a decoder's layers; None where one of them is of another plan.

    By their names: that a model computes as they suggest is to be tried.
    """
    stack = getattr(getattr(base_of(model), "model", None), "layers", None)
    if not isinstance(stack, nn.ModuleList) or not len(stack):
        return None
    found = [_plan(layer) for layer in stack]
    return None if None in found else [plan for plan in found if plan is not None]


def _plan(layer: Any) -> Plan | None:
    if {name for name, _ in layer.named_children()} != PARTS:
        return None
    attention, gated = (dict(part.named_children()) for part in (layer.self_attn, layer.mlp))
    if set(attention) != {*QKV, OUT} or set(gated) - {"act_fn"} != {*GATED, DOWN}:
        return None
    norms = [_norm(layer.input_layernorm), _norm(layer.post_attention_layernorm)]
    if norms[0] is None or norms[1] is None:
        return None
    return Plan(
        layer,
        norms[0],
        [attention[name] for name in QKV],
        [attention[OUT]],
        norms[1],
        [gated[name] for name in GATED],
        [gated[DOWN]],
    )


def _norm(module: Any) -> Norm | None:
    weight, eps = getattr(module, "weight", None), norm.eps_of(module)
    return None if weight is None or eps is None else Norm(weight, eps)
