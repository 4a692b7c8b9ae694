"""What a task is: it turns rows into examples, and an example into a prompt.

A task knows nothing of models or tokens. It says which columns it reads, checks every row,
words the prompt in the style the model asks for, and names the baselines that any model
should beat and the metrics that fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self

from loratory.records import Example, Message, Prediction
from loratory.registry import Registry

__all__ = ["TASKS", "PromptStyle", "Row", "Task", "task"]

Row = Mapping[str, Any]
"""One row as read: the data's column names, already mapped to the task's, to values."""

PromptStyle = Literal["chat", "plain", "prefix", "bare"]
"""How the model wants its prompt: through its chat template; as text to continue
(decoder-only without a template); as `summarize: …` (encoder-decoder); or the source alone
(a classification head)."""


class Task(Protocol):
    """A frozen dataclass registered with `@task(name)`; its fields are its settings."""

    name: ClassVar[str]
    kind: ClassVar[Literal["generation", "classification"]]
    columns: ClassVar[Mapping[str, str]]
    """Column name to one sentence; those a row must have come first."""
    metrics: ClassVar[tuple[str, ...]]
    """Names of the metrics used when a recipe names none."""

    inputs: ClassVar[tuple[str, ...]]
    """Those columns that hold what the model is given. Rows that agree in them are one
    question, and never stand on both sides of a split."""

    def required(self) -> tuple[tuple[str, ...], ...]:
        """Return the sets of columns that are enough, given these settings.

        Data must have every column of one of the sets; the first is the one to recommend.
        """

    def problems(self) -> list[str]:
        """Return what is wrong with these settings, one `field: sentence` each."""

    def bind(self, rows: Sequence[Row]) -> Self:
        """Return the task with what only the training rows tell, such as the labels."""

    def example(self, row: Row, id: str) -> list[Example]:
        """Check one row and return its examples (a chat may hold several).

        Raises:
            DataError: the sentence begins with `id`, which names source and row.
        """

    def prompt(self, example: Example, style: PromptStyle) -> str | tuple[Message, ...]:
        """Word the prompt: messages for `chat`, text for the other styles."""

    def answer(self, example: Example) -> str:
        """Return the text a generating model should answer: the training target."""

    def choices(self) -> tuple[str, ...]:
        """Return the label words, in class order; empty for a generation task."""

    def baselines(
        self, train: Sequence[Example], test: Sequence[Example], seed: int
    ) -> dict[str, list[Prediction]]:
        """Return what trivial systems answer to `test`, by the system's name."""


TASKS: Registry[Task] = Registry("task", "loratory.tasks")
task = TASKS.register
