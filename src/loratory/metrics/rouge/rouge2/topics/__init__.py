"""Sources of topic words: content words, parts of speech, a list in a file, or a function.

A package adds a source under the entry-point group `loratory.metrics.rouge.rouge2.topics`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from loratory.errors import ConfigError, DataError
from loratory.metrics.rouge.rouge2.textfile import named, read_text, signature_of
from loratory.metrics.rouge.rouge2.topics.base import TOPICS, Topics, TopicSource, topic_source
from loratory.metrics.rouge.rouge2.topics.speech import PartsOfSpeech

__all__ = [
    "TOPICS",
    "GivenTopics",
    "PartsOfSpeech",
    "TopicSource",
    "Topics",
    "topic_filter",
    "topic_source",
    "topics_signature",
]

GivenTopics = str | Path | Topics | Collection[str]
"""A source's name, a file of words, a callable, or the words themselves."""


def topic_filter(
    given: GivenTopics,
    cut: Callable[[str], Sequence[str]],
    number: Callable[[str], int],
) -> Callable[[Sequence[str]], list[str]]:
    """Return a function from the words of a line to those that are topic words.

    Args:
        given: where topic words come from. A listed word stands for all words of its form.
        cut: text to words.
        number: word to the number of its form.

    Raises:
        ConfigError: neither a source nor a file, or a callable that gives no truth values.
        DataError: a file or list without words.
        MissingDependencyError: the source needs a package that is not installed.
    """
    source = _source(given)
    if callable(source):
        return _asking(source)
    forms = {number(word) for text in source for word in _cut(text, cut)}
    if not forms:
        raise DataError("topic: the list has no words, so nothing would count.")
    return lambda words: [word for word in words if number(word) in forms]


def topics_signature(given: str) -> str:
    """Return what stands for a source's name, or a file's path, in a signature."""
    return signature_of(given, TOPICS, "topic")


def _source(given: GivenTopics) -> Topics | Collection[str]:
    if isinstance(given, str):
        given = named(given, TOPICS, "topic", "of words")
    return [read_text(given, "topic")] if isinstance(given, Path) else given


def _cut(text: object, cut: Callable[[str], Sequence[str]]) -> Sequence[str]:
    if not isinstance(text, str):
        raise DataError(f"topic: the list holds {type(text).__name__}, not text.")
    return cut(text)


def _asking(source: Topics) -> Callable[[Sequence[str]], list[str]]:
    def chosen(words: Sequence[str]) -> list[str]:
        if not words:
            return []  # a tagger need not know what to do with no words
        kept = source(words)
        if not isinstance(kept, Iterable):
            raise ConfigError(
                f"topic: the source gave {type(kept).__name__}; it must give one truth value a "
                "word."
            )
        values = list(kept)
        if len(values) != len(words):
            raise ConfigError(
                f"topic: the source gave {len(values)} values for {len(words)} words; it must "
                "give one truth value a word."
            )
        return [word for word, keep in zip(words, values, strict=True) if keep]

    return chosen
