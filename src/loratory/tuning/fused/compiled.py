"""A model's layers compiled by `torch.compile` for the time of a training.

Layers, not the model: all of a stack are alike, and are compiled once; and what stands around them
may do what compilers cannot follow.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from loratory.errors import ConfigError
from loratory.tuning.device import device
from loratory.tuning.model import base_of

__all__ = ["check_compiler", "compiled"]

BACKEND = "inductor"
COMPILERS = ("c++", "g++", "clang++")


def check_compiler(fields: Mapping[str, bool]) -> None:
    """Refuse to compile for a processor where nothing compiles C++.

    Args:
        fields: of the recipe, and whether they ask for it.

    Raises:
        ConfigError: one does, and no compiler is installed.
    """
    own = os.environ.get("CXX")
    known = any(shutil.which(name) for name in ([own] if own else COMPILERS))
    asking = [name for name, wanted in fields.items() if wanted]
    if asking and device() == "cpu" and not known:
        raise ConfigError(
            f"{asking[0]}: on a processor it needs a C++ compiler, and none was found "
            f"({own or ', '.join(COMPILERS)}). Install one, or set it to false."
        )


@contextmanager
def compiled(model: Any, *, wanted: bool = True) -> Iterator[int]:
    """Compile a model's layers within the context, and yield how many there are.

    They are compiled when they are first called, for batches of any size.

    Args:
        model: with or without an adapter.
        wanted: without it nothing is compiled: `train.torch_compile`.
    """
    layers = list(_layers(base_of(model))) if wanted else []
    for layer in layers:
        layer.compile(backend=BACKEND, dynamic=True)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            layer._compiled_call_impl = None


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of every stack, not those within layers."""
    for child in module.children():
        if isinstance(child, nn.ModuleList) and len({type(layer) for layer in child}) == 1:
            yield from child
        else:
            yield from _layers(child)
