"""Prefix tuning: trained keys and values in every layer (Li and Liang 2021, arXiv 2101.00190).

A classification head is refused: encoders keep no keys and values from before the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import EVERY_BASE, Family, PeftMethod, Quantisation, method
from loratory.methods.checks import at_least_one

__all__ = ["PrefixTuning"]


@method("prefix_tuning")
@dataclass(frozen=True)
class PrefixTuning(PeftMethod):
    """Trained keys and values that every layer of the decoder attends to."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2101.00190"
    families: ClassVar[frozenset[Family]] = frozenset({"causal", "seq2seq"})
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    peft_config: ClassVar[str] = "PrefixTuningConfig"

    num_virtual_tokens: int = 20
    """Number of trained keys, and of values, in each layer."""

    def problems(self) -> list[str]:
        return at_least_one("num_virtual_tokens", self.num_virtual_tokens)
