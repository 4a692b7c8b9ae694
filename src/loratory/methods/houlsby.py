"""Houlsby adapters (Houlsby et al. 2019, arXiv 1902.00751): a bottleneck behind every sub-layer.

The output h of each attention and feed-forward sub-layer becomes h + U σ(D h + d) + u, before
it is added to the residual. d, U and u start at zero. Layer norms, which the paper trains as well,
stay frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import method
from loratory.methods.bottleneck import Bottleneck, NonLinearity

__all__ = ["Houlsby"]


@method("houlsby")
@dataclass(frozen=True)
class Houlsby(Bottleneck):
    """Small networks behind every attention and feed-forward sub-layer."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 1902.00751"

    reduction_factor: float = 16.0
    """Width of the layer divided by this, rounded down, is the width of the bottleneck."""
    non_linearity: NonLinearity = "gelu"
    """What stands between the two projections."""
    target_modules: tuple[str, ...] = ("auto",)
    """Layers behind which an adapter stands; auto is the last of every sub-layer."""
