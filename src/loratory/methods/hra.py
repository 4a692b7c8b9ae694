"""HRA: Householder reflection adaptation (Yuan et al. 2024, arXiv 2405.17484).

The weight is multiplied by a chain of r trained reflections, which is orthogonal and of low rank
away from the identity at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import at_least_one, names_layers

__all__ = ["Hra"]


@method("hra")
@dataclass(frozen=True)
class Hra(PeftMethod):
    """Reflect a layer's inputs at r trained planes."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2405.17484"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    conv1d: ClassVar[bool] = False
    rank: ClassVar[str | None] = "r"
    peft_config: ClassVar[str] = "HRAConfig"

    r: int = 8
    """Number of reflections; even, so that they begin as pairs that cancel."""
    apply_GS: bool = False  # noqa: N815 - peft's name
    """Make the planes orthogonal to each other by Gram and Schmidt."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    bias: Literal["none", "all", "hra_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        found = [*at_least_one("r", self.r), *names_layers(self.target_modules)]
        if self.r % 2:
            found.append(f"r: got {self.r}; it must be even to start at the base model.")
        return found
