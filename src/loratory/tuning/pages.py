"""Memory that has been freed, kept by the process while a model computes.

Every step allocates and frees the same large tensors. glibc gives those from 32 MiB, and what lies
free at the end of its heap, back to the system each time, and the system fills each page with zeros
when it is asked for again. Within `kept_pages` they stay; afterwards they are given back.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["kept_pages"]

# Of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
# As far as glibc goes by itself: it moves both upwards with the blocks that are freed.
MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = 65536, 2**25, 2**26

_lock = threading.Lock()
_held = 0


@contextmanager
def kept_pages() -> Iterator[None]:
    """Keep freed memory for the process within the context, which may be nested.

    Only on Linux with glibc; elsewhere nothing is done.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    _hold(libc, 1)
    try:
        yield
    finally:
        _hold(libc, -1)


def _hold(libc: Any, by: int) -> None:
    global _held
    with _lock:
        before, _held = _held, _held + by
        if not before:
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        elif not _held:
            libc.mallopt(M_MMAP_MAX, MMAP_MAX)
            libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
            libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
            libc.malloc_trim(0)


def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
