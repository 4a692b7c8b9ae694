"""Summarisation: a document in, a short text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from loratory.errors import DataError
from loratory.records import Example, Message, Prediction
from loratory.tasks.base import PromptStyle, Row, task
from loratory.tasks.baseline import (
    answered,
    first_sentence,
    lead,
    random_answers,
    typical_words,
)
from loratory.tasks.rows import checked_text, text_of
from loratory.tasks.template import fill, template_problems

__all__ = ["Summarization"]

TEMPLATES: dict[PromptStyle, str] = {
    "chat": "Summarize the following text in one sentence.\n\n{document}",
    "plain": "{document}\n\nTL;DR:",
    "prefix": "summarize: {document}",
    "bare": "{document}",
}


@task("summarization")
@dataclass(frozen=True)
class Summarization:
    """Summarise a document. Several references are all scored; the first is trained on."""

    name: ClassVar[str]
    kind: ClassVar[Literal["generation", "classification"]] = "generation"
    columns: ClassVar[Mapping[str, str]] = {
        "document": "The text to summarise.",
        "summary": "Its summary, or a list of several; the first is the training target.",
        "references": "Optional list of further summaries, for scoring.",
    }
    inputs: ClassVar[tuple[str, ...]] = ("document",)
    metrics: ClassVar[tuple[str, ...]] = ("rouge", "length")

    template: str | None = None
    """Wording of the prompt, with {document} in it; none: what suits the model."""

    def required(self) -> tuple[tuple[str, ...], ...]:
        return (("document", "summary"),)

    def problems(self) -> list[str]:
        return [] if self.template is None else template_problems(self.template, ["document"])

    def bind(self, rows: Sequence[Row]) -> Self:  # noqa: ARG002
        """Return the task itself: training rows tell it nothing."""
        return self

    def example(self, row: Row, id: str) -> list[Example]:
        document = text_of(row, "document", id)
        summary, more = row.get("summary"), row.get("references")
        if more is not None and not isinstance(more, list | tuple):
            raise DataError(f"{id}: references must be a list, got {type(more).__name__}.")
        if isinstance(summary, list | tuple) and not summary:
            raise DataError(f"{id}: summary is an empty list. Fill it in or remove the row.")
        first = summary if isinstance(summary, list | tuple) else [summary]
        texts = [checked_text(text, "summary", id) for text in first]
        texts += [checked_text(text, "references", id) for text in more or ()]
        return [Example(id, document, tuple(dict.fromkeys(texts)))]

    def prompt(self, example: Example, style: PromptStyle) -> str | tuple[Message, ...]:
        template = TEMPLATES[style]
        if self.template is not None and style != "bare":
            template = self.template
        text = fill(template, document=example.source)
        return (Message("user", text),) if style == "chat" else text

    def answer(self, example: Example) -> str:
        return example.references[0]

    def choices(self) -> tuple[str, ...]:
        return ()

    def baselines(
        self, train: Sequence[Example], test: Sequence[Example], seed: int
    ) -> dict[str, list[Prediction]]:
        """Return `lead_sentence`, `lead_words` and `random_summary`.

        The last two are as long as the median training summary, in words.
        """
        words = typical_words(train)
        return {
            "lead_sentence": [answered(x, first_sentence(x.source)) for x in test],
            "lead_words": [answered(x, lead(x.source, words)) for x in test],
            "random_summary": random_answers(train, test, seed),
        }
