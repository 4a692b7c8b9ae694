"""BitFit (Ben Zaken et al. 2021, arXiv 2106.10199): only the bias terms are trained.

GPT-2, BERT and BART have them. Llama and T5 have none; their linear layers are given bias terms
of zero, as in LLaMA-Adapter V2 (Gao et al. 2023, arXiv 2304.15010), unless `missing` says no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from loratory.methods.base import method
from loratory.methods.ours import OurMethod

__all__ = ["BitFit"]


@method("bitfit")
@dataclass(frozen=True)
class BitFit(OurMethod):
    """Train the bias terms alone."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2106.10199"
    merges: ClassVar[bool] = True

    missing: Literal["add", "leave"] = "add"
    """Whether linear layers of the sub-layers that have no bias term are given one of zero."""

    def problems(self) -> list[str]:
        return []

    def count(self, widths: Sequence[int]) -> int:
        """Return the trainable parameters for bias terms of these widths: their sum."""
        return sum(widths)
