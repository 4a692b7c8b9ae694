"""Trainable tokens: some rows of the embedding, and nothing beside (peft's own method).

For tokens that were added to a vocabulary, or that are to mean something new. A classification
head is refused: peft would leave it as random as it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from loratory.errors import ModelError
from loratory.methods.base import EVERY_BASE, Family, PeftMethod, Quantisation, method

__all__ = ["TrainableTokens"]


@method("trainable_tokens")
@dataclass(frozen=True)
class TrainableTokens(PeftMethod):
    """Train the embeddings of a few tokens."""

    name: ClassVar[str]
    paper: ClassVar[str] = "peft's `trainable_tokens`"
    families: ClassVar[frozenset[Family]] = frozenset({"causal", "seq2seq"})
    merges: ClassVar[bool] = True
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    peft_config: ClassVar[str] = "TrainableTokensConfig"

    token_indices: tuple[int, ...] = (0,)
    """Numbers of the tokens in the vocabulary."""

    def problems(self) -> list[str]:
        found = [] if self.token_indices else ["token_indices: empty; give the tokens' numbers."]
        if any(index < 0 for index in self.token_indices):
            found.append(f"token_indices: got {min(self.token_indices)}; none is below 0.")
        if len(set(self.token_indices)) < len(self.token_indices):
            found.append("token_indices: a number stands there twice; give each once.")
        return found

    def fill(self, model: Any) -> dict[str, Any]:
        rows = model.get_input_embeddings().weight.shape[0]
        if max(self.token_indices) >= rows:
            raise ModelError(
                f"method.token_indices: {max(self.token_indices)} is beyond this model's "
                f"vocabulary, whose last number is {rows - 1}."
            )
        return {}
