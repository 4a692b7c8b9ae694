"""Bottleneck adapters: a small network beside or behind a sub-layer, f(h) = U σ(D h + d) + u.

What Houlsby, Pfeiffer and parallel adapters share: the two projections, their start, and how
they live in peft. D is drawn as torch draws a linear layer's weight; d, U and u are zero, so that
training starts at the base model exactly. (Houlsby et al. draw both near zero.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from peft.utils import PeftType
from torch import nn
from transformers.activations import ACT2FN

from loratory.methods.bottleneck import bottleneck_of
from loratory.tuning.adapters.refusal import CannotMergeError
from loratory.tuning.adapters.structure import is_linear, is_norm, matching, sizes, unwrapped
from loratory.tuning.adapters.tuner import Layer, Tuner

__all__ = ["BottleneckConfig", "BottleneckLayer", "BottleneckTuner", "output_width"]


@dataclass
class BottleneckConfig(PeftConfig):  # type: ignore[misc]
    """What the bottleneck adapters have in common, as it stands in adapter_config.json."""

    peft_name: ClassVar[str]

    target_modules: list[str] | None = field(default_factory=lambda: ["auto"])
    modules_to_save: list[str] | None = None
    reduction_factor: float = 16.0
    non_linearity: str = "gelu"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType(self.peft_name)


def output_width(module: Any, model_width: int) -> int:
    """Return the width of what a module gives: its own where it is known, else the model's."""
    module = unwrapped(module)
    if is_linear(module):
        return sizes(module)[1]
    return int(module.weight.shape[0]) if is_norm(module) else model_width


class BottleneckLayer(Layer):
    """A module of the base model with adapters: h + f(h), where h is what the module gives.

    Several active adapters are applied one after the other.

    Args:
        base_layer: the module; where it gives a tuple, the first of it is adapted.
        prefix: of the names of its parameters, a method's own.
        width: of what it gives.
    """

    def __init__(self, base_layer: Any, prefix: str, width: int) -> None:
        super().__init__(base_layer)
        self.width = width
        self.adapter_layer_names = (f"{prefix}down", f"{prefix}up")
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ModuleDict())
        self.settings: dict[str, Any] = {}

    def update_layer(self, adapter_name: str, config: Any) -> None:
        """Add an adapter."""
        down, up = self._projections(config)
        self.down[adapter_name] = down
        self.up[adapter_name] = up
        self.settings[adapter_name] = config
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _projections(self, config: Any) -> tuple[nn.Module, nn.Module]:
        inner = bottleneck_of(self.width, config.reduction_factor)
        down, up = nn.Linear(self.width, inner), nn.Linear(inner, self.width)
        # Without d every unit is on for some inputs: with it, narrow ones may start dead.
        for start in (down.bias, up.weight, up.bias):
            nn.init.zeros_(start)
        return down, up

    @property
    def down(self) -> Any:
        return getattr(self, self.adapter_layer_names[0])

    @property
    def up(self) -> Any:
        return getattr(self, self.adapter_layer_names[1])

    def adapted_by(self) -> list[str]:
        """Return the adapters that are on and have parameters here."""
        if self.disable_adapters:
            return []
        return [name for name in self.active_adapters if name in self.down]

    def update(self, name: str, h: torch.Tensor) -> torch.Tensor:
        """Return f(h) of an adapter, in its own precision and then in that of h."""
        inner = self.down[name](h.to(self.down[name].weight.dtype))  # (..., bottleneck)
        return self.up[name](self.act(name)(inner)).to(h.dtype)

    def act(self, name: str) -> Any:
        """Return an adapter's non-linearity."""
        return ACT2FN[self.settings[name].non_linearity]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = self.base_layer(*args, **kwargs)
        h = given[0] if isinstance(given, tuple) else given
        for name in self.adapted_by():
            h = h + self.update(name, h)
        return (h, *given[1:]) if isinstance(given, tuple) else h

    def merge(self, **_: Any) -> None:
        raise CannotMergeError(
            "merge: a bottleneck adapter has a non-linearity inside, so no weights of the base "
            "model's shape equal it. Load it with PeftModel.from_pretrained instead."
        )

    def unmerge(self) -> None:
        """Do nothing: there is never anything merged."""


class BottleneckTuner(Tuner):
    """Puts a method's layers where they belong, and finds where that is."""

    tuner_layer_cls: type[BottleneckLayer] = BottleneckLayer

    def places(self, model: Any) -> list[str]:
        """Return the paths of the modules that get an adapter by `target_modules: [auto]`."""
        raise NotImplementedError

    def _prepare_model(self, peft_config: Any, model: Any) -> None:
        # Written out, the names hold wherever the adapter is loaded again.
        named = list(peft_config.target_modules)
        heads = peft_config.modules_to_save or []
        found = self.places(model) if named == ["auto"] else self.named(model, named)
        peft_config.target_modules = [
            name for name in found if not any(f".{head}." in f".{name}." for head in heads)
        ]

    def named(self, model: Any, targets: list[str]) -> list[str]:
        """Return the paths of the modules that a user asks for by name."""
        return matching(model, targets)

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: Any,
        target_name: str,
        parent: Any,
        current_key: str,
        **_: Any,
    ) -> None:
        if isinstance(target, self.tuner_layer_cls):
            target.update_layer(adapter_name, peft_config)
            return
        layer = self.layer(target, current_key)
        layer._active_adapter = adapter_name
        layer.update_layer(adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def layer(self, target: Any, _path: str) -> BottleneckLayer:
        """Return the layer that takes a module's place."""
        width = self.model.config.get_text_config().hidden_size
        return self.tuner_layer_cls(target, self.prefix, output_width(target, width))
