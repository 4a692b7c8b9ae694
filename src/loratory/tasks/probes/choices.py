"""The embedded multiple-choice probe: which of four sentences comes next in a text.

As in SWAG and HellaSwag (Zellers et al. 2018, arXiv 1808.05326; 2019, arXiv 1905.07830), but the
wrong endings are real sentences of other passages rather than written by a model.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from loratory.sentences import sentences
from loratory.tasks.probes.base import Item, Option, probe
from loratory.tasks.probes.passages import passages

__all__ = ["Choices"]

OPTIONS = 4
BEFORE = 2
"""Sentences that are shown."""
MIN_WORDS, MAX_WORDS = 6, 40
NEAREST = 24
"""Wrong endings are drawn from so many sentences of other topics that are nearest in length, so
that length tells nothing."""


class _Next(NamedTuple):
    topic: str
    number: int
    """Of the passage."""
    place: int
    context: str
    sentence: str


@probe("choices")
@dataclass(frozen=True)
class Choices:
    """Items `choices:TOPIC:N:S`: two sentences of a passage, and four that might come next."""

    name: ClassVar[str]
    about: ClassVar[str] = (
        "Which of four sentences comes next in a passage of Python's own reference, for accuracy; "
        "chance is 25%."
    )

    def items(self) -> list[Item]:
        known = _endings()
        return [_item(item, known) for item in known]


def _endings() -> list[_Next]:
    found, seen = [], set[str]()
    for topic, number, text in passages("held out"):
        parts = [part for block in text.split("\n\n") for part in sentences(block)]
        for i in range(BEFORE, len(parts), BEFORE + 1):
            sentence = parts[i]
            if MIN_WORDS <= len(sentence.split()) <= MAX_WORDS and sentence not in seen:
                seen.add(sentence)
                context = " ".join(parts[i - BEFORE : i])
                found.append(_Next(topic, number, i, context, sentence))
    return found


def _item(item: _Next, known: Sequence[_Next]) -> Item:
    name = f"choices:{item.topic}:{item.number}:{item.place}"
    digest = hashlib.sha256(name.encode()).digest()
    generator = random.Random(int.from_bytes(digest[:8], "big"))  # noqa: S311
    others = [other for other in known if other.topic != item.topic]
    near = sorted(others, key=lambda x: abs(len(x.sentence) - len(item.sentence)))[:NEAREST]
    wrong = [other.sentence for other in generator.sample(near, OPTIONS - 1)]
    gold = generator.randrange(OPTIONS)
    chosen = [*wrong[:gold], item.sentence, *wrong[gold:]]
    return Item(name, tuple(Option(item.context, f" {text}") for text in chosen), gold)
