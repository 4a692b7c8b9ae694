"""Products of matrices on a CPU as oneDNN multiplies them fastest, on two threads as on more."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["gated_product", "has_tiles", "product", "reordered", "reordered_product", "reorders"]

NARROW = range(576, 640)
SLOW = range(513, 1152)
"""Widths of results, and tokens, of products that are faster in halves, on two threads."""
LONG, SLOW_LONG = 1024, range(513, 1392)
"""Numbers that are multiplied for each of a result, and tokens, of products that are so, too."""
DEEP, HOLE = 2048, range(705, 832)
"""The same of products that are faster in quarters."""
USUAL = 32
"""Rows that a weight is put in order for, about: others take it as it is, too."""


@lru_cache(maxsize=1)
def has_tiles() -> bool:
    """Return whether the processor multiplies bfloat16 by tiles (AMX)."""
    return bool(torch.cpu._is_amx_tile_supported())


def product(x: Tensor, weight: Tensor, out: Tensor | None = None, *, add: bool = False) -> Tensor:
    """Return x W, of (T, in) and (in, out): in `out` where there is one, or added to it.

    On two threads and with tiles, oneDNN 3 leaves some products of narrow matrices to one thread,
    and takes twice as long as for two products of half the width. Where that was measured, they are
    two (benchmarks/LOG.md). What is chosen hangs on shapes and the processor alone, so that a
    training can be repeated.
    """
    out = x.new_empty(len(x), weight.shape[1]) if out is None else out
    two = x.dtype == torch.bfloat16 and out.shape[1] in NARROW and torch.get_num_threads() == 2
    two = two and has_tiles()
    slow = SLOW_LONG if len(weight) >= LONG else SLOW
    for columns in _parts(out.shape[1], two and len(x) in slow):
        fresh = not add
        for read in _parts(len(weight), two and len(x) in HOLE and len(weight) > DEEP):
            if fresh:
                torch.mm(x[:, read], weight[read, columns], out=out[:, columns])
            else:
                out[:, columns].addmm_(x[:, read], weight[read, columns])
            fresh = False
    return out


def _parts(size: int, halved: bool) -> list[slice]:
    return [slice(0, size // 2), slice(size // 2, None)] if halved else [slice(None)]


def reorders(weight: Tensor, *, few: bool) -> bool:
    """Return whether products by a weight are faster where it stays in oneDNN's own order.

    It is put into that order for each product otherwise. With tiles that takes no time to speak of
    beside a product of a thousand rows.

    Args:
        weight: (out, in).
        few: mostly some tens of rows are multiplied by it, and not a thousand.
    """
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16:
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and (few or not has_tiles())


def reordered(weight: Tensor) -> Tensor:
    """Return a weight that `reorders`, (out, in), in oneDNN's order: for products here alone."""
    found: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), USUAL)
    return found


def reordered_product(x: Tensor, weight: Tensor, add: Tensor | None = None) -> Tensor:
    """Return x Wᵀ, (T, out), added to what `add` holds, if any.

    Args:
        x: (T, in).
        weight: W, `reordered`.
        add: (T, out), not changed.
    """
    if add is None:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    else:
        found = torch.ops.mkldnn._linear_pointwise.binary(x, add, weight, None, "add")
    return found


def gated_product(
    x: Tensor,
    weights: tuple[Tensor, Tensor],
    biases: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Tensor:
    """Return SiLU(x Gᵀ + b) · (x Uᵀ + c), (T, out), as oneDNN multiplies, and not after it.

    Args:
        x: (T, in).
        weights: G and U, `reordered`.
        biases: b and c, (out,).
    """
    (gate, up), (of_gate, of_up) = weights, biases
    bent = torch.ops.mkldnn._linear_pointwise(x, gate, of_gate, "swish", [], "")
    found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, bent, up, of_up, "mul")
    return found
