"""BitFit (Ben Zaken et al. 2021, arXiv 2106.10199): only bias terms are trained.

Llama, T5 and their kin have no bias terms. With `missing: add` the linear layers of their
sub-layers get one of zeros, as in LLaMA-Adapter V2 (Gao et al. 2023, arXiv 2304.15010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from loratory.errors import ModelError
from loratory.tuning.adapters.copies import Chosen, CopyConfig, CopyLayer, CopyTuner
from loratory.tuning.adapters.structure import blocks, walk

__all__ = ["BitFitConfig", "BitFitTuner"]

FLAGS = ("attention_bias", "mlp_bias")
"""What a Llama's configuration says of bias terms in its two kinds of sub-layer."""


@dataclass
class BitFitConfig(CopyConfig):
    """Settings of BitFit."""

    peft_name: ClassVar[str] = "BITFIT"

    missing: str = "add"


class BitFitTuner(CopyTuner):
    """Trains bias terms."""

    method = "bitfit"
    prefix = "bitfit_copy_"

    def choose(self, model: Any, config: Any) -> Chosen:
        found: Chosen = {
            path: ("bias",)
            for path, module in walk(model)
            if isinstance(module._parameters.get("bias"), nn.Parameter)
        }
        if config.missing == "add":
            for block in blocks(model):
                for path, module in walk(block.module, block.name):
                    if isinstance(module, nn.Linear) and module.bias is None:
                        found[path] = ("bias",)
        if not found:
            raise ModelError(
                "method.missing: this model has no bias terms to train. Set missing: add, which "
                "gives its linear layers bias terms of zero, or take another method."
            )
        return found

    def _unload_and_optionally_merge(self, merge: bool = True, *args: Any, **kwargs: Any) -> Any:
        layers = [module for module in self.model.modules() if isinstance(module, CopyLayer)]
        added = merge and any(layer.added() for layer in layers)
        model = super()._unload_and_optionally_merge(merge, *args, **kwargs)
        if added and all(hasattr(model.config, flag) for flag in FLAGS):
            for flag in FLAGS:
                setattr(model.config, flag, True)
        elif added:
            model.save_pretrained = _refuse_saving
        return model


def _refuse_saving(*_: Any, **__: Any) -> None:
    raise ModelError(
        "merge: the merged model has bias terms that BitFit added, and its architecture has no "
        "place for them on disk. Save the adapter, and load it with PeftModel.from_pretrained."
    )
