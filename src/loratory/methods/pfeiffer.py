"""Pfeiffer adapters (Pfeiffer et al. 2020, arXiv 2005.00247): a bottleneck behind every layer.

One adapter a transformer layer, which sees the layer's result: half of Houlsby's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import method
from loratory.methods.bottleneck import Bottleneck, NonLinearity

__all__ = ["Pfeiffer"]


@method("pfeiffer")
@dataclass(frozen=True)
class Pfeiffer(Bottleneck):
    """Small networks, one behind every transformer layer."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2005.00247"

    reduction_factor: float = 16.0
    """Width of the layer divided by this, rounded down, is the width of the bottleneck."""
    non_linearity: NonLinearity = "relu"
    """What stands between the two projections."""
    target_modules: tuple[str, ...] = ("auto",)
    """Modules behind which an adapter stands; auto is each layer, or the norm that ends it."""
