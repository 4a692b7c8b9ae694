"""Weights of the base model trained as copies: the base stays as it is, and can be had again.

A module of the base model is wrapped, and beside each weight that is trained stands a copy of
it. A forward pass puts the active adapter's copies in the weights' place. A copy is float32 at
least, since bfloat16 would round small steps away, and is cast to the weight's own dtype for
the product, so that what is trained is what a merge gives. Weights that the base model ties,
such as an embedding and an output head, have one copy between them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import check_adapters_to_merge
from peft.utils import PeftType
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from loratory.errors import ModelError
from loratory.tuning.adapters.refusal import CannotMergeError
from loratory.tuning.adapters.structure import unwrapped, walk
from loratory.tuning.adapters.tuner import Layer, Tuner

__all__ = ["CopyConfig", "CopyLayer", "CopyTuner", "with_tied"]

Chosen = dict[str, tuple[str, ...]]
"""Path of a module to the names of its own weights that are trained."""


@dataclass
class CopyConfig(PeftConfig):  # type: ignore[misc]
    """What the methods that train copies have in common."""

    peft_name: ClassVar[str]

    target_modules: None = None
    """peft reads it; which weights are trained is worked out from the method's own fields."""
    modules_to_save: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType(self.peft_name)
        self.chosen: Chosen = {}  # no field, for it hangs on the model


def with_tied(model: Any, chosen: set[int]) -> Chosen:
    """Return the modules that hold the parameters with these ids, tied ones included."""
    found: Chosen = {}
    for path, module in walk(model):
        own = tuple(n for n, p in module.named_parameters(recurse=False) if id(p) in chosen)
        if own:
            found[path] = own
    return found


class CopyLayer(Layer):
    """A module of the base model with copies of some of its weights.

    Args:
        base_layer: the module.
        prefix: of the names of its parameters, a method's own.
        owners: the base model's parameters, by id, to the copies that another layer holds.
    """

    def __init__(self, base_layer: Any, prefix: str, owners: dict[int, nn.ParameterDict]) -> None:
        super().__init__(base_layer)
        self.prefix = prefix
        self.owners = owners
        # Copies by the weight's name; those of a tied weight are registered in another layer.
        self.copies: dict[str, nn.ParameterDict] = {}
        self.replaced: dict[str, torch.Tensor | None] = {}

    def update_layer(self, adapter_name: str, config: Any, names: tuple[str, ...]) -> None:
        """Add a copy of each named weight; of one that is not there, zeros."""
        for name in names:
            weight = getattr(self.base_layer, name)
            if self._held(name, weight):
                self.copies[name][adapter_name] = nn.Parameter(self._start(weight))
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _held(self, name: str, weight: torch.Tensor | None) -> bool:
        """Return whether the copies of a weight are this layer's own, and see to their place."""
        attribute = f"{self.prefix}{name}"
        if attribute in self.adapter_layer_names:
            return True
        if weight is not None and id(weight) in self.owners:
            self.copies[name] = self.owners[id(weight)]
            return False
        held = nn.ParameterDict()
        setattr(self, attribute, held)
        self.adapter_layer_names = (*self.adapter_layer_names, attribute)
        self.copies[name] = held
        if weight is not None:
            self.owners[id(weight)] = held
        return True

    def _start(self, weight: torch.Tensor | None) -> torch.Tensor:
        if weight is None:  # a linear layer's bias term
            like = self.base_layer.weight
            return torch.zeros(len(like), device=like.device)
        return weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)

    def own(self) -> list[str]:
        """Return the weights whose copies are registered here."""
        size = len(self.prefix)
        return [attribute[size:] for attribute in self.adapter_layer_names]

    def added(self) -> bool:
        """Return whether a weight is trained that the base model does not have."""
        return any(
            getattr(self.base_layer, name) is None or self.replaced.get(name, 0) is None
            for name in self.own()
        )

    def enable_adapters(self, enabled: bool) -> None:
        # At once, and not when the layer is next used: a tied weight may be used elsewhere first.
        if not enabled and self.merged:
            self.unmerge()
        super().enable_adapters(enabled)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        copies = {} if self.disable_adapters or self.merged else self._active()
        replaced, added = {}, None
        for name, copy in copies.items():
            weight = getattr(self.base_layer, name)
            if weight is None:
                added = copy
            else:
                replaced[name] = copy.to(weight.dtype)
        if added is not None:
            # In one product, as a merged layer has it: a sum of its own would be rounded twice.
            weight = replaced.get("weight", self.base_layer.weight)
            return functional.linear(args[0], weight, added.to(weight.dtype))
        if not replaced:
            return self.base_layer(*args, **kwargs)
        return functional_call(self.base_layer, replaced, args, kwargs, tie_weights=False)

    def _active(self) -> dict[str, Any]:
        found = {
            name: [held[adapter] for adapter in self.active_adapters if adapter in held]
            for name, held in self.copies.items()
        }
        if any(len(copies) > 1 for copies in found.values()):
            raise ModelError(
                f"adapters {', '.join(self.active_adapters)}: more than one replaces the same "
                "weights. Activate one of them."
            )
        return {name: copies[0] for name, copies in found.items() if copies}

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Put copies in the place of the base model's weights.

        Raises:
            CannotMergeError: more than one adapter; with `safe_merge`, a value not finite.
        """
        names = check_adapters_to_merge(self, adapter_names)
        if not names:
            return
        if len(names) > 1 or self.merged:
            raise CannotMergeError(
                f"merge: got {', '.join(names)}; weights are replaced by one adapter."
            )
        for name in self.own():
            held = self.copies[name]
            if names[0] not in held:
                continue
            copy, weight = held[names[0]].detach(), getattr(self.base_layer, name)
            if safe_merge and not torch.isfinite(copy).all():
                raise CannotMergeError(
                    f"merge: the adapter {names[0]} holds values that are not finite."
                )
            if weight is None:
                dtype = self.base_layer.weight.dtype
                self.replaced[name] = None
                setattr(self.base_layer, name, nn.Parameter(copy.to(dtype, copy=True), False))
            else:
                self.replaced[name] = weight.data
                weight.data = copy.to(weight.dtype, copy=True)
        self.merged_adapters.append(names[0])

    def unmerge(self) -> None:
        """Put the base model's own weights back."""
        for name, weight in self.replaced.items():
            if weight is None:
                setattr(self.base_layer, name, None)
            else:
                getattr(self.base_layer, name).data = weight
        self.replaced.clear()
        self.merged_adapters.clear()


class CopyTuner(Tuner):
    """Wraps the modules whose weights a method trains."""

    tuner_layer_cls = CopyLayer

    def choose(self, model: Any, config: Any) -> Chosen:
        """Return which weights are trained.

        Raises:
            ModelError: none would be.
        """
        raise NotImplementedError

    @functools.cached_property
    def owners(self) -> dict[int, nn.ParameterDict]:
        return {}

    def _prepare_adapter_config(self, peft_config: Any, _: Any) -> Any:
        return peft_config

    def _prepare_model(self, peft_config: Any, model: Any) -> None:
        heads = peft_config.modules_to_save or []
        chosen = {
            path: names
            for path, names in self.choose(model, peft_config).items()
            if not any(f".{head}." in f".{path}." for head in heads)
        }
        for path in chosen:
            # A wrapper within a wrapper would be one adapter inside another.
            within = f"{path}." if path else ""
            inside = [inner for inner in chosen if inner != path and inner.startswith(within)]
            if inside:
                raise ModelError(
                    f"method.{self.method}: the module {path} has weights of its own and other "
                    f"modules with weights, such as {inside[0]}. Leave it out, or train it with "
                    "another method."
                )
        places: dict[int, str] = {}
        for path in chosen:
            first = places.setdefault(id(unwrapped(model.get_submodule(path))), path)
            if first != path:
                raise ModelError(
                    f"method.{self.method}: the module {path} is {first} as well, and would have "
                    "to be wrapped twice. Train other modules, or take another method."
                )
        peft_config.chosen = chosen

    @staticmethod
    def _check_target_module_exists(peft_config: Any, key: str) -> bool:
        return key in peft_config.chosen

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
        names = peft_config.chosen[current_key]
        if isinstance(target, CopyLayer):
            target.update_layer(adapter_name, peft_config, names)
            return
        layer = CopyLayer(target, self.prefix, self.owners)
        layer._active_adapter = adapter_name
        layer.update_layer(adapter_name, peft_config, names)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _get_tied_target_modules(self, _: Any) -> list[str]:
        return []  # peft would warn of a tie that is kept here
