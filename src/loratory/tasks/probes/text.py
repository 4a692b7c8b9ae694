"""The embedded probe of general text: how well a model predicts prose it is not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.tasks.probes.base import Item, Option, probe
from loratory.tasks.probes.passages import passages

__all__ = ["Text"]


@probe("text")
@dataclass(frozen=True)
class Text:
    """Items `text:TOPIC:N`, each a passage of the part that is held out."""

    name: ClassVar[str]
    about: ClassVar[str] = (
        "Passages of English prose from Python's own reference (pydoc_data), for perplexity; a "
        "part that embedded:replay has nothing of."
    )

    def items(self) -> list[Item]:
        return [
            Item(f"text:{topic}:{number}", (Option("", text),))
            for topic, number, text in passages("held out")
        ]
