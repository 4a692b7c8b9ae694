"""What glibc's heap keeps beyond what is in use, and how it is kept small.

A tensor's block is freed and asked for again many thousand times a step. glibc joins a freed block
with its neighbours, so that a larger one may be cut from the place, but not with neighbours that
lie in one of its two caches of small blocks, which count as in use: the thread's own (`tcache`) and
the fast bins. A few hundred such crumbs between the tensors are enough for the heap to grow with
every batch that is a little longer than the last. Without those caches much of it is gone.
`benchmarks/plan.py --heap` measures memory and processor time in both ways.

glibc reads the setting when a process starts, and never again:
https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["environment", "share"]

VARIABLE = "GLIBC_TUNABLES"
TUNABLES = {"glibc.malloc.tcache_count": "0", "glibc.malloc.mxfast": "0"}
CACHED, UNCACHED = 0.75, 0.25
"""Share of activations and logits that the heap keeps, with glibc's caches and without. Measured,
not derived, with glibc 2.36: 0.4 to 1.0 with, over seven trainings, and 0.15 to 0.3 without, over
the first steps of two. It grows with the steps, and chance moves it."""


def share(environ: Mapping[str, str] | None = None) -> float:
    """Return what the heap will keep, as a share of activations and logits on a CPU.

    Args:
        environ: of the process; None for this one's.
    """
    given = _given(os.environ if environ is None else environ)
    return UNCACHED if TUNABLES.items() <= given.items() else CACHED


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose processes do without the caches, all else as it was.

    What it says about the two caches already, is left as it is.
    """
    wanted = TUNABLES | _given(environ)
    return {**environ, VARIABLE: ":".join(f"{key}={value}" for key, value in wanted.items())}


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    pairs = (part.partition("=") for part in environ.get(VARIABLE, "").split(":") if part)
    return {key: value for key, _, value in pairs}
