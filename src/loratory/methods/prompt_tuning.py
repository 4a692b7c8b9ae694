"""Prompt tuning: trained vectors before the input (Lester et al. 2021, arXiv 2104.08691).

A classification head is refused: it reads the first token, or the last, and the trained vectors
would take the first one's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import EVERY_BASE, Family, PeftMethod, Quantisation, method
from loratory.methods.checks import at_least_one

__all__ = ["PromptTuning"]


@method("prompt_tuning")
@dataclass(frozen=True)
class PromptTuning(PeftMethod):
    """Trained vectors stand before the input's; the model itself stays as it is."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2104.08691"
    families: ClassVar[frozenset[Family]] = frozenset({"causal", "seq2seq"})
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    peft_config: ClassVar[str] = "PromptTuningConfig"

    num_virtual_tokens: int = 20
    """Number of trained vectors; each is as wide as the model."""

    def problems(self) -> list[str]:
        return at_least_one("num_virtual_tokens", self.num_virtual_tokens)
