"""Seeded draws by hash: the same on every machine, and whatever the order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["draw", "sampled"]

T = TypeVar("T")


def draw(seed: int, purpose: str, key: bytes | str) -> bytes:
    """Return 16 bytes that stand for a row's place in a draw.

    Args:
        seed: of the draw.
        purpose: keeps draws of different parts independent of each other.
        key: the row's own; text may hold lone surrogates.
    """
    own = key.encode("utf-8", "replace") if isinstance(key, str) else key
    return hashlib.blake2b(f"{seed}:{purpose}:".encode() + own, digest_size=16).digest()


def sampled(items: Sequence[T], limit: int | None, drawn: Callable[[T], bytes]) -> list[T]:
    """Return the items with the lowest draws, in the order given; all without a limit.

    Args:
        items: to choose from.
        limit: at most so many.
        drawn: gives an item's draw.
    """
    if limit is None or limit >= len(items):
        return list(items)
    order = sorted(range(len(items)), key=lambda i: drawn(items[i]))
    return [items[i] for i in sorted(order[:limit])]
