"""RandLoRA: full-rank updates from random bases (Albert et al. 2025, arXiv 2502.00987).

The update is a sum of frozen random low-rank matrices, each scaled by trained diagonals, enough
of them to reach full rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from loratory.methods.base import (
    EVERY_BASE,
    EVERY_FAMILY,
    Family,
    PeftMethod,
    Quantisation,
    method,
)
from loratory.methods.checks import above_zero, at_least_one, names_layers, share

__all__ = ["RandLora"]


@method("randlora")
@dataclass(frozen=True)
class RandLora(PeftMethod):
    """Trained scales of many frozen random low-rank matrices, full rank in sum."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2502.00987"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    peft_config: ClassVar[str] = "RandLoraConfig"

    r: int = 32
    """Rank of a random matrix; a smaller one means more of them, and more parameters."""
    randlora_alpha: int = 640
    """Scale of the update, divided by r."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    randlora_dropout: float = 0.0
    """Share of the update's inputs dropped in training."""
    sparse: bool = False
    """Take random matrices of -1, 0 and 1, two thirds of them 0."""
    very_sparse: bool = False
    """Take still sparser ones."""
    projection_prng_key: int = 0
    """Seed of the random matrices."""
    save_projection: bool = True
    """Save the random matrices too: larger files that do not hang on a random generator."""
    bias: Literal["none", "all", "randlora_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        found = [
            *at_least_one("r", self.r),
            *above_zero("randlora_alpha", self.randlora_alpha),
            *names_layers(self.target_modules),
            *share("randlora_dropout", self.randlora_dropout),
        ]
        if self.sparse and self.very_sparse:
            found.append("very_sparse: got true with sparse; choose one of them.")
        return found
