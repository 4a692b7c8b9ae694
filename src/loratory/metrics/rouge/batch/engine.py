"""Which loops do the work: numpy's, or compiled ones where numba is installed.

The counts are the same. Loading numba and the compiled code takes half a second, and compiling
it about ten, once an installation; so they are fetched when a process has read so much text
that it pays.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from typing import Literal

__all__ = ["Engine", "choose", "kernel"]

Engine = Literal["auto", "arrays", "compiled"]

# Characters read by a process before compiled loops are fetched: arrays take half a second.
_ENOUGH = 20_000_000


class _State:
    engine: Engine = "auto"
    read: int = 0


def choose(engine: Engine) -> None:
    """Settle which loops to use from now on, in this process; `auto` is the default."""
    _State.engine = engine


def kernel(characters: int = 0) -> ModuleType | None:
    """Return the compiled loops, or None where numpy's are to be used.

    Args:
        characters: how many are about to be read.
    """
    _State.read += characters
    if _State.engine == "arrays" or (_State.engine == "auto" and _State.read < _ENOUGH):
        return None
    return _load()


@cache
def _load() -> ModuleType | None:
    if importlib.util.find_spec("numba") is None:
        return None
    from loratory.metrics.rouge.batch import compiled

    return compiled
