"""Whether two ways of computing gave the same, as far as rounding lets them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["is_near"]


def is_near(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Return whether two tensors are apart by no more than rounding, relative to their norm.

    Args:
        found: one way's.
        expected: the other's, of the same shape.
        dtype: in which both were computed.
    """
    # Rounding moves less than this; a token at a wrong place, or that sees others, more.
    near = 2e-2 if dtype in (torch.bfloat16, torch.float16) else 1e-4
    found, expected = found.float(), expected.float()
    return bool((found - expected).norm() <= near * expected.norm())
