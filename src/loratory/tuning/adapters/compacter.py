"""Compacter (Karimi Mahabadi et al. 2021, arXiv 2106.04647): adapters of Kronecker products.

A Houlsby adapter whose two projections are y = x W + b with W = Σᵢ Aᵢ ⊗ (sᵢ tᵢ), i = 1..n. The
n matrices Aᵢ, n × n, are shared by every projection of the model: the slow weights. sᵢ is
(in/n) × rank and tᵢ rank × (out/n): the fast weights, each layer's own. What is implemented is
the paper's Compacter with Aᵢ learnt. Two things differ: t of the upper projections starts at
zero, so that training starts at the base model exactly, and layer norms stay frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from loratory.errors import ModelError
from loratory.methods.bottleneck import multiple_below
from loratory.tuning.adapters.bottleneck import (
    BottleneckConfig,
    BottleneckLayer,
    BottleneckTuner,
)
from loratory.tuning.adapters.houlsby import sub_layer_outputs

__all__ = ["CompacterConfig", "CompacterTuner", "Hypercomplex", "kronecker_sum"]


@dataclass
class CompacterConfig(BottleneckConfig):
    """Settings of Compacter."""

    peft_name: ClassVar[str] = "COMPACTER"

    reduction_factor: float = 32.0
    phm_dim: int = 4
    phm_rank: int = 1


def kronecker_sum(rule: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return Σᵢ Aᵢ ⊗ (sᵢ tᵢ), of shape (n·a, n·b).

    Args:
        rule: A, of shape (n, n, n).
        left: s, of shape (n, a, rank).
        right: t, of shape (n, rank, b).
    """
    n, a, b = len(rule), left.shape[1], right.shape[2]
    products = left @ right  # (n, a, b)
    return torch.einsum("ijk,iab->jakb", rule, products).reshape(n * a, n * b)


class Hypercomplex(nn.Module):  # type: ignore[misc]
    """A projection by a sum of Kronecker products, its A given from outside.

    Args:
        takes: features in, a multiple of n.
        gives: features out, a multiple of n.
        zero: start at zero.
    """

    def __init__(self, takes: int, gives: int, n: int, rank: int, zero: bool) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.empty(n, takes // n, rank))
        self.right = nn.Parameter(torch.zeros(n, rank, gives // n))
        self.bias = nn.Parameter(torch.zeros(gives))
        for part in (self.left,) if zero else (self.left, self.right):
            for matrix in part:
                nn.init.xavier_uniform_(matrix)

    def forward(self, x: torch.Tensor, rule: torch.Tensor) -> torch.Tensor:
        return x @ kronecker_sum(rule, self.left, self.right) + self.bias


class CompacterLayer(BottleneckLayer):
    """A layer of the base model with Compacter behind it."""

    rules: dict[str, Any]
    """Holds, under `shared`, the tuner's A of each adapter; in a plain dict, so that it is not
    a parameter of this layer as well."""

    def _projections(self, config: Any) -> tuple[nn.Module, nn.Module]:
        n, rank = config.phm_dim, config.phm_rank
        if self.width % n:
            raise ModelError(
                f"method.phm_dim: {n} does not divide the width of a layer, {self.width}. "
                "Choose a divisor of it."
            )
        inner = multiple_below(self.width, config.reduction_factor, n)
        return (
            Hypercomplex(self.width, inner, n, rank, zero=False),
            Hypercomplex(inner, self.width, n, rank, zero=True),
        )

    def update(self, name: str, h: torch.Tensor) -> torch.Tensor:
        rule = self.rules["shared"][name]
        inner = self.down[name](h.to(rule.dtype), rule)
        return self.up[name](self.act(name)(inner), rule).to(h.dtype)


class CompacterTuner(BottleneckTuner):
    """Adapters behind every sub-layer, with slow weights that they share."""

    method = "compacter"
    prefix = "compacter_"
    tuner_layer_cls = CompacterLayer
    uses_shared_state = True

    def places(self, model: Any) -> list[str]:
        return sub_layer_outputs(model)

    def inject_adapter(self, model: Any, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        if "compacter_rule" not in self._modules:
            self.compacter_rule = nn.ParameterDict()
        config = self.peft_config[adapter_name]
        n = config.phm_dim
        rule = torch.randn(n, n, n) / n**0.5
        self.compacter_rule[adapter_name] = nn.Parameter(rule.to(next(model.parameters()).device))
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        self._train_rules([] if config.inference_mode else self.active_adapters)

    def layer(self, target: Any, path: str) -> BottleneckLayer:
        layer = super().layer(target, path)
        assert isinstance(layer, CompacterLayer)
        layer.rules = {"shared": self.compacter_rule}
        return layer

    def _train_rules(self, names: Sequence[str]) -> None:
        for name, rule in self.compacter_rule.items():
            rule.requires_grad_(name in names)

    # The slow weights belong to no layer, so what peft does layer by layer is done for them here.

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        super().set_adapter(adapter_name, inference_mode)
        self._train_rules([] if inference_mode else self.active_adapters)

    def set_requires_grad(
        self, adapter_names: str | Sequence[str], requires_grad: bool = True
    ) -> None:
        super().set_requires_grad(adapter_names, requires_grad)
        for name in [adapter_names] if isinstance(adapter_names, str) else adapter_names:
            if name in self.compacter_rule:
                self.compacter_rule[name].requires_grad_(requires_grad)

    def _enable_adapter_layers(self, enabled: bool = True) -> None:
        super()._enable_adapter_layers(enabled)
        self._train_rules(self.active_adapters if enabled else [])

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        del self.compacter_rule[adapter_name]
