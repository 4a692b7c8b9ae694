"""Classification: a text in, one of a few labels out."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from loratory.errors import ConfigError, DataError
from loratory.records import Example, Message, Prediction
from loratory.tasks.base import PromptStyle, Row, task
from loratory.tasks.rows import text_of
from loratory.tasks.template import fill, template_problems

__all__ = ["Classification"]

TEMPLATES: dict[PromptStyle, str] = {
    "chat": "Classify the following text as one of: {labels}. "
    "Answer with the label only.\n\n{text}",
    "plain": "{text}\n\nLabel:",
    "prefix": "classify: {text}",
    "bare": "{text}",
}


@task("classification")
@dataclass(frozen=True)
class Classification:
    """Give a text one of a few labels.

    Class i is the i-th of `labels`, counted from 0 whatever the data counts from: of stars 1
    to 5, the class of 5 is 4. 1, 1.0, "1" and "1.0" are one label.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["generation", "classification"]] = "classification"
    columns: ClassVar[Mapping[str, str]] = {
        "text": "The text to classify.",
        "label": "Its label: a name, a number, or true and false.",
    }
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    metrics: ClassVar[tuple[str, ...]] = ("classification",)

    labels: tuple[str, ...] = ()
    """Names of the classes, in order; none: those of the training rows, sorted."""
    words: tuple[str, ...] = ()
    """What a language model answers for each class; none: the labels themselves."""
    count_from: Literal[0, 1] | None = None
    """Number of the first class, where data has numbers for named labels; none: found out."""
    template: str | None = None
    """Wording of the prompt, with {text} and perhaps {labels}; none: what suits the model."""

    def required(self) -> tuple[tuple[str, ...], ...]:
        return (("text", "label"),)

    def problems(self) -> list[str]:
        found = []
        for field, names in (("labels", self.labels), ("words", self.words)):
            spelled = [name.strip() for name in names]
            if "" in spelled:
                found.append(f"{field}: one of them is blank.")
            if len(set(spelled)) < len(spelled):
                found.append(f"{field}: one of them stands there twice.")
        if len(self.labels) == 1:
            found.append("labels: one label alone leaves nothing to tell apart. Give two or more.")
        if self.labels and self.words and len(self.labels) != len(self.words):
            found.append(f"words: {len(self.words)} words for {len(self.labels)} labels.")
        if self.template is not None:
            found += template_problems(self.template, ["text"], ["labels"])
        return found

    def bind(self, rows: Sequence[Row]) -> Self:
        """Return the task with the labels of the training rows, or with where they count from.

        Rows without a usable label are passed over here; `example` names them.

        Raises:
            DataError: fewer than two classes, or numbers that may count from 0 or from 1.
            ConfigError: the number of words is not that of the labels found.
        """
        seen = {spelled for row in rows if (spelled := _spell(row.get("label"))) is not None}
        labels = tuple(_spell(label) or label for label in self.labels)
        if not labels:
            labels = tuple(sorted(seen, key=_order))
        if self.words and len(self.words) != len(labels):
            raise ConfigError(
                f"task.words: {len(self.words)} words for the {len(labels)} labels of the "
                f"training rows ({_listed(labels)})."
            )
        first = self.count_from
        if first is None and seen and seen.isdisjoint(labels):
            first = _first(seen, labels)
        bound = dataclasses.replace(self, labels=labels, count_from=first)
        known = {index for label in seen if (index := bound.index(label)) is not None}
        if len(known) < 2:
            found = _listed(sorted(seen, key=_order)) or "none"
            allowed = f" (allowed: {_listed(labels)})" if self.labels else ""
            raise DataError(
                f"label: the training rows have fewer than two classes. Labels found: {found}"
                f"{allowed}."
            )
        return bound

    def index(self, label: object) -> int | None:
        """Return the class of a label as the data has it, or None when it is none of them."""
        spelled = _spell(label)
        if spelled in self.labels:
            return self.labels.index(spelled)
        if self.count_from is not None and spelled is not None and spelled.isdecimal():
            index = int(spelled) - self.count_from
            return index if 0 <= index < len(self.labels) else None
        return None

    def example(self, row: Row, id: str) -> list[Example]:
        assert self.labels, "bind() first: the labels come from the training rows"
        text = text_of(row, "text", id)
        value = row.get("label")
        if _spell(value) is None:
            what = (
                "is missing"
                if value is None or value != value or value == ""
                else (f"must be a name or a number, got {type(value).__name__}")
            )
            raise DataError(f"{id}: label {what}. Allowed: {_listed(self.labels)}.")
        label = self.index(value)
        if label is None:
            first = self.count_from
            numbers = "" if first is None else f" (or {first} to {first + len(self.labels) - 1})"
            raise DataError(
                f"{id}: unknown label {value!r}. Allowed: {_listed(self.labels)}{numbers}."
            )
        return [Example(id, text, label=label)]

    def prompt(self, example: Example, style: PromptStyle) -> str | tuple[Message, ...]:
        template = TEMPLATES[style]
        if self.template is not None and style != "bare":
            template = self.template
        text = fill(template, text=example.source, labels=", ".join(self.choices()))
        return (Message("user", text),) if style == "chat" else text

    def answer(self, example: Example) -> str:
        assert example.label is not None
        return self.choices()[example.label]

    def choices(self) -> tuple[str, ...]:
        return self.words or self.labels

    def baselines(
        self,
        train: Sequence[Example],
        test: Sequence[Example],
        seed: int,  # noqa: ARG002
    ) -> dict[str, list[Prediction]]:
        """Return `majority`: the most frequent class, with the training frequencies."""
        counts = [sum(x.label == label for x in train) for label in range(len(self.labels))]
        shares = tuple(count / len(train) for count in counts)
        top = counts.index(max(counts))
        return {
            "majority": [
                Prediction(
                    x.id,
                    self.labels[top],
                    source=x.source,
                    label=x.label,
                    predicted=top,
                    probabilities=shares,
                )
                for x in test
            ]
        }


def _spell(label: object) -> str | None:
    """Return a label as text, alike for 1, 1.0 and "1.0"; None when it is no label."""
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float):
        if not math.isfinite(label):
            return None
        return str(int(label)) if label.is_integer() else str(label)
    if isinstance(label, int):
        return str(label)
    if not isinstance(label, str):
        return None
    text = label.strip()
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text) or None


def _order(label: str) -> tuple[int, float, str]:
    """Numbers by value, and before names."""
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _first(seen: set[str], labels: Sequence[str]) -> Literal[0, 1] | None:
    """Return 0 or 1, whichever the numbers in the data count from; None for no such numbers."""
    numbers = {int(label) for label in seen if label.isdecimal()} & set(range(len(labels) + 1))
    if 0 in numbers:
        return 0
    if len(labels) in numbers:
        return 1
    if not numbers:
        return None
    raise DataError(
        f"label: the training rows have {_listed(sorted(seen, key=_order))} for the labels "
        f"{_listed(labels)}, which may count from 0 or from 1. Set task.count_from."
    )


def _listed(labels: Sequence[str], most: int = 20) -> str:
    more = f" and {len(labels) - most:,} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more
