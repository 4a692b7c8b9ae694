"""Layer-wise full tuning: the last layers of a model, or named modules, are trained whole.

Lee, Tang and Lin (2019, arXiv 1911.03090) tune the last layers and freeze the ones before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from loratory.errors import ModelError
from loratory.tuning.adapters.copies import Chosen, CopyConfig, CopyTuner, with_tied
from loratory.tuning.adapters.structure import blocks, matching

__all__ = ["LayerwiseConfig", "LayerwiseTuner"]


@dataclass
class LayerwiseConfig(CopyConfig):
    """Settings of layer-wise tuning."""

    peft_name: ClassVar[str] = "LAYERWISE"

    num_layers: int = 2
    trained_modules: list[str] | None = None


class LayerwiseTuner(CopyTuner):
    """Trains whole layers."""

    method = "layerwise"
    prefix = "layerwise_copy_"

    def choose(self, model: Any, config: Any) -> Chosen:
        if config.trained_modules:
            paths = matching(model, list(config.trained_modules))
        else:
            paths = _last(model, config.num_layers)
        modules = [model.get_submodule(path) for path in paths]
        return with_tied(model, {id(p) for module in modules for p in module.parameters()})


def _last(model: Any, number: int) -> list[str]:
    """Return the paths of the last layers of each stack: an encoder's and a decoder's."""
    stacks: dict[str, list[str]] = {}
    for block in blocks(model):
        stacks.setdefault(block.name.rpartition(".")[0], []).append(block.name)
    shortest = min(map(len, stacks.values()), default=0)
    if shortest < number:
        raise ModelError(
            f"method.num_layers: got {number}; this model has {shortest} layers. Choose at most "
            "as many, or name modules in method.target_modules."
        )
    return [name for names in stacks.values() for name in names[-number:]]
