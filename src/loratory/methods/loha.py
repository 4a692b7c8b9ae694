"""LoHa: low-rank Hadamard products (FedPara, Hyeon-Woo et al. 2021, arXiv 2108.06098).

The update is (B1 A1) ∘ (B2 A2), whose rank can reach r² with 2 r (inputs + outputs) parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import above_zero, at_least_one, names_layers, share

__all__ = ["LoHa"]


@method("loha")
@dataclass(frozen=True)
class LoHa(PeftMethod):
    """An update that is the elementwise product of two low-rank ones."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2108.06098"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    conv1d: ClassVar[bool] = False
    rank: ClassVar[str | None] = "r"
    peft_config: ClassVar[str] = "LoHaConfig"

    r: int = 8
    """Rank of each of the two factors."""
    alpha: float = 8.0
    """Scale of the update, divided by r."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    rank_dropout: float = 0.0
    """Share of the ranks dropped in training."""
    module_dropout: float = 0.0
    """Share of the layers whose update is dropped in a step."""

    def problems(self) -> list[str]:
        return [
            *at_least_one("r", self.r),
            *above_zero("alpha", self.alpha),
            *names_layers(self.target_modules),
            *share("rank_dropout", self.rank_dropout),
            *share("module_dropout", self.module_dropout),
        ]
