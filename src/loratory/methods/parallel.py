"""Scaled parallel adapters (He et al. 2021, arXiv 2110.04366): a bottleneck beside a sub-layer.

The feed-forward sub-layer FFN(x) becomes FFN(x) + s (U σ(D x + d) + u), with d, U and u zero
at the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import method
from loratory.methods.bottleneck import Bottleneck, NonLinearity
from loratory.methods.checks import above_zero

__all__ = ["Parallel"]


@method("parallel")
@dataclass(frozen=True)
class Parallel(Bottleneck):
    """Small networks beside every feed-forward sub-layer, on its input."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2110.04366"

    reduction_factor: float = 2.0
    """Width of the layer divided by this, rounded down, is the width of the bottleneck."""
    non_linearity: NonLinearity = "relu"
    """What stands between the two projections."""
    scaling: float = 4.0
    """Factor on what the adapter gives: s in the paper."""
    target_modules: tuple[str, ...] = ("auto",)
    """Last layers of the feed-forward sub-layers that get an adapter; auto is all of them."""

    def problems(self) -> list[str]:
        return [*super().problems(), *above_zero("scaling", self.scaling)]
