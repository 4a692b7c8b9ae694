"""IA3 for one kind of layer, attached through peft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from loratory.methods.base import Family, attach_peft, method


@method("scaled")
@dataclass(frozen=True)
class Scaled:
    """Scale the outputs of some layers by trained vectors."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2205.05638"
    families: ClassVar[frozenset[Family]] = frozenset({"causal"})

    target_modules: tuple[str, ...] = field(default_factory=lambda: ("k_proj", "v_proj"))
    """Names of the layers that are scaled."""
    feedforward_modules: tuple[str, ...] = ()
    # A field without a sentence is poor manners, and no reason to fall over.

    def problems(self) -> list[str]:
        return [] if self.target_modules else ["target_modules: empty; name layers."]

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> Any:
        from peft import IA3Config

        return attach_peft(IA3Config, self, model, family, seed, heads)
