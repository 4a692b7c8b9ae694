"""Houlsby adapters (Houlsby et al. 2019, arXiv 1902.00751): a bottleneck behind every sub-layer.

The output h of each attention and feed-forward sub-layer becomes h + U σ(D h + d) + u, before
it is added to the residual. d, U and u start at zero. Layer norms, which the paper trains as well,
stay frozen.
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

__all__ = ["Houlsby"]


@method("houlsby")
@dataclass(frozen=True)
class Houlsby(Method):
    """Small networks behind every attention and feed-forward sub-layer."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 1902.00751"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = False
    defined_in: ClassVar[str] = "loratory.tuning.adapters"

    reduction_factor: float = 16.0
    """Width of the layer divided by this, rounded down, is the width of the bottleneck."""
    non_linearity: NonLinearity = "gelu"
    """What stands between the two projections."""
    target_modules: tuple[str, ...] = ("auto",)
    """Layers behind which an adapter stands; auto is the last of every sub-layer."""

    def problems(self) -> list[str]:
        return problems_of(self.reduction_factor, self.target_modules)

    def count(self, widths: Sequence[int]) -> int:
        """Return the trainable parameters for adapters on layers of these widths."""
        return sum(bottleneck_parameters(width, self.reduction_factor) for width in widths)

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        return attach_ours(self, model, family, seed, heads)
