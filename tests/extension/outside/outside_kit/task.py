"""Turn a text round: the least a task can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from loratory.records import Example, Message, Prediction
from loratory.tasks.base import PromptStyle, Row, task
from loratory.tasks.rows import text_of


@task("backwards")
@dataclass(frozen=True)
class Backwards:
    """Write a text's words in reverse order."""

    name: ClassVar[str]
    kind: ClassVar[Literal["generation", "classification"]] = "generation"
    columns: ClassVar[Mapping[str, str]] = {"text": "The text to turn round."}
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    metrics: ClassVar[tuple[str, ...]] = ("verbatim", "rouge")

    verb: str = "Reverse"
    """How the model is told."""

    def required(self) -> tuple[tuple[str, ...], ...]:
        return (("text",),)

    def problems(self) -> list[str]:
        return [] if self.verb.strip() else ["verb: blank."]

    def bind(self, rows: Sequence[Row]) -> Self:
        return self

    def example(self, row: Row, id: str) -> list[Example]:
        text = text_of(row, "text", id)
        return [Example(id, text, (" ".join(reversed(text.split())),))]

    def prompt(self, example: Example, style: PromptStyle) -> str | tuple[Message, ...]:
        if style == "bare":
            return example.source
        text = f"{self.verb}: {example.source}\n"
        return (Message("user", text),) if style == "chat" else text

    def answer(self, example: Example) -> str:
        return example.references[0]

    def choices(self) -> tuple[str, ...]:
        return ()

    def baselines(
        self, train: Sequence[Example], test: Sequence[Example], seed: int
    ) -> dict[str, list[Prediction]]:
        return {
            "as_it_is": [
                Prediction(x.id, x.source, references=x.references, source=x.source) for x in test
            ]
        }
