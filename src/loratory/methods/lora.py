"""LoRA: low-rank adaptation of large language models (Hu et al. 2021, arXiv 2106.09685).

A frozen weight W gets a trainable update of low rank: W x + (alpha / r) B A x, with A drawn
at random and B zero, so that training starts at the base model exactly.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from loratory.errors import ModelError
from loratory.methods.base import (
    EVERY_BASE,
    EVERY_FAMILY,
    Family,
    PeftMethod,
    Quantisation,
    TrainingHooks,
    method,
)

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["Lora"]

SEEN = 64
"""Batches that EVA looks at."""


@method("lora")
@dataclass(frozen=True)
class Lora(PeftMethod):
    """Low-rank adaptation; DoRA, rsLoRA, LoRA+, PiSSA, CorDA and other starts are options."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2106.09685"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    rank: ClassVar[str | None] = "r"
    peft_config: ClassVar[str] = "LoraConfig"

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
    init_lora_weights: Literal[
        True,
        "gaussian",
        "orthogonal",
        "eva",
        "pissa",
        "pissa_niter_4",
        "pissa_niter_16",
        "olora",
        "corda",
        "loftq",
    ] = True
    """Start of A and B: true is the paper's; eva takes A from training rows (arXiv 2410.07170),
    pissa (arXiv 2404.02948) and olora (arXiv 2406.01775) both from the weights, corda from what
    matters least in them to general texts (arXiv 2406.05223), loftq from what quantising took from
    them (arXiv 2310.08659)."""
    loraplus_lr_ratio: float = field(default=1.0, metadata={"peft": False})
    """Learning rate of B over that of A: LoRA+ takes 16 or so (arXiv 2402.12354)."""

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
        if not self.loraplus_lr_ratio > 0:
            found.append(f"loraplus_lr_ratio: got {self.loraplus_lr_ratio}; it must be above 0.")
        if self.init_lora_weights == "orthogonal" and self.r % 2:
            found.append(f"r: got {self.r}; with init_lora_weights orthogonal it must be even.")
        if self.use_dora and self._start() is not None:
            found.append(
                f"use_dora: does not go with init_lora_weights {self.init_lora_weights}, whose "
                "start could not be told from the magnitudes. Leave one of them out."
            )
        return found

    def unfit(self, quantization: str) -> str:
        if self.init_lora_weights == "loftq" and quantization == "none":
            return (
                "method.init_lora_weights: loftq makes up for quantising, and the base model is "
                "not quantised. Set model.quantization to 4bit or 8bit, or leave it at true."
            )
        return super().unfit(quantization)

    def _start(self) -> str | None:
        """Return the start that is taken from the weights, if one is."""
        start = str(self.init_lora_weights)
        return start if start.startswith(("pissa", "olora", "corda", "loftq")) else None

    def fill(self, model: Any) -> dict[str, Any]:  # noqa: ARG002
        # These starts begin as the paper's; they are set where weights, rows or texts are at hand.
        ours = self.init_lora_weights == "eva" or self._start() is not None
        return {"init_lora_weights": True} if ours else {}

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        if self.init_lora_weights == "eva" and family != "causal":
            raise ModelError(
                f"method.init_lora_weights: eva starts decoder-only models alone, this is a "
                f"{family} one. Leave it at true."
            )
        attached = super().attach(model, family, seed, heads)
        start = self._start()
        if start == "loftq":
            _starts().compensate(attached)
        elif start == "corda":
            _starts().hold(attached)  # the texts come before the first step
        elif start is not None:
            _starts().split(attached, start)
        return attached

    def training(self, model: Any) -> TrainingHooks:
        faster = {} if self.loraplus_lr_ratio == 1 else {".lora_B.": self.loraplus_lr_ratio}
        start = self._start()
        taken_out = start not in (None, "loftq")
        on_texts = start == "corda"
        return TrainingHooks(
            learning_rates=faster,
            start=partial(_from_rows, model) if self.init_lora_weights == "eva" else None,
            start_on_texts=partial(_from_texts, model) if on_texts else None,
            finish=partial(_starts().settle, model) if taken_out else None,
            # The others are made of the weights alone, and made again on a resume.
            state=partial(_starts().held, model) if on_texts else None,
        )


def _starts() -> Any:
    # By name, since a method stands below tuning.
    return importlib.import_module("loratory.tuning.starts")


def _from_texts(model: Any, batches: Iterable[dict[str, Any]]) -> None:
    importlib.import_module("loratory.tuning.corda").preserve(model, batches)


def _from_rows(model: Any, batches: Iterable[dict[str, Any]]) -> None:
    """Set A to the main directions of each layer's inputs: EVA (Paischer et al. 2024).

    The ranks stay equal (its ρ is 1), so that the parameters counted before are those trained.
    At most `SEEN` batches are looked at.
    """
    import torch
    from peft import EvaConfig, initialize_lora_eva_weights

    config = model.peft_config[model.active_adapter]
    config.init_lora_weights, config.eva_config = "eva", EvaConfig(rho=1.0)

    def forward(inner: Any, inputs: dict[str, Any]) -> Any:
        with torch.no_grad():
            return inner(input_ids=inputs["input_ids"], use_cache=False)

    try:
        initialize_lora_eva_weights(
            model,
            [
                {key: batch[key] for key in ("input_ids", "labels")}
                for batch in islice(batches, SEEN)
            ],
            forward_fn=forward,
            adapter_name=model.active_adapter,
            show_progress_bar=False,
        )
    finally:
        # The start is over: as saved and loaded it is an adapter like any other.
        config.init_lora_weights, config.eva_config = True, None
