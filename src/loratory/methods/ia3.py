"""(IA)³: few-shot fine-tuning by scaling activations (Liu et al. 2022, arXiv 2205.05638).

Keys, values and the inputs of the feed-forward's last layer are each multiplied by a trained
vector that starts at one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from loratory.errors import ModelError
from loratory.methods.base import (
    EVERY_BASE,
    EVERY_FAMILY,
    Family,
    PeftMethod,
    Quantisation,
    method,
    target_names,
)

__all__ = ["Ia3"]

BEYOND_PEFT = {"distilbert": (("k_lin", "v_lin", "lin2"), ("lin2",))}
"""Keys, values and feed-forward of architectures that peft has no default for."""


@method("ia3")
@dataclass(frozen=True)
class Ia3(PeftMethod):
    """Scale keys, values and feed-forward activations by trained vectors: the fewest parameters."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2205.05638"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    peft_config: ClassVar[str] = "IA3Config"

    target_modules: tuple[str, ...] = ()
    """Names of the layers that are scaled; empty takes the architecture's own, as peft has them."""
    feedforward_modules: tuple[str, ...] = ()
    """Those among them whose inputs are scaled rather than their outputs."""

    def problems(self) -> list[str]:
        stray = [name for name in self.feedforward_modules if name not in self.target_modules]
        if not stray:
            return []
        return [f"feedforward_modules: {', '.join(stray)} is not among target_modules; add it."]

    def fill(self, model: Any) -> dict[str, Any]:
        from peft.utils import (
            TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEEDFORWARD,
        )
        from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as TARGETS

        if self.target_modules:
            return {}
        kind = model.config.get_text_config().model_type
        known = {name: (TARGETS[name], FEEDFORWARD[name]) for name in FEEDFORWARD} | BEYOND_PEFT
        if kind not in known:
            raise ModelError(
                f"method.target_modules: no default for {kind} models is known; name the layers of "
                f"keys, values and feed-forward. Available: {', '.join(target_names(model))}."
            )
        targets, feedforward = known[kind]
        return {"target_modules": list(targets), "feedforward_modules": list(feedforward)}
