"""VeRA: vector-based random matrix adaptation (Kopiczko et al. 2023, arXiv 2310.11454).

W x + b ∘ (B (d ∘ (A x))): A and B are random, frozen and shared by all layers; trained are the
vectors d (r numbers a layer) and b (one number an output), b from zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import at_least_one, names_layers, share

__all__ = ["Vera"]


@method("vera")
@dataclass(frozen=True)
class Vera(PeftMethod):
    """Two trained vectors a layer around random matrices that all layers share."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2310.11454"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    peft_config: ClassVar[str] = "VeraConfig"

    r: int = 256
    """Rank of the shared matrices; large, since a layer trains only r + outputs numbers."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    vera_dropout: float = 0.0
    """Share of the update's inputs dropped in training."""
    d_initial: float = 0.1
    """Start of the vector d."""
    projection_prng_key: int = 0
    """Seed of the shared matrices."""
    save_projection: bool = True
    """Save the shared matrices too: larger files that do not hang on a random generator."""
    bias: Literal["none", "all", "vera_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        return [
            *at_least_one("r", self.r),
            *names_layers(self.target_modules),
            *share("vera_dropout", self.vera_dropout),
        ]
