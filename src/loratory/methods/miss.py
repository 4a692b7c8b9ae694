"""MiSS: matrix shard sharing (Kang and Yin 2024, arXiv 2409.15371).

The update repeats one trained matrix of r × outputs along the inputs, so that a layer needs a
single matrix and no product of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import at_least_one, names_layers, share

__all__ = ["Miss"]


@method("miss")
@dataclass(frozen=True)
class Miss(PeftMethod):
    """One small trained matrix, shared by the shards of a weight."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2409.15371"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    conv1d: ClassVar[bool] = False
    peft_config: ClassVar[str] = "MissConfig"

    r: int = 16
    """Rows of the shared matrix: a layer trains r × outputs numbers."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    miss_dropout: float = 0.0
    """Share of the update's inputs dropped in training."""
    init_weights: Literal[True, "bat", "mini"] = True
    """Form of the update: true is the plain one, bat multiplies by the weight, mini shrinks it."""
    mini_r: int = 1
    """Divides the outputs of the shared matrix with init_weights mini."""
    bias: Literal["none", "all", "miss_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        return [
            *at_least_one("r", self.r),
            *at_least_one("mini_r", self.mini_r),
            *names_layers(self.target_modules),
            *share("miss_dropout", self.miss_dropout),
        ]
