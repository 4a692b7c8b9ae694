"""BitFit (Ben Zaken et al. 2021, arXiv 2106.10199): only the bias terms are trained.

GPT-2, BERT and BART have them. Llama and T5 have none; their linear layers are given bias terms
of zero, as in LLaMA-Adapter V2 (Gao et al. 2023, arXiv 2304.15010), unless `missing` says no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from loratory.methods.base import EVERY_FAMILY, Family, Method, method
from loratory.methods.bottleneck import attach_ours

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["BitFit"]


@method("bitfit")
@dataclass(frozen=True)
class BitFit(Method):
    """Train the bias terms alone."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2106.10199"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    defined_in: ClassVar[str] = "loratory.tuning.adapters"

    missing: Literal["add", "leave"] = "add"
    """Whether linear layers of the sub-layers that have no bias term are given one of zero."""

    def problems(self) -> list[str]:
        return []

    def count(self, widths: Sequence[int]) -> int:
        """Return the trainable parameters for bias terms of these widths: their sum."""
        return sum(widths)

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        return attach_ours(self, model, family, seed, heads)
