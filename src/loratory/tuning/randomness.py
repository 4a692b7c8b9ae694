"""The states of random generators, as tensors: what dropout and the order of rows hang on."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

__all__ = ["load_random", "save_random"]


def save_random(file: Path, beside: Mapping[str, torch.Tensor]) -> None:
    """Write the states of Python's, numpy's and PyTorch's generators, those of GPUs included.

    Args:
        file: to write.
        beside: other tensors of this process, kept with them.
    """
    version, inner, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()
    tensors = {
        "python": torch.tensor(inner, dtype=torch.int64),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "torch": torch.get_rng_state(),
        **{f"beside.{name}": tensor.detach().cpu() for name, tensor in beside.items()},
    }
    if torch.cuda.is_available():
        states = torch.cuda.get_rng_state_all()
        tensors |= {f"cuda.{number}": state for number, state in enumerate(states)}
    plain = {"python": [version, gauss], "numpy": [str(kind), int(place), int(has_gauss), cached]}
    save_file(tensors, file, metadata={"plain": json.dumps(plain)})


def load_random(file: Path) -> dict[str, torch.Tensor]:
    """Set the generators to what `save_random` wrote, and return what was kept beside.

    GPUs beyond those that were there then, or that are here now, are left as they are.
    """
    with safe_open(file, framework="pt") as stream:
        plain = json.loads(stream.metadata()["plain"])
        tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    version, gauss = plain["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    kind, place, has_gauss, cached = plain["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((kind, keys, place, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda.{number}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{number}"], number)
    apart = (key.partition(".") for key in tensors)
    return {name: tensors[f"beside.{name}"] for kind, _, name in apart if kind == "beside"}
