"""Content words: every word but stop words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from loratory.metrics.rouge.rouge2.topics.base import topic_source
from loratory.metrics.rouge.rouge155.text import stop_words

__all__ = ["ContentWords"]


@topic_source("content")
@dataclass(frozen=True)
class ContentWords:
    """Words outside the English stop list that comes with ROUGE-1.5.5 (SMART's, Salton)."""

    name: ClassVar[str]

    @property
    def signature(self) -> str:
        return "content"

    def __call__(self, words: Sequence[str], /) -> Sequence[bool]:
        stop = stop_words()
        return [word not in stop for word in words]
