"""Instruction following: three layouts of a row, one kind of example."""

import pytest

from loratory.errors import DataError
from loratory.records import Example, Message
from loratory.tasks.base import TASKS

Instruction = TASKS.get("instruction")
TASK = Instruction()


def turns(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


CHAT = turns(
    ("system", "Be brief."),
    ("user", "Hi?"),
    ("assistant", "Yes."),
    ("user", "Why?"),
    ("assistant", "So."),
)
CONTEXT = (Message("system", "Be brief."), Message("user", "Hi?"), Message("assistant", "Yes."))


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"prompt": "Why? ", "completion": " So."}, Example("f:1", "Why?", ("So.",))),
        ({"instruction": "Why?", "output": "So."}, Example("f:1", "Why?", ("So.",))),
        ({"instruction": "Add.", "input": "1", "output": "3"}, Example("f:1", "Add.\n\n1", ("3",))),
        ({"instruction": "Why?", "input": "", "output": "So."}, Example("f:1", "Why?", ("So.",))),
        ({"messages": CHAT, "prompt": None}, Example("f:1", "Why?", ("So.",), context=CONTEXT)),
        ({"messages": None, "prompt": "Why?", "completion": "So"}, Example("f:1", "Why?", ("So",))),
    ],
)  # fmt: skip
def test_layouts(row, example: Example) -> None:
    assert TASK.example(row, "f:1") == [example]


def test_every_turn_can_be_an_example() -> None:
    first, second = Instruction(turns="all").example({"messages": CHAT}, "f:1")
    assert first == Example("f:1#1", "Hi?", ("Yes.",), context=CONTEXT[:1])
    assert second == Example("f:1#2", "Why?", ("So.",), context=CONTEXT)


U, A, S = ("user", "u"), ("assistant", "a"), ("system", "s")
BAD = [
    ({"prompt": "p"}, "f:3: completion is missing"),
    ({"prompt": " ", "completion": "c"}, "f:3: prompt is blank"),
    ({"prompt": None, "completion": None}, "f:3: prompt is missing"),
    ({"messages": None}, "f:3: messages is missing"),
    ({"instruction": "i", "output": ""}, "f:3: output is blank"),
    ({"instruction": "i", "input": " ", "output": "o"}, "f:3: input is blank"),
    ({"messages": "[]"}, "f:3: messages must be a list of {role, content}, got str"),
    ({"messages": []}, "f:3: messages must be a list of {role, content}, got an empty list"),
    ({"messages": ["hi"]}, "f:3: messages[0] must have role and content, got str"),
    (
        {"messages": turns(("human", "u"), A)},
        "f:3: messages[0].role is 'human'. Allowed: system, user",
    ),
    ({"messages": turns(U, ("assistant", " "))}, "f:3: messages[1].content is blank"),
    ({"messages": turns(("user", None), A)}, "f:3: messages[0].content is missing"),
    ({"messages": turns(U)}, "f:3: messages must end with the assistant's"),
    ({"messages": turns(S)}, "f:3: messages must end with the assistant's"),
    ({"messages": turns(U, U, A)}, "f:3: messages[1] is the user's where the assistant's turn"),
    ({"messages": turns(A)}, "f:3: messages[0] is the assistant's where the user's turn"),
    ({"messages": turns(S, U, S, A)}, "f:3: messages[2] is the system's where the assistant's"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row, message: str) -> None:
    with pytest.raises(DataError) as caught:
        TASK.example(row, "f:3")
    assert str(caught.value).startswith(message)


def test_prompts() -> None:
    single = Example("f:1", "Why?", ("So.",))
    assert TASK.prompt(single, "plain") == "Why?\n"
    assert TASK.prompt(single, "chat") == (Message("user", "Why?"),)
    (long,) = TASK.example({"messages": CHAT}, "f:1")
    assert TASK.prompt(long, "chat") == (*CONTEXT, Message("user", "Why?"))
    assert (
        TASK.prompt(long, "plain")
        == "Be brief.\nUser: Hi?\nAssistant: Yes.\nUser: Why?\nAssistant:"
    )
    assert TASK.prompt(long, "bare") == "Why?"


def test_problems() -> None:
    assert Instruction(turns="first").problems() == [
        "turns: unknown 'first'. Available: all, last."
    ]
