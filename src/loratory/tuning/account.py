"""What a method adds to a model, counted exactly before anything is trained.

Parameters are counted by module, layers of like place taken together, so that sixty lines say
what six hundred would. The size of the adapter's file follows from the names, shapes and types
of its tensors, by the layout that safetensors documents
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import get_peft_model_state_dict

__all__ = ["Account", "Group", "account", "adapter_bytes", "safetensors_bytes"]

WRAPPERS = ("base_model.model.", "base_model.")
"""What peft puts before the name of a model's own modules."""
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
ORDER = ("I64", "F64", "I32", "F32", "BF16", "F16", "I16", "I8", "U8", "BOOL")
"""Tensors of a file, by type: wider ones first, so that each begins at a multiple of its size."""


@dataclass(frozen=True)
class Group:
    """Modules of one place in every layer, such as `model.layers.*.mlp.up_proj`."""

    name: str
    modules: int
    trainable: int
    """Parameters that are trained."""
    frozen: int
    """Parameters that are not."""


@dataclass(frozen=True)
class Account:
    """The parameters of a model with a method attached."""

    parameters: int
    """Of the base model."""
    trainable: int
    groups: tuple[Group, ...]
    """Every parameter once, in the model's order; shared weights stand where they come first."""
    adapter_bytes: int
    """Size of adapter_model.safetensors."""

    @property
    def percent(self) -> float:
        """Return trainable parameters in percent of the base model's."""
        return 100 * self.trainable / self.parameters


def account(model: Any, parameters: int) -> Account:
    """Count a model with a method attached; it may be without storage.

    Args:
        model: what `Method.attach` returned.
        parameters: of the base model, before the method was attached.
    """
    owners = {name for name, module in model.named_modules() if hasattr(module, "get_base_layer")}
    found: dict[str, tuple[set[str], int, int]] = {}
    trainable = 0
    for name, parameter in model.named_parameters():
        # A quantised weight is stored packed, and its own shape is beside it.
        count = _elements(parameter)
        module = _owner(name.rpartition(".")[0], owners)
        place = re.sub(r"\b\d+\b", "*", module)
        modules, trained, frozen = found.get(place, (set(), 0, 0))
        if parameter.requires_grad:
            trained, trainable = trained + count, trainable + count
        else:
            frozen += count
        found[place] = (modules | {module}, trained, frozen)
    return Account(
        parameters=parameters,
        trainable=trainable,
        groups=tuple(Group(k, len(names), a, b) for k, (names, a, b) in found.items()),
        adapter_bytes=adapter_bytes(model),
    )


def adapter_bytes(model: Any) -> int:
    """Return the size of the adapter's file, for a model with a method attached."""
    return safetensors_bytes(get_peft_model_state_dict(model, save_embedding_layers=False))


def _elements(parameter: Any) -> int:
    state = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None)
    return int(torch.Size(shape).numel()) if shape is not None else int(parameter.numel())


def _owner(module: str, owners: set[str]) -> str:
    """Return the outermost adapted layer around a module, without peft's wrapping."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        if ".".join(parts[:end]) in owners:
            module = ".".join(parts[:end])
            break
    for wrapper in WRAPPERS:
        if module.startswith(wrapper):
            return module.removeprefix(wrapper)
    return module


def safetensors_bytes(tensors: Mapping[str, Any]) -> int:
    """Return the size of the file that `safetensors.torch.save_file` writes, in bytes.

    Eight bytes of length, a JSON header filled up with spaces to a multiple of eight, and the
    tensors one after the other. The header has `format: pt` for metadata, as peft's has.

    Args:
        tensors: by name; they may be without storage.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in sorted(tensors, key=lambda key: (ORDER.index(DTYPES[tensors[key].dtype]), key)):
        tensor = tensors[name]
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + start
