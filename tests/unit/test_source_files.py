"""A wrong file gives one sentence that says which file, which line and what to do."""

import json
from pathlib import Path

import pytest

from loratory.errors import DataError
from loratory.tasks.rows import MAX_ROW_BYTES
from loratory.tasks.source.files import SUFFIXES, read_file


def read(path: Path, data: str | bytes):
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_file(path, path.name)


GOOD = [
    ("a.csv", "text,label\nfine,1\n", [("a.csv:2", {"text": "fine", "label": "1"})]),
    ("a.csv", "\ufefftext,label\r\nfine,1\r\n", [("a.csv:2", {"text": "fine", "label": "1"})]),
    ("a.csv", 't\n"two\nlines"\n\nb', [("a.csv:2", {"t": "two\nlines"}), ("a.csv:5", {"t": "b"})]),
    ("a.csv", 'text,label\n"a, ""b""",x\n', [("a.csv:2", {"text": 'a, "b"', "label": "x"})]),
    ("a.tsv", "text\tlabel\na, b\t1\n", [("a.tsv:2", {"text": "a, b", "label": "1"})]),
    ("a.CSV", "text\nx\n", [("a.CSV:2", {"text": "x"})]),
    ("a.jsonl", '{"t": "\u2028"}\n\n{}', [("a.jsonl:1", {"t": "\u2028"}), ("a.jsonl:3", {})]),
    ("a.json", ' [ {"t": 1} ,\n{"t": []}]\n', [("a.json:1", {"t": 1}), ("a.json:2", {"t": []})]),
    ("a.json", '{"t": 1}\n{"t": 2}\n', [("a.json:1", {"t": 1}), ("a.json:2", {"t": 2})]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "rows"), GOOD)
def test_reads(tmp_path: Path, name: str, data: str, rows: list) -> None:
    table = read(tmp_path / name, data)
    assert [(row.id, dict(row.values)) for row in table.rows] == rows
    assert set(table.columns) == {column for _, values in rows for column in values}


BAD = [
    ("a.csv", b"text\nfine\ncaf\xe9\n", "a.csv:3: not UTF-8 at byte 13 of the file (found 0xE9)"),
    ("a.csv", "text\nx".encode("utf-16"), "a.csv:1: not UTF-8 at byte 0 of the file (it looks"),
    ("a.jsonl", b'{"t": 1}\n{"t": "\xff"}\n', "a.jsonl:2: not UTF-8 at byte 16"),
    ("a.json", b'[{"t": 1},\n{"t": "\xff"}]\n', "a.json:2: not UTF-8 at byte 18"),
    ("a.csv", "", "a.csv: the file is empty"),
    ("a.jsonl", " \n\n", "a.jsonl: the file is empty"),
    ("a.json", "", "a.json: the file is empty"),
    ("a.json", "[]", "a.json: the file is empty"),
    ("a.parquet", "", "a.parquet: the file is empty"),
    ("a.csv", "text,label\n", "a.csv: the file holds columns but no rows"),
    ("a.csv", "text,label\nfine,1\na, b,1\n", "a.csv:3: 3 fields where the header has 2"),
    ("a.csv", "text,label\nfine\n", "a.csv:2: 1 fields where the header has 2"),
    ("a.csv", 'text,label\nfine,1\n"never closed,1\nb,2\n', "a.csv:3: a quoted field that begins"),
    ("a.csv", 'text,label\n"a"b,1\n', "a.csv:2: text follows a closing quote"),
    ("a.csv", "text,label\na,1\rb,2\r", "a.csv:2: a bare carriage return"),
    ("a.csv", "text,text\na,b\n", "a.csv:1: the column 'text' stands twice"),
    ("a.jsonl", '{"t": 1}\n{"t": \n', "a.jsonl:2: not JSON (Expecting value"),
    ("a.jsonl", '[{"t": 1}]\n', "a.jsonl:1: a row must be a JSON object of columns, got list"),
    ("a.jsonl", "7\n", "a.jsonl:1: a row must be a JSON object of columns, got int"),
    ("a.jsonl", "[" * 100_000 + "\n", "a.jsonl:1: not JSON"),
    ("a.json", '[{"t": 1},\n {"t" 2}]', "a.json:2: not JSON (Expecting ':' delimiter, line 2 of"),
    ("a.json", '[{"t": 1}\n {"t": 2}]', "a.json:1: no comma or ] after this row (line 2 of the"),
    ("a.json", '[{"t": 1}', "a.json:1: no comma or ]"),
    ("a.json", "[1]", "a.json:1: a row must be a JSON object"),
    ("a.json", '{\n"t": 1}', "a.json:1: not JSON"),
    ("a.parquet", "text,label\n" * 9, "a.parquet: not Parquet"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "message"), BAD)
def test_names_file_line_and_reason(
    tmp_path: Path, name: str, data: str | bytes, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / name, data)
    sentence = str(caught.value)
    assert message in sentence
    assert sentence.endswith(".") and "\n" not in sentence


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
def test_a_row_over_the_limit_is_refused_by_its_line(tmp_path: Path, suffix: str) -> None:
    texts = ["short", "é" * (MAX_ROW_BYTES // 2)]
    lines = {
        ".csv": "text\n" + "".join(f'"{text}"\n' for text in texts),
        ".jsonl": "".join(json.dumps({"t": t}, ensure_ascii=False) + "\n" for t in texts),
        ".json": json.dumps([{"t": text} for text in texts], ensure_ascii=False),
    }
    line = 3 if suffix == ".csv" else 2
    with pytest.raises(DataError, match=rf"a{suffix}:{line}: the row is over .* 10,000,000 bytes"):
        read(tmp_path / f"a{suffix}", lines[suffix])


def test_a_field_may_be_longer_than_the_csv_modules_own_limit(tmp_path: Path) -> None:
    table = read(tmp_path / "a.csv", f'text\n"{"word " * 100_000}"\n')
    assert len(table.rows[0].values["text"]) == 500_000


def test_a_quote_never_closed_in_a_large_file_stops_at_the_limit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv:2: the row is over the limit"):
        read(tmp_path / "a.csv", 'text\n"open\n' + ("line " * 200 + "\n") * (MAX_ROW_BYTES // 900))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", None], "label": [1, 2]}), path)
    table = read_file(path, "a.parquet")
    assert table.columns == ("text", "label")
    assert table.rows[1] == ("a.parquet:2", {"text": None, "label": 2})


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        with pytest.raises(DataError, match=r"gone\.\w+: cannot be read \(No such file"):
            read_file(tmp_path / f"gone{suffix}", f"gone{suffix}")
