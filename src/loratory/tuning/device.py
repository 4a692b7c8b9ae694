"""Which processor the work runs on."""

from __future__ import annotations

import torch

__all__ = ["accelerator", "device"]


def device() -> str:
    """Return `cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def accelerator() -> str | None:
    """Return the GPU's name, or None."""
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
