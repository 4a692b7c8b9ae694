"""LN tuning: training the normalisation layers alone (Zhao et al. 2023, arXiv 2312.11420)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from loratory.methods.base import (
    EVERY_BASE,
    EVERY_FAMILY,
    Family,
    PeftMethod,
    Quantisation,
    method,
)

__all__ = ["LnTuning"]


@method("ln_tuning")
@dataclass(frozen=True)
class LnTuning(PeftMethod):
    """Train the scales and shifts of the normalisation layers, and nothing beside."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2312.11420"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    peft_config: ClassVar[str] = "LNTuningConfig"

    target_modules: tuple[str, ...] = ()
    """Names of the layers that are trained; empty takes every normalisation layer."""

    def problems(self) -> list[str]:
        return []

    def fill(self, model: Any) -> dict[str, Any]:
        if self.target_modules:
            return {}
        found = {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if type(module).__name__.endswith("Norm")
        }
        return {"target_modules": sorted(found)}
