"""Records on disk: what is written is read back, and what cannot be read is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.codec import from_dict, read_jsonl, to_dict, to_lines
from loratory.errors import DataError
from loratory.records import Comparison, Example, Message, Prediction, Score

# Every code point, halves of surrogate pairs and line separators among them.
TEXT = st.text(st.characters(exclude_categories=[]) | st.sampled_from("\u2028\u2029\x85\n\r\0"))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | NUMBERS
RECORDS = {
    Example: st.builds(
        Example,
        id=TEXT,
        source=TEXT,
        references=st.lists(TEXT, max_size=3).map(tuple),
        label=st.none() | st.integers(),
        context=st.lists(st.builds(Message, TEXT, TEXT), max_size=2).map(tuple),
    ),
    Prediction: st.builds(
        Prediction,
        id=TEXT,
        text=TEXT,
        label=st.none() | st.integers(0, 9),
        probabilities=st.lists(NUMBERS, max_size=3).map(tuple),
        prompt_tokens=st.integers(0),
        finished=st.booleans(),
    ),
    Score: st.builds(
        Score,
        metric=TEXT,
        value=MAYBE,
        low=MAYBE,
        high=MAYBE,
        n=st.integers(0),
        signature=TEXT,
        reason=st.none() | TEXT,
    ),
    Comparison: st.builds(
        Comparison,
        metric=TEXT,
        base=MAYBE,
        tuned=MAYBE,
        difference=MAYBE,
        low=MAYBE,
        high=MAYBE,
        n=st.integers(0),
        signature=TEXT,
        lower_is_better=st.booleans(),
    ),
}


@pytest.mark.parametrize("cls", RECORDS)
@given(data=st.data())
@settings(deadline=None)
def test_every_record_survives_a_file(
    cls: type, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = data.draw(st.lists(RECORDS[cls], max_size=4))
    path = tmp_path_factory.getbasetemp() / "records.jsonl"
    text = "".join(to_lines(records))
    assert text.count("\n") == len(records)
    path.write_bytes(text.encode())
    assert read_jsonl(path, cls) == records


def test_ordinary_text_stands_as_it_is() -> None:
    (line,) = to_lines([Prediction("a", "é 日本 \u2028")])
    assert "é 日本 \u2028" in line and line.startswith('{"v": 1, "id": "a"')
    (line,) = to_lines([Prediction("a", "é \ud800")])
    assert "\\ud800" in line


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_never_written_nor_read(value: float) -> None:
    with pytest.raises(DataError, match="row 7: a number in it is not finite"):
        list(to_lines([Prediction("row 7", "x", probabilities=(0.5, value))]))
    data = {"id": "a", "text": "b", "probabilities": [value]}
    with pytest.raises(DataError, match=r"f:1: probabilities\[0\]: expected a finite number"):
        from_dict(Prediction, data, "f:1")


def test_absent_fields_take_their_defaults_and_a_version_is_optional() -> None:
    assert from_dict(Prediction, {"id": "a", "text": "b"}, "f:1") == Prediction("a", "b")
    assert from_dict(Prediction, {"v": 1, "id": "a", "text": "b"}, "f:1") == Prediction("a", "b")


PREDICTION = {"id": "a", "text": "b"}
# (record, data, sentence)
WRONG: list[tuple[type, Any, str]] = [
    (Prediction, {**PREDICTION, "v": 2}, "f:1: record version 2, this Loratory reads 1. Upgrade"),
    (Prediction, {**PREDICTION, "v": "1"}, "f:1: record version '1'"),
    (Prediction, {**PREDICTION, "txt": ""}, "f:1: unknown field 'txt' in a Prediction."),
    (Prediction, {"id": "a"}, "f:1: a Prediction needs the field 'text'."),
    (Prediction, [], "f:1: expected a JSON object, got list."),
    (Prediction, {**PREDICTION, "id": 3}, "f:1: id: expected str, got int."),
    (Prediction, {**PREDICTION, "text": None}, "f:1: text: expected str, got NoneType."),
    (Prediction, {**PREDICTION, "label": "x"}, "f:1: label: expected int, got str."),
    (Prediction, {**PREDICTION, "label": 1.0}, "f:1: label: expected int, got float."),
    (Prediction, {**PREDICTION, "label": True}, "f:1: label: expected int, got bool."),
    (Prediction, {**PREDICTION, "finished": 1}, "f:1: finished: expected bool, got int."),
    (Prediction, {**PREDICTION, "references": "x"}, "f:1: references: expected a list, got str."),
    (Prediction, {**PREDICTION, "references": ["x", 3]}, "f:1: references[1]: expected str"),
    (Prediction, {**PREDICTION, "probabilities": [True]}, "probabilities[0]: expected float"),
    (Prediction, {**PREDICTION, "probabilities": [10**400]}, "expected a finite number"),
    (
        Example,
        {"id": "a", "source": "b", "context": [{"role": "user", "content": 3}]},
        "f:1: context[0]: content: expected str, got int.",
    ),
    (
        Example,
        {"id": "a", "source": "b", "context": [{"role": "user"}]},
        "f:1: context[0]: a Message needs the field 'content'.",
    ),
]


@pytest.mark.parametrize(("cls", "data", "sentence"), WRONG)
def test_wrong_records_are_named(cls: type, data: Any, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        from_dict(cls, data, "f:1")
    assert sentence in str(caught.value)


def test_whole_numbers_serve_where_a_fraction_may_stand() -> None:
    found = from_dict(Prediction, {**PREDICTION, "probabilities": [0, 1]}, "f:1")
    assert found.probabilities == (0.0, 1.0) and type(found.probabilities[0]) is float


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"id": "a", "text": "b"}\n\n\n{oops\n', "p.jsonl:4: not JSON"),
        (b"\n[" + b"[" * 100_000, "p.jsonl:2: not JSON"),
        (b'{"id": "a"}\r\n', "p.jsonl:1: a Prediction needs the field 'text'"),
        (b'{"id": "\xff"}\n', "not UTF-8 (byte 8). Save it as UTF-8."),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_jsonl(tmp_path / "p.jsonl", Prediction)
    assert sentence in str(caught.value)


def test_files_of_other_tools_are_read(tmp_path: Path) -> None:
    rows = "\r\n".join(json.dumps({"id": str(i), "text": "x"}) for i in range(2))
    (tmp_path / "p.jsonl").write_text("\ufeff" + rows, encoding="utf-8")
    assert [row.id for row in read_jsonl(tmp_path / "p.jsonl", Prediction)] == ["0", "1"]
    for path, words in ((tmp_path / "x", "no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(DataError, match=words):
            read_jsonl(path, Prediction)


def test_improved_is_never_said_of_what_has_no_better_direction() -> None:
    def made(low: float | None, high: float | None, **flags: bool) -> bool:
        return Comparison("m", 0, 0, 0, low, high, 3, "m|v:1", **flags).improved

    assert made(0.1, 0.2) and made(-0.2, -0.1, lower_is_better=True)
    assert not made(-0.2, -0.1) and not made(0.1, 0.2, lower_is_better=True)
    assert not made(0.0, 0.2) and not made(None, 0.2) and not made(0.1, 0.2, descriptive=True)


def test_a_score_is_shown_with_interval_n_and_signature() -> None:
    assert str(Score("rougeL", 0.4127, 0.406, 0.419, 1000, "rougeL|v:1")) == (
        "rougeL 41.27 [40.6, 41.9] n=1000 rougeL|v:1"
    )
    assert str(Score("auc", None, None, None, 3, "auc|v:1", reason="one class")) == (
        "auc undefined (one class) n=3 auc|v:1"
    )
    assert to_dict(Message("user", "x")) == {"v": 1, "role": "user", "content": "x"}
