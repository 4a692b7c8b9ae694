"""Passages of English prose from Python's own reference, which every machine with Python has.

`pydoc_data.topics` holds the texts behind Python's `help()`. Their paragraphs of prose are kept;
grammar, code, tables and lists are left out. A paragraph that stands under several topics is kept
once. Topics are dealt to two parts by a hash of their names, so that what is replayed in training
and what is held out have no paragraph in common.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from loratory.errors import MissingDependencyError
from loratory.sentences import sentences

__all__ = ["Part", "Passage", "passages"]

Part = Literal["held out", "replay"]

MIN_PARAGRAPH_WORDS = 12
PASSAGE_WORDS = 90
"""A passage is whole paragraphs of one topic, ended when it has so many words."""
MIN_PASSAGE_WORDS = 40
REPLAY_SHARE = 0.4
"""Of the topics."""


class Passage(NamedTuple):
    """Neighbouring paragraphs of one topic."""

    topic: str
    number: int
    """From 1, within the topic."""
    text: str
    """Paragraphs, each on one line, with a blank line between them."""


def passages(part: Part) -> list[Passage]:
    """Return the passages of one part, in an order that is always the same.

    The text depends on the version of Python alone.

    Raises:
        MissingDependencyError: this Python was packaged without its reference.
    """
    return [item for item in _all() if _part(item.topic) == part]


@functools.cache
def _all() -> tuple[Passage, ...]:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "embedded:text, embedded:choices and embedded:replay are read from the module "
            "pydoc_data, which this Python was packaged without. Install Python whole, or name a "
            ".jsonl file with a 'text' in each row."
        ) from None
    seen: set[str] = set()
    return tuple(
        Passage(topic, number, text)
        for topic in sorted(topics)
        for number, text in enumerate(_passages(topics[topic], seen), 1)
    )


def _part(topic: str) -> Part:
    drawn = int.from_bytes(hashlib.sha256(topic.encode()).digest()[:4], "big") / 2**32
    return "replay" if drawn < REPLAY_SHARE else "held out"


def _passages(text: str, seen: set[str]) -> Iterator[str]:
    kept: list[str] = []
    words = 0
    for paragraph in _prose(text):
        if paragraph in seen:
            continue
        seen.add(paragraph)
        kept.append(paragraph)
        words += len(paragraph.split())
        if words >= PASSAGE_WORDS:
            yield "\n\n".join(kept)
            kept, words = [], 0
    if words >= MIN_PASSAGE_WORDS:
        yield "\n\n".join(kept)


def _prose(text: str) -> Iterator[str]:
    """Yield the paragraphs that are sentences, each on one line."""
    for block in re.split(r"\n\s*\n", text):
        # What is indented is code, grammar, or the text of a list.
        if re.search(r"^(?:\s|[*\-+] |\d+\. |>>>|\.\. )", block, re.MULTILINE):
            continue
        paragraph = " ".join(block.split())
        if len(paragraph.split()) < MIN_PARAGRAPH_WORDS or not re.match(r"[A-Z\"“]", paragraph):
            continue
        if paragraph.endswith(".") and "::" not in paragraph and sentences(paragraph):
            yield paragraph
