"""What every method of ours does alike in peft."""

from __future__ import annotations

from typing import Any, ClassVar

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn

__all__ = ["Layer", "Tuner"]


class Layer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """Stands in the place of a module of the base model, which it holds as `base_layer`."""

    def __init__(self, base_layer: Any) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.adapter_layer_names: tuple[str, ...] = ()
        self.merged_adapters: list[str] = []

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: Any = None) -> None:
        # peft's own would also round the adapter to the base model's precision.
        where = device or next(self.base_layer.parameters()).device
        for name in self.adapter_layer_names:
            held = getattr(self, name)
            if adapter_name in held and not any(p.is_meta for p in held.parameters()):
                held[adapter_name] = held[adapter_name].to(where)

    def __getattr__(self, name: str) -> Any:
        # The model around it may ask for what only the module itself has.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_layer"), name)


class Tuner(BaseTuner):  # type: ignore[misc]
    """Puts a method's layers in the place of modules, and takes them out again."""

    method: ClassVar[str]
    """The name of the method in peft and in a recipe."""
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def _replace_module(self, parent: Any, child_name: str, new_module: Any, child: Any) -> None:
        if isinstance(new_module, BaseTunerLayer):
            super()._replace_module(parent, child_name, new_module, child)
        else:
            # peft expects a weight of it, which a whole transformer layer does not have.
            setattr(parent, child_name, new_module)
