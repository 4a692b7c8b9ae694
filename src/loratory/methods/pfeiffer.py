"""Pfeiffer adapters (Pfeiffer et al. 2020, arXiv 2005.00247): a bottleneck behind every layer.

One adapter a transformer layer, which sees the layer's result: half of Houlsby's.
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

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["Pfeiffer"]


@method("pfeiffer")
@dataclass(frozen=True)
class Pfeiffer(Method):
    """Small networks, one behind every transformer layer."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2005.00247"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = False
    defined_in: ClassVar[str] = "loratory.tuning.adapters"

    reduction_factor: float = 16.0
    """Width of the layer divided by this, rounded down, is the width of the bottleneck."""
    non_linearity: NonLinearity = "relu"
    """What stands between the two projections."""
    target_modules: tuple[str, ...] = ("auto",)
    """Modules behind which an adapter stands; auto is each layer, or the norm that ends it."""

    def problems(self) -> list[str]:
        return problems_of(self.reduction_factor, self.target_modules)

    def count(self, widths: Sequence[int]) -> int:
        """Return the trainable parameters for adapters on layers of these widths."""
        return sum(bottleneck_parameters(width, self.reduction_factor) for width in widths)

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        return attach_ours(self, model, family, seed, heads)
