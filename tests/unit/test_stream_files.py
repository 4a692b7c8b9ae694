"""Files of predictions: what is read from them, and what is refused, by file and line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.errors import ConfigError, DataError
from loratory.evaluation.columns import Columns
from loratory.evaluation.files import Block, Source, TextFiles, blocks, size
from loratory.evaluation.jsonlines import JsonLines
from loratory.evaluation.stream import read
from loratory.metrics.base import Metric
from loratory.metrics.classification import Classification
from loratory.metrics.extractiveness import Extractiveness
from loratory.metrics.generation import Length
from loratory.metrics.rouge import Rouge
from loratory.records import Prediction

Case = tuple[bytes, str]


def rows(source: Source, *metrics: Metric) -> list[Prediction]:
    return read(source, metrics or [Rouge()])[0]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes files beside each other, and go there."""
    monkeypatch.chdir(tmp_path)

    def make(**files: bytes) -> None:
        for name, content in files.items():
            Path(name).write_bytes(content)

    return make


READ: dict[str, tuple[bytes, list[tuple[str, str, tuple[str, ...]]]]] = {
    "columns by their usual names": (
        b'{"prediction": "a", "reference": "b"}\n{"prediction": "c", "reference": "d"}\n',
        [("1", "a", ("b",)), ("2", "c", ("d",))],
    ),
    "several references": (
        b'{"text": "a", "references": ["b", "c"]}\n{"text": "d", "references": "e"}',
        [("1", "a", ("b", "c")), ("2", "d", ("e",))],
    ),
    "ids, and columns of no concern": (
        b'{"id": 7, "text": "a", "summary": "b", "label": "x", "n": [1]}\n',
        [("7", "a", ("b",))],
    ),
    "records": (
        b'{"v": 1, "id": "x", "text": "a", "references": ["b"], "finished": false}\n',
        [("x", "a", ("b",))],
    ),
    "blank lines, CRLF and a byte order mark": (
        b'\xef\xbb\xbf\r\n{"text": "a", "summary": "b"}\r\n\n  \n{"text": "c", "summary": "d"}\r\n',
        [("2", "a", ("b",)), ("5", "c", ("d",))],
    ),
    "empty, blank and odd texts": (
        b'{"text": "", "summary": " "}\n{"text": "\\ud800", "summary": "\\u0007?!"}\n',
        [("1", "", (" ",)), ("2", "\ud800", ("\x07?!",))],
    ),
    "line separators inside a text": (
        '{"text": "a\u2028b\u0085c", "summary": "d"}\n'.encode(),
        [("1", "a\u2028b\u0085c", ("d",))],
    ),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_read(case: str, made) -> None:
    content, expected = READ[case]
    made(file=content)
    found = rows(JsonLines(Path("file")))
    assert [(row.id, row.text, row.references) for row in found] == expected


def test_a_file_is_closed_when_a_row_is_refused(made, monkeypatch: pytest.MonkeyPatch) -> None:
    made(file=b'{"text": "a", "summary": "b"}\n{"text": 1}\n')
    opened: list[io.BufferedReader] = []

    def note(path: Path, mode: str) -> io.BufferedReader:
        opened.append(open(path, mode))  # noqa: SIM115
        return opened[-1]

    monkeypatch.setattr(Path, "open", note)
    with pytest.raises(DataError) as refused:
        rows(JsonLines(Path("file")))
    assert "file:2" in str(refused.value)
    assert [stream.closed for stream in opened] == [True]


def test_columns_by_name_and_those_that_a_metric_needs(made) -> None:
    made(file=b'{"text": "t", "summary": "s", "document": "d", "out": "o", "gold": "g", "in": "i"}')
    file = Path("file")
    (row,) = rows(JsonLines(file, Columns("out", "gold", "in")), Rouge(), Extractiveness())
    assert (row.text, row.references, row.source) == ("o", ("g",), "i")
    (row,) = rows(JsonLines(file, Columns(prediction="out")), Rouge(), Extractiveness())
    assert (row.text, row.references, row.source) == ("o", ("s",), "d")
    (row,) = rows(JsonLines(file), Length())
    assert (row.text, row.references, row.source) == ("t", (), "")


def test_classes_beside_other_columns(made) -> None:
    made(file=b'{"text": "t", "label": 1, "predicted": 0, "probabilities": [1, 0], "who": "me"}')
    (row,), (metric,) = read(JsonLines(Path("file")))
    assert isinstance(metric, Classification)
    assert (row.label, row.predicted, row.probabilities) == (1, 0, (1.0, 0.0))


REFUSED: dict[str, Case] = {
    "empty": (b"", "file: no predictions in it; give at least one row."),
    "blank": (b"\n \n", "file: no predictions in it"),
    "null": (b'{"text": null, "summary": "a"}', "file:1: text must be text, got null."),
    "number": (b'\n{"text": 3, "summary": "a"}', "file:2: text must be text, got int."),
    "list of numbers": (
        b'{"text": "a", "references": ["b", 2]}',
        "file:1: references[1] must be text, got int.",
    ),
    "no references": (
        b'{"text": "a", "references": ["b"]}\n{"text": "a", "references": []}',
        "file:2: no references, which a metric needs. Fill it in, or leave the metric out.",
    ),
    "a column that goes missing": (
        b'{"text": "a", "summary": "b"}\n{"text": "a", "sumary": "b"}',
        "file:2: no column 'summary'. Did you mean 'sumary'? Available: sumary, text.",
    ),
    "no prediction": (
        b'{"output": "a", "summary": "b"}',
        "file:1: no prediction: none of the columns prediction, text. Name the one that holds it "
        "(--prediction-column). Available: output, summary.",
    ),
    "no reference": (b'{"text": "a", "gold": "b"}', "file:1: no reference: none of the columns"),
    "not JSON": (b'{"text": "a", "summary": "b"}\n{oops}', "file:2: not JSON (Expecting"),
    "raw control character": (b'{"text": "a\x07", "summary": "b"}', "file:1: not JSON (Invalid"),
    "plain text": (b"the cat", "A text file needs its references beside it."),
    "a list": (b'["a", "b"]', "file:1: expected a JSON object, got list."),
    "deep": (b'{"text": ' + b"[" * 100_000, "file:1: not JSON (maximum recursion"),
    "not UTF-8": (
        b'{"text": "a", "summary": "b"}\n{"text": "\xe9", "summary": "b"}',
        "file:2: not UTF-8 (byte 0xE9). Save it as UTF-8.",
    ),
    "UTF-16": ('{"text": "a"}'.encode("utf-16"), "file:1: not UTF-8 (byte 0xFF)"),
    "a record of a newer version": (
        b'{"v": 2, "id": "a", "text": "b", "references": ["c"]}',
        "file:1: record version 2",
    ),
    "a record with a strange field": (
        b'{"id": "a", "text": "b", "references": ["c"]}\n{"id": "b", "txt": "b"}',
        "file:2: unknown field 'txt' in a Prediction.",
    ),
    "finished is no truth": (
        b'{"text": "a", "summary": "b", "finished": "yes"}',
        "file:1: finished: expected bool, got str.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, made) -> None:
    content, sentence = REFUSED[case]
    made(file=content)
    with pytest.raises(DataError) as caught:
        rows(JsonLines(Path("file")))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("file:")


def test_a_column_named_that_is_not_there(made) -> None:
    made(file=b'{"text": "a", "summary": "b"}')
    with pytest.raises(DataError, match="file:1: no column 'summry'"):
        rows(JsonLines(Path("file"), Columns(reference="summry")))
    with pytest.raises(DataError, match="file:1: no source: none of the columns"):
        rows(JsonLines(Path("file")), Extractiveness())


def test_text_files(made) -> None:
    made(p=b"\xef\xbb\xbfa<n>b\r\n\nc", r=b"d\ne<n>\n \n", s=b"x\ny\nz\n")
    found = rows(TextFiles(Path("p"), (Path("r"), Path("s")), "<n>"))
    assert [(row.id, row.text, row.references) for row in found] == [
        ("1", "a\nb", ("d", "x")),
        ("2", "", ("e\n", "y")),
        ("3", "c", (" ", "z")),
    ]
    made(p=b"\xef\xbb\xbf", r=b"\n")
    assert rows(TextFiles(Path("p"), (Path("r"),)))[0].text == ""


@pytest.mark.parametrize("block", [1, 1 << 18])
@pytest.mark.parametrize(
    ("p", "r", "counts"),
    [(b"a\nb\n", b"a\nb\n\n", "p 2, r 3"), (b"a\nb\n\n", b"a\nb", "p 3, r 2")],
)
def test_text_files_of_other_lengths(p: bytes, r: bytes, counts: str, block: int, made) -> None:
    made(p=p, r=r)
    with pytest.raises(DataError) as caught:
        list(blocks(TextFiles(Path("p"), (Path("r"),)), block))
    assert f"p: the files differ in their number of lines ({counts})" in str(caught.value)


def test_text_files_that_are_refused(made) -> None:
    made(p=b"a\nb\n", r=b"a\n\xff\n", empty=b"")
    with pytest.raises(DataError, match=r"^r:2: not UTF-8 \(byte 0xFF\)"):
        rows(TextFiles(Path("p"), (Path("r"),)))
    with pytest.raises(DataError, match=r"^empty: the file is empty"):
        rows(TextFiles(Path("empty"), (Path("empty"),)))
    with pytest.raises(DataError, match=r"^p: text files hold no source"):
        rows(TextFiles(Path("p"), (Path("p"),)), Extractiveness())
    with pytest.raises(DataError, match=r"^absent: no such file\."):
        rows(TextFiles(Path("p"), (Path("absent"),)))
    with pytest.raises(DataError, match=r"^\.: a folder, where a file"):
        rows(TextFiles(Path(), (Path("p"),)))


def test_standard_input(made, monkeypatch: pytest.MonkeyPatch) -> None:
    made(r=b"c\nd\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    source = TextFiles(Path("-"), (Path("r"),))
    assert size(source) is None
    assert [row.text for row in rows(source)] == ["a", "b"]
    with pytest.raises(ConfigError, match="standard input can be read once"):
        rows(TextFiles(Path("-"), (Path("-"),)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\nc\n")))
    with pytest.raises(DataError, match=r"\(- another number, r 2\)"):
        rows(source)


@given(
    st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8")), min_size=1),
    st.integers(1, 50),
)
@settings(deadline=None)
def test_blocks_hold_every_line_once(texts: list[str], bytes_each: int) -> None:
    content = "".join(json.dumps({"text": text, "summary": "s"}) + "\n" for text in texts)
    stream = io.TextIOWrapper(io.BytesIO(content.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stream)
        found: list[Block] = list(blocks(JsonLines(Path("-")), bytes_each))
    assert b"".join(block.parts[0] for block in found) == content.encode()
    settled = JsonLines(Path("-")).settled(found[0], frozenset({"references"}))
    assert [row.text for block in found for row in settled.parse(block)] == texts
    firsts = [block.first for block in found]
    lengths = [block.parts[0].count(b"\n") for block in found]
    assert firsts == [1 + sum(lengths[:i]) for i in range(len(found))]
