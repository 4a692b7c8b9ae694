"""Summarisation: rows, prompts, and the baselines a model must beat."""

import pytest

from loratory.errors import DataError
from loratory.records import Example, Message
from loratory.tasks.base import TASKS
from loratory.tasks.baseline import first_sentence, random_answers, typical_words
from realdata import real_rows

TASK = TASKS.get("summarization")()


def test_several_references_summary_first_without_doubles() -> None:
    row = {"document": " A text. ", "summary": "S", "references": ["R", "S", " R "]}
    assert TASK.example(row, "f:1") == [Example("f:1", "A text.", ("S", "R"))]
    row = {"document": "A", "summary": ["S", "T"]}
    assert TASK.example(row, "f:1")[0].references == ("S", "T")
    assert TASK.answer(TASK.example(row, "f:1")[0]) == "S"


BAD = [
    ({"summary": "s"}, "f:7: document is missing"),
    ({"document": " \u200b\n", "summary": "s"}, "f:7: document is blank"),
    ({"document": 3, "summary": "s"}, "f:7: document must be text, got int"),
    ({"document": "a\0b", "summary": "s"}, "f:7: document holds a NUL character (character 2)"),
    ({"document": "a", "summary": "b\ud83d"}, "f:7: summary holds U+D83D (character 2), one half"),
    ({"document": "a", "summary": ""}, "f:7: summary is blank"),
    ({"document": "a", "summary": None}, "f:7: summary is missing"),
    ({"document": "a", "summary": []}, "f:7: summary is an empty list"),
    ({"document": "a", "summary": "s", "references": "r"}, "f:7: references must be a list"),
    ({"document": "a", "summary": "s", "references": ["r", ""]}, "f:7: references is blank"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row, message: str) -> None:
    with pytest.raises(DataError) as caught:
        TASK.example(row, "f:7")
    assert str(caught.value).startswith(message)


def test_prompts() -> None:
    example = Example("f:1", "Braces {document} stay.", ("S",))
    assert TASK.prompt(example, "plain") == "Braces {document} stay.\n\nTL;DR:"
    assert TASK.prompt(example, "prefix") == "summarize: Braces {document} stay."
    assert TASK.prompt(example, "bare") == example.source
    chat = TASK.prompt(example, "chat")
    assert chat == (
        Message("user", f"Summarize the following text in one sentence.\n\n{example.source}"),
    )
    own = TASKS.get("summarization")(template="{{brief}} {document}")
    assert own.prompt(example, "plain") == "{brief} Braces {document} stay."
    assert own.prompt(example, "chat") == (Message("user", "{brief} Braces {document} stay."),)


@pytest.mark.parametrize(
    ("template", "problems"),
    [
        ("Shorten: {document}", []),
        ("Shorten this.", ["template: {document} is missing."]),
        ("{document} {text}", ["template: unknown field {text}. Allowed: {document}."]),
        ("{document!r}", ["template: write {document} without a format."]),
        ("{document} {}", ["template: unknown field {}. Allowed: {document}."]),
        ("{document", ["template: expected '}' before end of string. "
                       "Write a brace that is meant as one twice: {{ or }}."]),
    ],
)  # fmt: skip
def test_templates_are_checked(template: str, problems: list[str]) -> None:
    assert TASKS.get("summarization")(template=template).problems() == problems


SENTENCES = [
    ("One. Two.", "One."),
    ("Dr. Smith et al. found it (Fig. 3). Then more.", "Dr. Smith et al. found it (Fig. 3)."),
    ("J. R. Smith wrote it. More.", "J. R. Smith wrote it."),
    ("Version 3.11 is out! Yes.", "Version 3.11 is out!"),
    ('He said "No." Then he left.', 'He said "No."'),
    ("A heading\n\nThe first\nsentence. The second.", "The first sentence."),
    ("No mark at all", "No mark at all"),
    ("I am one. So am I. Done.", "I am one."),
    ("これは文です。次の文。", "これは文です。"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_first_sentence(text: str, expected: str) -> None:
    assert first_sentence(text) == expected


def test_baselines_are_as_long_as_training_targets() -> None:
    train = [
        Example(f"t:{i}", "d", (" ".join(["w"] * n) + f" {i}",))
        for i, n in enumerate([1, 3, 9] * 60)
    ]
    test = [Example("x:1", "a b c d end. Go", ("r",))]
    assert typical_words(train) == 4
    answers = TASK.baselines(train, test, seed=1)
    assert answers["lead_words"][0].text == "a b c d"
    assert answers["lead_sentence"][0].text == "a b c d end."
    many = [Example(f"x:{i}", "d", ("r",)) for i in range(300)]
    drawn = random_answers(train, many, 1)
    lengths = [len(prediction.text.split()) for prediction in drawn]
    assert max(lengths) == 4 and len({p.text for p in drawn}) > 50
    assert drawn == random_answers(train, many, 1) != random_answers(train, many, 2)


def test_real_rows() -> None:
    for file in ("scitldr_test", "opinosis", "qmsum_span_val"):
        rows = real_rows(f"summarization/{file}.jsonl")
        examples = [TASK.example(row, f"{file}:{i}")[0] for i, row in enumerate(rows)]
        answers = TASK.baselines(examples, examples, 0)
        assert all(p.text for predictions in answers.values() for p in predictions)
    assert max(len(example.references) for example in examples) == 1  # qmsum
