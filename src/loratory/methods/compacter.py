"""Compacter (Karimi Mahabadi et al. 2021, arXiv 2106.04647): adapters of Kronecker products.

Behind every sub-layer stands an adapter whose projections are sums of n Kronecker products
A ⊗ (s t). The n × n matrices A are shared by the whole model, s and t are each layer's own and
of low rank. t of the upper projections and all biases start at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import method
from loratory.methods.bottleneck import Bottleneck, NonLinearity, multiple_below
from loratory.methods.checks import at_least_one

__all__ = ["Compacter"]


@method("compacter")
@dataclass(frozen=True)
class Compacter(Bottleneck):
    """Houlsby's adapters made of Kronecker products of low rank: a fraction of their parameters."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2106.04647"

    reduction_factor: float = 32.0
    """Width of the layer divided by this, down to a multiple of phm_dim, is the bottleneck's."""
    non_linearity: NonLinearity = "gelu"
    """What stands between the two projections."""
    phm_dim: int = 4
    """Number and size of the shared matrices: n in the paper; it must divide the width."""
    phm_rank: int = 1
    """Rank of each layer's own matrices."""
    target_modules: tuple[str, ...] = ("auto",)
    """Layers behind which an adapter stands; auto is the last of every sub-layer."""

    def problems(self) -> list[str]:
        return [
            *super().problems(),
            *at_least_one("phm_dim", self.phm_dim),
            *at_least_one("phm_rank", self.phm_rank),
        ]

    def count(self, widths: Sequence[int]) -> int:
        """Return the trainable parameters for adapters on layers of these widths.

        An adapter has 2 rank (d + m) in s and t, and biases of m + d; the model has n³ in A.
        """
        n, total = self.phm_dim, self.phm_dim**3
        for width in widths:
            inner = multiple_below(width, self.reduction_factor, n)
            total += (2 * self.phm_rank + 1) * (width + inner)
        return total
