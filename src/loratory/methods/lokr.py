"""LoKr: low-rank Kronecker products (LyCORIS, Yeh et al. 2023, arXiv 2309.14859).

The update is C ⊗ (B A): a small full matrix times, in Kronecker's sense, a low-rank one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import above_zero, at_least_one, names_layers, share

__all__ = ["LoKr"]


@method("lokr")
@dataclass(frozen=True)
class LoKr(PeftMethod):
    """An update that is a Kronecker product: very few parameters, and full rank within reach."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2309.14859"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    conv1d: ClassVar[bool] = False
    peft_config: ClassVar[str] = "LoKrConfig"

    r: int = 8
    """Rank of the larger factor, which is kept whole where it is smaller than that."""
    alpha: float = 8.0
    """Scale of the update, divided by r."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    rank_dropout: float = 0.0
    """Share of the ranks dropped in training."""
    module_dropout: float = 0.0
    """Share of the layers whose update is dropped in a step."""
    decompose_both: bool = False
    """Give the smaller factor a low rank as well."""
    decompose_factor: int = -1
    """Size of the smaller factor; -1 makes both as equal as the layer allows."""

    def problems(self) -> list[str]:
        found = [
            *at_least_one("r", self.r),
            *above_zero("alpha", self.alpha),
            *names_layers(self.target_modules),
            *share("rank_dropout", self.rank_dropout),
            *share("module_dropout", self.module_dropout),
        ]
        if self.decompose_factor != -1 and self.decompose_factor < 1:
            found.append(
                f"decompose_factor: got {self.decompose_factor}; it must be -1 or at least 1."
            )
        return found
