"""Activated LoRA (Greenewald et al. 2025, arXiv 2504.12397): an update that begins in the prompt.

The update acts from an invocation sequence on, such as the tokens that begin the model's turn.
What stands before is computed by the base model alone, so its key-value cache can be shared by
the base model and many adapters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from loratory.errors import DataError
from loratory.methods.base import Family, PeftMethod, Quantisation, TrainingHooks, method
from loratory.methods.checks import above_zero, at_least_one, names_layers, share

__all__ = ["ALora"]


@method("alora")
@dataclass(frozen=True)
class ALora(PeftMethod):
    """LoRA that acts from an invocation sequence on: what stands before can be cached."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2504.12397"
    families: ClassVar[frozenset[Family]] = frozenset({"causal"})
    merges: ClassVar[bool] = False
    # peft adds the update in place, which a result of LLM.int8() does not allow.
    quantised: ClassVar[frozenset[Quantisation]] = frozenset({"4bit"})
    rank: ClassVar[str | None] = "r"
    peft_config: ClassVar[str] = "LoraConfig"

    alora_invocation_tokens: tuple[int, ...] = (0,)
    """Token ids from which on the update acts; they must occur in every prompt."""
    r: int = 32
    """Rank of the update; the paper finds that it wants higher ones than LoRA."""
    lora_alpha: float = 64.0
    """Scale of the update, divided by r."""
    lora_dropout: float = 0.0
    """Share of the update's inputs dropped in training."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""

    def problems(self) -> list[str]:
        found = [
            *at_least_one("r", self.r),
            *above_zero("lora_alpha", self.lora_alpha),
            *share("lora_dropout", self.lora_dropout),
            *names_layers(self.target_modules),
        ]
        if not self.alora_invocation_tokens:
            found.append(
                "alora_invocation_tokens: empty; give the token ids from which on the update acts, "
                "such as those that begin the answer's turn in the model's chat template."
            )
        elif min(self.alora_invocation_tokens) < 0:
            found.append("alora_invocation_tokens: token ids must not be below 0.")
        return found

    def training(self, model: Any) -> TrainingHooks:  # noqa: ARG002
        return TrainingHooks(start=partial(_all_invoked, self.alora_invocation_tokens))


def _all_invoked(tokens: Sequence[int], batches: Iterable[dict[str, Any]]) -> None:
    """Refuse rows whose prompt lacks the invocation, or whose answer holds it.

    Without it the update would never act on a row. peft begins at its last occurrence, which in
    training must be where it is in prediction.

    Raises:
        DataError: the sentence shows such a row's last prompt tokens.
    """
    n, wanted = len(tokens), list(tokens)
    for batch in batches:
        for row, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            # Label t is the token after input t: the first stands beside the prompt's last token.
            prompt = next(i for i, label in enumerate(labels) if label >= 0) + 1
            found = [i for i in range(len(row) - n + 1) if row[i : i + n] == wanted]
            if not found or found[-1] + n > prompt:
                where = "occur in the answer" if found else "do not occur in the prompt"
                raise DataError(
                    f"method.alora_invocation_tokens: {wanted} {where} of a training row, whose "
                    f"prompt ends in the tokens {row[max(prompt - 12, 0) : prompt]}. Give tokens "
                    "that every prompt has and no answer."
                )
