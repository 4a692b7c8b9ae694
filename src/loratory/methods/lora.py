"""LoRA: low-rank adaptation of large language models (Hu et al. 2021, arXiv 2106.09685).

A frozen weight W gets a trainable update of low rank: W x + (alpha / r) B A x, with A drawn
at random and B zero, so that training starts at the base model exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from loratory.methods.base import Family, attach_peft, method

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["Lora"]


@method("lora")
@dataclass(frozen=True)
class Lora:
    """Low-rank adaptation; DoRA and rsLoRA are options of it, as in peft."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2106.09685"
    families: ClassVar[frozenset[Family]] = frozenset({"causal", "seq2seq", "classifier"})

    r: int = 8
    """Rank of the update: trainable parameters and capacity grow with it."""
    lora_alpha: float = 16.0
    """Scale of the update, divided by r (by its square root with use_rslora)."""
    lora_dropout: float = 0.0
    """Share of the update's inputs dropped in training."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(r), which keeps high ranks trainable (arXiv 2312.03732)."""
    use_dora: bool = False
    """Train magnitude and direction apart: DoRA (arXiv 2402.09353)."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        found = []
        if self.r < 1:
            found.append(f"r: got {self.r}; the rank must be at least 1.")
        if not self.lora_alpha > 0:
            found.append(f"lora_alpha: got {self.lora_alpha}; it must be above 0.")
        if not 0 <= self.lora_dropout < 1:
            found.append(f"lora_dropout: got {self.lora_dropout}; it must be in [0, 1).")
        if not self.target_modules:
            found.append("target_modules: empty; name layers, or say [all-linear].")
        return found

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        from peft import LoraConfig

        return attach_peft(LoraConfig, self, model, family, seed, heads)
