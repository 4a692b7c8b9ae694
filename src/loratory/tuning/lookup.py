"""Tokens that may come next, looked up in the text itself: a draft of what is then only checked.

Summaries and rewrites copy. Where the last two tokens stood before, what followed them then is
taken for what follows now (prompt lookup decoding, Saxena 2023; assisted generation in
transformers). A model reads a draft's tokens together, keeps those that it would have said, and so
says the same.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Text"]

SAME = 2
"""Tokens that must have stood before."""


class Text:
    """The tokens of a prompt and its answer so far.

    Args:
        tokens: of the prompt.
    """

    def __init__(self, tokens: Iterable[int]) -> None:
        self.tokens: list[int] = []
        self._next: dict[tuple[int, ...], int] = {}
        self.extend(tokens)

    def extend(self, tokens: Iterable[int]) -> None:
        """Add tokens at the end."""
        for token in tokens:
            if len(self.tokens) >= SAME:
                self._next[tuple(self.tokens[-SAME:])] = len(self.tokens)
            self.tokens.append(token)

    def draft(self, most: int) -> list[int]:
        """Return what followed the last tokens where they stood last, `most` tokens at most."""
        place = self._next.get(tuple(self.tokens[-SAME:]))
        return [] if place is None else self.tokens[place : place + most]
