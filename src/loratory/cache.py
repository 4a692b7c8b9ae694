"""Where work that can be done again is kept, by a hash of all that its result hangs on."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from loratory.errors import RunError
from loratory.files import write_bytes

__all__ = ["cache_dir", "code", "keep", "kept", "key", "read"]

T = TypeVar("T")

PACKAGE = Path(__file__).parent


def cache_dir() -> Path:
    """Return `$LORATORY_CACHE`, or `loratory` in the user's cache folder. It may not exist."""
    if own := os.environ.get("LORATORY_CACHE"):
        return Path(own).expanduser()
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "loratory"


def key(basis: Mapping[str, Any]) -> str:
    """Return a sha256 over all that a result hangs on."""
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()


@functools.cache
def code(*parts: str) -> str:
    """Return a sha256 over the source of Loratory's packages of these names, or of all of it."""
    digest = hashlib.sha256()
    for part in parts or (".",):
        for file in sorted((PACKAGE / part).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def kept(
    kind: str,
    key: str | None,
    make: Callable[[], T],
    pack: Callable[[T], bytes],
    unpack: Callable[[bytes], T | None],
) -> T:
    """Return what was kept under a key, or make it and keep it.

    Args:
        kind: folder of the cache.
        key: what the result hangs on, hashed; None for one that is not kept.
        make: makes it.
        pack: its bytes.
        unpack: of them, the result. None, or any error, is of a file that was damaged.
    """
    known = None if key is None else read(kind, key)
    if known is not None:
        with suppress(Exception):
            found = unpack(known)
            if found is not None:
                return found
    made = make()
    if key is not None:
        keep(kind, key, pack(made))
    return made


def read(kind: str, key: str) -> bytes | None:
    """Return what was kept under a key; None where nothing is, or nothing can be read."""
    with suppress(OSError):
        return (cache_dir() / kind / key).read_bytes()
    return None


def keep(kind: str, key: str, content: bytes) -> None:
    """Keep a result for later; without room for it nothing is lost but time."""
    with suppress(RunError):
        write_bytes(cache_dir() / kind / key, content)
