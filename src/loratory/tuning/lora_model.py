"""A model with Loratory's own LoRA layers: put in, merged, and kept in peft's files.

What `save` writes, `PeftModel.from_pretrained` reads, and the other way round: an
`adapter_config.json`, and an `adapter_model.safetensors` whose names are peft's.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from loratory.errors import ConfigError, ModelError
from loratory.methods.base import TASK_TYPES, Family, target_names
from loratory.methods.lora import Lora
from loratory.tuning.lora import LoraLinear, check_rank

__all__ = ["apply", "layers", "load", "merge", "save", "state", "unmerge"]

OWN = {"r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora"}
"""Fields of the method that the layer carries out; the others must be at their defaults."""
HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "revision",
    "task_type",
}
"""What an adapter_config.json may say besides: the tensors' names settle where layers go."""
STARTS = (True, False, "gaussian")
"""Of peft's `init_lora_weights`, those that leave the base model's weights as they are."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""Before each name in peft's files."""
TENSORS = {
    "lora_A": "lora_A.weight",
    "lora_B": "lora_B.weight",
    "lora_magnitude": "lora_magnitude_vector",
}
"""Our names and peft's."""


def apply(
    model: nn.Module, settings: Lora, *, seed: int = 0, heads: Sequence[str] = ()
) -> dict[str, LoraLinear]:
    """Freeze a model and put a `LoraLinear` in the place of each targeted layer.

    Args:
        model: changed in place.
        settings: the method; its target modules are last names or whole paths, and all-linear
            is every linear layer but the output head and `heads`.
        seed: of every layer's random start.
        heads: modules that are trained whole.

    Returns:
        The new layers by path, in the model's order.

    Raises:
        ConfigError: a field that the layer does not carry out, or a rank above a layer's width.
        ModelError: target modules that match nothing, or a model that has LoRA layers already.
    """
    _check(settings)
    if layers(model):
        raise ModelError("this model has LoRA layers already; load it anew, or merge them first.")
    chosen = _chosen(model, settings.target_modules, heads)
    for name in chosen:  # all, before any is replaced
        base = model.get_submodule(name)
        conv = isinstance(base, Conv1D)
        widths = base.weight.shape if conv else (base.in_features, base.out_features)
        check_rank(settings.r, *widths, where=name)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name in chosen:
        made[name] = LoraLinear(model.get_submodule(name), settings, generator)
        made[name].train(model.training)
        model.set_submodule(name, made[name])
    for head in heads:
        model.get_submodule(head).requires_grad_(True)
    return made


def layers(model: nn.Module) -> dict[str, LoraLinear]:
    """Return a model's LoRA layers by path."""
    return {name: found for name, found in model.named_modules() if isinstance(found, LoraLinear)}


def merge(model: nn.Module, *, keep: bool = True) -> None:
    """Merge every LoRA layer of a model; see `LoraLinear.merge`."""
    for layer in layers(model).values():
        layer.merge(keep=keep)


def unmerge(model: nn.Module) -> None:
    """Unmerge every LoRA layer of a model; see `LoraLinear.unmerge`."""
    for layer in layers(model).values():
        layer.unmerge()


def state(model: nn.Module, heads: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return the trained tensors under the names that peft's files have.

    Args:
        model: with LoRA layers.
        heads: modules that were trained whole, which are part of the adapter.
    """
    found = {
        f"{PREFIX}{path}.{TENSORS[name]}": parameter.detach().cpu().contiguous()
        for path, layer in layers(model).items()
        for name, parameter in layer.named_parameters(recurse=False)
    }
    for head in heads:
        for name, tensor in model.get_submodule(head).state_dict().items():
            found[f"{PREFIX}{head}.{name}"] = tensor.detach().cpu().contiguous()
    return found


def save(
    model: nn.Module,
    folder: Path,
    *,
    family: Family,
    base: str | None = None,
    heads: Sequence[str] = (),
) -> None:
    """Write a model's LoRA layers as an adapter that peft loads.

    Args:
        model: with LoRA layers.
        folder: made if need be.
        family: of the model, which settles the class that `AutoPeftModel` loads.
        base: name or folder of the base model, for `AutoPeftModel`.
        heads: modules that were trained whole.

    Raises:
        ModelError: the model has no LoRA layers.
    """
    found = layers(model)
    if not found:
        raise ModelError("this model has no LoRA layers to save.")
    first = next(iter(found.values()))
    values = {name: getattr(first.settings, name) for name in OWN - {"target_modules"}}
    LoraConfig(
        task_type=TASK_TYPES[family],
        base_model_name_or_path=base,
        inference_mode=True,  # as peft marks an adapter that was saved
        target_modules=_shortest(model, found),
        modules_to_save=list(heads) or None,
        fan_in_fan_out=any(layer.transposed for layer in found.values()),
        **values,
    ).save_pretrained(str(folder))
    save_file(state(model, heads), folder / WEIGHTS, metadata={"format": "pt"})


def load(model: nn.Module, folder: Path) -> dict[str, LoraLinear]:
    """Put a LoRA adapter that peft or `save` wrote on its base model.

    Args:
        model: the base model; changed in place, its LoRA layers trainable.
        folder: with the two files.

    Returns:
        The layers by path.

    Raises:
        ModelError: a file is missing or damaged, the adapter is not LoRA or uses what the own
            layer does not carry out, or it belongs to another base model.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except Exception as error:
        raise ModelError(f"{folder}: not a readable adapter: {error}") from None
    settings = _settings(config, tensors, folder)
    heads = _heads(config.get("modules_to_save") or (), tensors)
    try:
        made = apply(model, settings, heads=heads)
    except (ConfigError, ModelError, AttributeError) as error:
        raise ModelError(f"{folder}: an adapter of another base model: {error}") from None
    wanted = state(model, heads)
    odd = sorted(wanted.keys() ^ tensors.keys()) + sorted(
        name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape
    )
    if odd:
        raise ModelError(
            f"{folder}: an adapter of another base model, or a damaged one: {odd[0]} does not fit."
        )
    with torch.no_grad():
        for path, layer in made.items():
            for name, parameter in layer.named_parameters(recurse=False):
                parameter.copy_(tensors[f"{PREFIX}{path}.{TENSORS[name]}"])
        for head in heads:
            for name, tensor in model.get_submodule(head).state_dict().items():
                tensor.copy_(tensors[f"{PREFIX}{head}.{name}"])
    return made


def _settings(config: dict[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> Lora:
    """Return the method of an adapter, its target modules as whole paths."""
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{folder}: an adapter of {config.get('peft_type')}, and not of LORA.")
    default = LoraConfig()
    odd = [
        f"{name}: {value}"
        for name, value in config.items()
        if name not in OWN | HARMLESS | {"init_lora_weights"}
        if value != getattr(default, name, None) and value not in ({}, [])
    ]
    start = config.get("init_lora_weights", True)
    if start not in STARTS:
        odd.append(f"init_lora_weights: {start}")
    if odd:
        raise ModelError(
            f"{folder}: Loratory's own LoRA layer does not know {', '.join(odd)}. "
            "Load it with PeftModel.from_pretrained."
        )
    suffix = f".{TENSORS['lora_A']}"
    targets = sorted(
        name.removeprefix(PREFIX).removesuffix(suffix) for name in tensors if name.endswith(suffix)
    )
    values = {name: config[name] for name in OWN & config.keys()}
    values["lora_alpha"] = float(values["lora_alpha"])
    return Lora(**{**values, "target_modules": tuple(targets)})


def _heads(names: Iterable[str], tensors: Iterable[str]) -> tuple[str, ...]:
    """Return the paths of the modules saved whole: peft notes last names, not all of them there."""
    found = (
        re.match(rf"((?:.*\.)?{re.escape(name)})\.", tensor.removeprefix(PREFIX))
        for name in names
        for tensor in tensors
        if ".lora_" not in tensor
    )
    return tuple(sorted({match[1] for match in found if match}))


def _check(settings: Lora) -> None:
    problems = [f"method.{problem}" for problem in settings.problems()]
    fields: Iterable[dataclasses.Field[Any]] = dataclasses.fields(settings)
    problems += [
        f"method.{field.name}: Loratory's own LoRA layer takes {field.default} only, got "
        f"{getattr(settings, field.name)}."
        for field in fields
        if field.name not in OWN and getattr(settings, field.name) != field.default
    ]
    if problems:
        raise ConfigError(problems)


def _linear(model: nn.Module) -> dict[str, Any]:
    return {
        name: module
        for name, module in model.named_modules()
        if name and isinstance(module, nn.Linear | Conv1D)
    }


def _chosen(model: Any, targets: Sequence[str], heads: Sequence[str]) -> list[str]:
    """Return the paths of the targeted layers."""
    inside = tuple(f"{head}." for head in heads)
    linear = {
        name: module
        for name, module in _linear(model).items()
        if name not in heads and not name.startswith(inside)
    }
    if tuple(targets) == ("all-linear",):
        output = getattr(model, "get_output_embeddings", lambda: None)()
        return [name for name, module in linear.items() if module is not output]
    found = {target: _matches(target, linear) for target in targets}
    missing = [target for target, names in found.items() if not names]
    if missing:
        raise ModelError(
            f"method.target_modules: {', '.join(missing)} matches no layer of this model. "
            f"Available: {', '.join(target_names(model))}."
        )
    matched = {name for names in found.values() for name in names}
    return [name for name in linear if name in matched]


def _matches(target: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name == target or name.endswith(f".{target}")]


def _shortest(model: nn.Module, found: Mapping[str, LoraLinear]) -> list[str]:
    """Return the layers' last names where those say which layers are meant, else their paths."""
    paths = [*found, *(n for n in _linear(model) if n.rpartition(".")[0] not in found)]
    last = {name.rpartition(".")[2] for name in found}
    matched = {name for target in last for name in _matches(target, paths)}
    return sorted(last if matched == set(found) else found)
