"""Scaled parallel adapters (He et al. 2021, arXiv 2110.04366): a bottleneck beside a sub-layer.

The feed-forward sub-layer FFN(x) becomes FFN(x) + s (U σ(D x + d) + u), with d, U and u zero
at the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from loratory.methods.base import EVERY_FAMILY, Family, Method, method
from loratory.methods.bottleneck import (
    NonLinearity,
    attach_ours,
    bottleneck_parameters,
    problems_of,
)
from loratory.methods.checks import above_zero

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["Parallel"]


@method("parallel")
@dataclass(frozen=True)
class Parallel(Method):
    """Small networks beside every feed-forward sub-layer, on its input."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2110.04366"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = False
    defined_in: ClassVar[str] = "loratory.tuning.adapters"

    reduction_factor: float = 2.0
    """Width of the layer divided by this, rounded down, is the width of the bottleneck."""
    non_linearity: NonLinearity = "relu"
    """What stands between the two projections."""
    scaling: float = 4.0
    """Factor on what the adapter gives: s in the paper."""
    target_modules: tuple[str, ...] = ("auto",)
    """Last layers of the feed-forward sub-layers that get an adapter; auto is all of them."""

    def problems(self) -> list[str]:
        return [
            *problems_of(self.reduction_factor, self.target_modules),
            *above_zero("scaling", self.scaling),
        ]

    def count(self, widths: Sequence[int]) -> int:
        """Return the trainable parameters for adapters on layers of these widths."""
        return sum(bottleneck_parameters(width, self.reduction_factor) for width in widths)

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        return attach_ours(self, model, family, seed, heads)
