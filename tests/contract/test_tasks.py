"""What every registered task keeps, whoever wrote it."""

import dataclasses

import pytest

from loratory.codec import from_dict, to_dict
from loratory.errors import DataError
from loratory.metrics.base import METRICS
from loratory.records import Example, Prediction
from loratory.registry import field_docs
from loratory.tasks.base import TASKS, Task

NAMES = TASKS.names()
STYLES = ("chat", "plain", "prefix", "bare")

# Rows for tasks whose columns are not all plain text. Others get texts made up below.
SPECIAL = {
    "classification": [{"text": f"Text {i} of few words.", "label": "ab"[i % 2]} for i in range(6)],
}


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return TASKS.get(request.param)()


def rows_of(task: Task) -> list[dict]:
    columns = task.required()[0]
    made = [{column: f"The {column} of row {i}." for column in columns} for i in range(6)]
    return SPECIAL.get(task.name, made)


def bound(task: Task) -> tuple[Task, list[Example]]:
    rows = rows_of(task)
    task = task.bind(rows)
    return task, [x for i, row in enumerate(rows, 1) for x in task.example(row, f"made.csv:{i}")]


def test_the_built_in_tasks_are_found() -> None:
    assert {"classification", "instruction", "summarization"} <= set(NAMES)


def test_is_a_documented_frozen_dataclass(task: Task) -> None:
    cls = type(task)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    docs = field_docs(cls)
    for field in dataclasses.fields(task):  # type: ignore[arg-type]
        assert docs.get(field.name), f"{cls.__name__}.{field.name}: no sentence beneath the field"
    assert cls.__doc__ and hash(task) == hash(cls())


def test_declares_itself(task: Task) -> None:
    assert task.kind in ("generation", "classification")
    assert all(sentence.endswith(".") for sentence in task.columns.values())
    assert task.required() and all(set(names) <= set(task.columns) for names in task.required())
    assert task.inputs and set(task.inputs) <= set(task.columns)
    # Every way to give a row says what the model is given: else doubles would go unseen.
    assert all(set(names) & set(task.inputs) for names in task.required())
    assert set(task.metrics) <= set(METRICS.names())
    assert task.problems() == []


def test_rows_become_examples(task: Task) -> None:
    _, examples = bound(task)
    assert len({example.id for example in examples}) == len(examples) >= 6
    assert all(example.id.startswith("made.csv:") for example in examples)
    for example in examples:
        assert example.source.strip() == example.source != ""
        assert (example.label is not None) if task.kind == "classification" else example.references
        assert from_dict(Example, to_dict(example), "here") == example


def test_prompts_hold_the_source_in_every_style(task: Task) -> None:
    task, examples = bound(task)
    for style in STYLES:
        prompt = task.prompt(examples[0], style)
        if style == "chat":
            assert isinstance(prompt, tuple) and prompt[-1].role == "user"
            assert examples[0].source in prompt[-1].content
        else:
            assert isinstance(prompt, str) and examples[0].source in prompt
    assert task.prompt(examples[0], "bare") == examples[0].source


def test_answers_are_stripped_text(task: Task) -> None:
    task, examples = bound(task)
    for example in examples:
        assert task.answer(example).strip() == task.answer(example) != ""
    if task.kind == "classification":
        assert len(task.choices()) == len(set(task.choices())) >= 2
        assert {task.answer(example) for example in examples} <= set(task.choices())
    else:
        assert task.choices() == ()


def test_blank_text_is_refused_by_row_and_column(task: Task) -> None:
    bound_task, _ = bound(task)
    row = rows_of(task)[0]
    for column in task.required()[0]:
        if column in task.inputs:
            for blank in ("", " \n", None):
                with pytest.raises(DataError, match=rf"^made\.csv:17: {column} ") as caught:
                    bound_task.example({**row, column: blank}, "made.csv:17")
                assert "\n" not in str(caught.value)


def test_baselines_answer_every_example(task: Task) -> None:
    task, examples = bound(task)
    train, test = examples[:4], examples[4:]
    systems = task.baselines(train, test, seed=3)
    assert systems and systems == task.baselines(train, test, seed=3)
    for predictions in systems.values():
        assert [p.id for p in predictions] == [example.id for example in test]
        for prediction, example in zip(predictions, test, strict=True):
            assert isinstance(prediction, Prediction) and prediction.text
            assert prediction.references == example.references
            assert (prediction.source, prediction.label) == (example.source, example.label)
            if task.kind == "classification":
                assert prediction.predicted in range(len(task.choices()))
                assert sum(prediction.probabilities) == pytest.approx(1)
