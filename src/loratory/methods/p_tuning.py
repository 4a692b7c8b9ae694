"""P-tuning: vectors before the input, made by a small network (Liu et al. 2021, arXiv 2103.10385).

Saved is what the network makes, as in prompt tuning. A classification head is refused: it reads
the first token, or the last, and the trained vectors would take the first one's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from loratory.methods.base import (
    EVERY_BASE,
    Family,
    PeftMethod,
    Quantisation,
    TrainingHooks,
    method,
)
from loratory.methods.checks import at_least_one, share

__all__ = ["PTuning"]


@method("p_tuning")
@dataclass(frozen=True)
class PTuning(PeftMethod):
    """Vectors before the input's that a trained network makes."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2103.10385"
    families: ClassVar[frozenset[Family]] = frozenset({"causal", "seq2seq"})
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    peft_config: ClassVar[str] = "PromptEncoderConfig"

    num_virtual_tokens: int = 20
    """Number of vectors; each is as wide as the model."""
    encoder_reparameterization_type: Literal["MLP", "LSTM"] = "MLP"
    """Kind of the network."""
    encoder_hidden_size: int = 128
    """Width of the network."""
    encoder_num_layers: int = 2
    """Layers of an LSTM; an MLP has three."""
    encoder_dropout: float = 0.0
    """Share dropped between the layers of an LSTM."""

    def problems(self) -> list[str]:
        return [
            *at_least_one("num_virtual_tokens", self.num_virtual_tokens),
            *at_least_one("encoder_hidden_size", self.encoder_hidden_size),
            *at_least_one("encoder_num_layers", self.encoder_num_layers),
            *share("encoder_dropout", self.encoder_dropout),
        ]

    def training(self, model: Any) -> TrainingHooks:  # noqa: ARG002
        # A saved adapter holds the vectors, from which the network cannot be had back.
        return TrainingHooks(state=list)
