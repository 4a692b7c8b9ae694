"""What a source of topic words is: the words of a line in, which of them count out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from loratory.registry import Registry

__all__ = ["TOPICS", "TopicSource", "Topics", "topic_source"]


class Topics(Protocol):
    """Any callable that tells which words of a line are topic words."""

    def __call__(self, words: Sequence[str], /) -> Sequence[bool]:
        """Return one truth value a word.

        Args:
            words: those of one line in their order, in lower case and not stemmed.
        """


class TopicSource(Topics, Protocol):
    """A source with a name: a frozen dataclass with defaults, under `@topic_source`."""

    name: ClassVar[str]

    @property
    def signature(self) -> str:
        """What fixes its answers; no spaces."""


TOPICS: Registry[TopicSource] = Registry("topic", "loratory.metrics.rouge.rouge2.topics")
topic_source = TOPICS.register
