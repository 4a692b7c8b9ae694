"""What was there before a training is not searched for garbage while it runs.

Loaded libraries are half a million objects. Searching all of them for cycles takes a quarter of a
second, which accelerate asks for as a training begins, and Python itself now and then.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["frozen"]


@contextmanager
def frozen() -> Iterator[None]:
    """Leave what exists now out of garbage collection within the context.

    Where someone else has done so before, nothing is done, as theirs would be undone.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
