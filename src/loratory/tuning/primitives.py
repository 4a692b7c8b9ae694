"""How many compiled products oneDNN keeps.

For every shape of a product oneDNN compiles code, and keeps that and what belongs to it for when
the shape comes again: 1,024 by itself, and PyTorch's layer above it as many once more for each
operator. Batches of text have hardly ever the same number of tokens twice. What is kept is then of
no use, takes 12 MB for each new number where a decoder of 30 layers trains, and lies between the
tensors that come and go, so that the heap grows by far more than that. A few batches' worth does
(benchmarks/LOG.md).

Both read the environment when they first multiply, and never again:
https://uxlfoundation.github.io/oneDNN/dev_guide_primitive_cache.html.
"""

from __future__ import annotations

from collections.abc import MutableMapping

__all__ = ["bound"]

KEPT = "128"
"""About three batches of a decoder, which needs 38 whatever its depth."""
NAMES = (
    ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY"),
    ("LRU_CACHE_CAPACITY",),
)
"""What oneDNN reads, under either name, and what PyTorch's layer above it does."""


def bound(environ: MutableMapping[str, str]) -> None:
    """Let oneDNN keep few compiled products in this process, unless its environment says how many.

    Args:
        environ: of a process that has not multiplied yet.
    """
    for names in NAMES:
        if not any(name in environ for name in names):
            environ[names[0]] = KEPT
