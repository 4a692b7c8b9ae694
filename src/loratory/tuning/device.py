"""Which processor the work runs on."""

from __future__ import annotations

import torch

__all__ = ["accelerator", "device", "memory_bytes"]


def device() -> str:
    """Return `cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def accelerator() -> str | None:
    """Return the GPU's name, or None."""
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def memory_bytes() -> int | None:
    """Return the memory of the GPU in bytes, or None."""
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(0).total_memory)
