"""Instruction following: a prompt or a conversation in, the assistant's turn out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from loratory.errors import DataError
from loratory.records import Example, Message, Prediction
from loratory.tasks.base import PromptStyle, Row, task
from loratory.tasks.baseline import random_answers
from loratory.tasks.rows import checked_text, text_of

__all__ = ["Instruction"]

ROLES = ("system", "user", "assistant")


@task("instruction")
@dataclass(frozen=True)
class Instruction:
    """Answer an instruction, alone or as the next turn of a conversation.

    A row has `messages`, or `prompt` and `completion`, or `instruction` and `output` with
    perhaps `input` (the columns of Alpaca). Where it has several, the first of these counts.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["generation", "classification"]] = "generation"
    columns: ClassVar[Mapping[str, str]] = {
        "prompt": "What the user asks.",
        "completion": "What the assistant answers.",
        "messages": "Instead: a list of {role, content}, the last of the assistant.",
        "instruction": "Instead, as in Alpaca: what the user asks.",
        "input": "Optional text that `instruction` is about.",
        "output": "What the assistant answers to `instruction`.",
    }
    inputs: ClassVar[tuple[str, ...]] = ("messages", "prompt", "instruction", "input")
    metrics: ClassVar[tuple[str, ...]] = ("rouge", "length")

    turns: Literal["last", "all"] = "last"
    """Which turns of the assistant are examples: the last, or each (ids end in #1, #2, …)."""

    def required(self) -> tuple[tuple[str, ...], ...]:
        return (("prompt", "completion"), ("messages",), ("instruction", "output"))

    def problems(self) -> list[str]:
        if self.turns not in ("last", "all"):
            return [f"turns: unknown '{self.turns}'. Available: all, last."]
        return []

    def bind(self, rows: Sequence[Row]) -> Self:  # noqa: ARG002
        """Return the task itself: training rows tell it nothing."""
        return self

    def example(self, row: Row, id: str) -> list[Example]:
        messages = _messages(row, id)
        answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
        if self.turns == "last":
            return [_example(messages, answers[-1], id)]
        return [_example(messages, turn, f"{id}#{n}") for n, turn in enumerate(answers, 1)]

    def prompt(self, example: Example, style: PromptStyle) -> str | tuple[Message, ...]:
        messages = (*example.context, Message("user", example.source))
        if style == "chat":
            return messages
        if style == "bare":
            return example.source
        if len(messages) == 1:
            return f"{example.source}\n"
        names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
        lines = [names[message.role] + message.content for message in messages]
        return "\n".join([*lines, "Assistant:"])

    def answer(self, example: Example) -> str:
        return example.references[0]

    def choices(self) -> tuple[str, ...]:
        return ()

    def baselines(
        self, train: Sequence[Example], test: Sequence[Example], seed: int
    ) -> dict[str, list[Prediction]]:
        """Return `random_completion`: the answer to some other instruction."""
        return {"random_completion": random_answers(train, test, seed)}


def _example(messages: Sequence[Message], turn: int, id: str) -> Example:
    """Return the example whose answer is the assistant's message at index `turn`."""
    return Example(
        id,
        source=messages[turn - 1].content,
        references=(messages[turn].content,),
        context=tuple(messages[: turn - 1]),
    )


def _messages(row: Row, id: str) -> list[Message]:
    if row.get("messages") is not None:
        return _conversation(row["messages"], id)
    if row.get("prompt") is not None or row.get("completion") is not None:
        user, assistant = text_of(row, "prompt", id), text_of(row, "completion", id)
    elif "instruction" in row:
        user, assistant = text_of(row, "instruction", id), text_of(row, "output", id)
        about = row.get("input")
        if about is not None and about != "":  # Alpaca has "" where there is none
            user = f"{user}\n\n{checked_text(about, 'input', id)}"
    else:
        missing = next(column for column in ("messages", "prompt", "completion") if column in row)
        raise DataError(f"{id}: {missing} is missing. Fill it in or remove the row.")
    return [Message("user", user), Message("assistant", assistant)]


def _conversation(value: Any, id: str) -> list[Message]:
    """Check a list of turns: an optional system's, then user and assistant by turns."""
    if not isinstance(value, list | tuple) or not value:
        what = "an empty list" if isinstance(value, list | tuple) else type(value).__name__
        raise DataError(f"{id}: messages must be a list of {{role, content}}, got {what}.")
    messages = [_message(turn, f"messages[{i}]", id) for i, turn in enumerate(value)]
    body = messages[1:] if messages[0].role == "system" else messages
    offset = len(messages) - len(body)
    for i, message in enumerate(body):
        expected = ROLES[1 + i % 2]
        if message.role != expected:
            raise DataError(
                f"{id}: messages[{i + offset}] is the {message.role}'s where the {expected}'s "
                "turn is due. After an optional system message, user and assistant alternate."
            )
    if not body or body[-1].role != "assistant":
        raise DataError(f"{id}: messages must end with the assistant's, which is to be learnt.")
    return messages


def _message(value: Any, where: str, id: str) -> Message:
    if not isinstance(value, Mapping):
        raise DataError(f"{id}: {where} must have role and content, got {type(value).__name__}.")
    role = value.get("role")
    if role not in ROLES:
        raise DataError(f"{id}: {where}.role is {role!r}. Allowed: {', '.join(ROLES)}.")
    return Message(role, checked_text(value.get("content"), f"{where}.content", id))
