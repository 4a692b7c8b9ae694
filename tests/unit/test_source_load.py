"""What a source names is what is read, and no row stands in two splits."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loratory.errors import ConfigError, DataError
from loratory.tasks.source import Source, SourceRow, fingerprint, load_splits
from realdata import real_data

TEXT = [("text", "label")]


def write(path: Path, texts, label=lambda i: "ab"[i % 2]) -> Path:
    rows = ({"text": text, "label": label(i)} for i, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(n: int, start: int = 0) -> list[str]:
    return [f"Text number {i}." for i in range(start, start + n)]


def ids(rows: list[SourceRow]) -> list[str]:
    return [row.id for row in rows]


def message(source: Source, base: Path, required=TEXT) -> str:
    with pytest.raises(DataError) as caught:
        load_splits(source, required, base, ["text"])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_default_shares_and_their_cap(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", texts(100))
    splits = load_splits(Source("a.jsonl"), TEXT, tmp_path, ["text"])
    assert [len(part) for part in splits[:3]] == [70, 10, 20]
    assert splits.dropped == {}
    write(tmp_path / "b.jsonl", texts(20_000))
    splits = load_splits(Source("b.jsonl"), TEXT, tmp_path, ["text"])
    assert [len(part) for part in splits[:3]] == [18_000, 1_000, 1_000]


@pytest.mark.parametrize(
    ("test", "validation", "expected"),
    [(7, 3, [90, 3, 7]), (0.5, 0.25, [25, 25, 50]), (7, 0, [93, 0, 7]), (7, 0.0, [93, 0, 7])],
)
def test_sizes_are_rows_or_shares(tmp_path: Path, test, validation, expected) -> None:
    write(tmp_path / "a.jsonl", texts(100))
    source = Source("a.jsonl", test_size=test, validation_size=validation)
    assert [len(part) for part in load_splits(source, TEXT, tmp_path, ["text"])[:3]] == expected


def test_given_splits_are_used_whole_and_in_order(tmp_path: Path) -> None:
    for name, start in (("train", 0), ("dev", 10), ("test", 20)):
        write(tmp_path / f"{name}.jsonl", texts(10, start))
    source = Source("train.jsonl", validation="dev.jsonl", test="test.jsonl")
    splits = load_splits(source, TEXT, tmp_path, ["text"])
    assert ids(splits.validation) == [f"dev.jsonl:{i}" for i in range(1, 11)]
    assert [len(part) for part in splits[:3]] == [10, 10, 10]


def test_doubles_of_later_splits_are_dropped_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", ["In test", "in  dev", "fine", "IN BOTH", "fine"])
    write(tmp_path / "dev.jsonl", ["in dev", "in both", "only dev"])
    write(tmp_path / "test.jsonl", ["in\ttest ", "in both"])
    source = Source("train.jsonl", validation="dev.jsonl", test="test.jsonl")
    splits = load_splits(source, TEXT, tmp_path, ["text"])
    assert ids(splits.train) == ["train.jsonl:3", "train.jsonl:5"]
    assert ids(splits.validation) == ["dev.jsonl:1", "dev.jsonl:3"]
    assert ids(splits.test) == ["test.jsonl:1", "test.jsonl:2"]
    assert splits.dropped == {
        "train rows also in test": 2,
        "train rows also in validation": 1,
        "validation rows also in test": 1,
    }


def test_a_carved_test_set_holds_no_row_of_a_given_validation_set(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", texts(50))
    write(tmp_path / "dev.jsonl", texts(20))
    splits = load_splits(Source("train.jsonl", validation="dev.jsonl"), TEXT, tmp_path, ["text"])
    assert splits.dropped == {"train rows also in validation": 20}
    assert [len(part) for part in splits[:3]] == [24, 20, 6]


def test_two_conversations_that_differ_in_the_last_answer_only_are_doubles(tmp_path: Path) -> None:
    for name, answer in (("train", "Yes."), ("test", "No.")):
        turns = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": answer}]
        other = [{"role": "user", "content": name}, {"role": "assistant", "content": answer}]
        lines = [json.dumps({"messages": row}) + "\n" for row in (turns, other)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    source = Source("train.jsonl", test="test.jsonl", validation_size=0)
    splits = load_splits(source, [("messages",)], tmp_path, ["messages"])
    assert splits.dropped == {"train rows also in test": 1}


def test_limits_are_seeded_stratified_samples(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", texts(1000), label=lambda i: "rare" if i % 10 == 0 else "often")
    source = Source("a.jsonl", train_rows=50, test_rows=20, stratify="label")
    splits = load_splits(source, TEXT, tmp_path, ["text"])
    rare = [sum(row.values["label"] == "rare" for row in part) for part in splits[:3]]
    assert [len(part) for part in splits[:3]] == [50, 100, 20]
    assert rare == [5, 10, 2]
    assert ids(splits.train) != [f"a.jsonl:{i}" for i in range(1, 51)]
    other = load_splits(replace(source, seed=1), TEXT, tmp_path, ["text"])
    assert set(ids(other.train)) != set(ids(splits.train))


def test_every_class_is_in_every_part_where_possible(tmp_path: Path) -> None:
    labels = ["common"] * 97 + ["rare"] * 3
    write(tmp_path / "a.jsonl", texts(100), label=labels.__getitem__)
    splits = load_splits(Source("a.jsonl", stratify="label"), TEXT, tmp_path, ["text"])
    for part in splits[:3]:
        assert {row.values["label"] for row in part} == {"common", "rare"}


def test_the_split_is_the_same_in_another_process_with_another_hash_seed(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", texts(200))
    code = (
        "import sys; from pathlib import Path\n"
        "from loratory.tasks.source import *\n"
        "s = load_splits(Source('a.jsonl', stratify='label', train_rows=30), [('text', 'label')],"
        " Path(sys.argv[1]), ['text'])\n"
        "print(*map(fingerprint, s[:3]))\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(printed) == 1
    assert len(set(printed.pop().split())) == 3


def test_the_split_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", texts(100))
    write(tmp_path / "b.jsonl", texts(100)[::-1], label=lambda i: "ba"[i % 2])
    parts = [
        {row.values["text"] for row in load_splits(Source(n), TEXT, tmp_path, ["text"]).test}
        for n in ("a.jsonl", "b.jsonl")
    ]
    assert parts[0] == parts[1]


def test_columns_are_mapped_and_others_pass_through(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("review,stars,text,date\n" + "Good{},5,x,May\n" * 1)
    (tmp_path / "t.csv").write_text("review,stars,text,date\nBad,1,y,June\n")
    source = Source(
        "a.csv", columns={"text": "review", "label": "stars"}, test="t.csv", validation_size=0
    )
    splits = load_splits(source, TEXT, tmp_path, ["text"])
    assert splits.test == [("t.csv:2", {"text": "Bad", "label": "1", "date": "June"})]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "a.csv: no column 'text'. Did you mean 'txt'? Available: stars, txt. If it has "
             "another name here, set data.columns.text=txt."),
        ({"text": "txt"}, "a.csv: no column 'label'. Available: stars, txt. If it has another "
                          "name here, set data.columns.label=…."),
        ({"text": "tx"}, "a.csv: no column 'tx', which data.columns gives for 'text'. Did you "
                         "mean 'txt'? Available: stars, txt."),
        ({"label": "txt", "text": "stars"}, None),
        ({"label": "txt"}, "a.csv: no column 'text'. Did you mean 'txt'?"),
    ],
)  # fmt: skip
def test_a_missing_column_is_said_once(tmp_path: Path, columns, expected) -> None:
    (tmp_path / "a.csv").write_text("txt,stars\n" + "".join(f"a{i},{i}\n" for i in range(20)))
    source = Source("a.csv", columns=columns)
    if expected is None:
        load_splits(source, TEXT, tmp_path, ["text"])
    else:
        assert message(source, tmp_path).startswith(expected)


def test_alternatives_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question\nWhy?\n")
    required = [("prompt", "completion"), ("messages",)]
    sentence = message(Source("a.csv"), tmp_path, required)
    assert "no column 'prompt'. The task needs prompt + completion or messages." in sentence


NAMES = [
    ("reviws.csv", "reviws.csv: no such file (looked for", "Did you mean 'reviews.csv'?"),
    ("sub/x.jsonl", "sub/x.jsonl: no such file", ""),
    ("./folder", "./folder: a folder. Name a file in it", ".csv"),
    ("folder.json", "folder.json: a folder", ".csv"),
    ("reviews.txt", "reviews.txt: files ending in '.txt' are not read. Allowed: .csv", ""),
    ("https://example.org/x.csv", "a web address. Download the file", ""),
]


@pytest.mark.parametrize(("name", "start", "end"), NAMES)
def test_names_that_are_no_readable_file(tmp_path: Path, name, start, end) -> None:
    (tmp_path / "reviews.csv").write_text("text,label\na,b\n")
    (tmp_path / "reviews.txt").write_text("text,label\na,b\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.json").mkdir()
    sentence = message(Source(name), tmp_path)
    assert start in sentence and end in sentence


def test_splits_that_cannot_be(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", texts(10))
    assert "data.test: 'test' is not a file" in message(Source("a.jsonl", test="test"), tmp_path)
    source = Source("embedded:docstrings", test="test")
    assert "data.test: embedded:docstrings has no split 'test'" in message(source, tmp_path)
    with pytest.raises(ConfigError, match=r"data\.name: unknown 'docstring'\. Did you mean"):
        load_splits(Source("embedded:docstring"), TEXT, tmp_path)


def test_empty_parts_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", texts(10))
    write(tmp_path / "one.jsonl", ["the same"] * 9)
    cases = [
        (Source("a.jsonl", test_size=0), "a.jsonl: the test split is empty (10 rows to divide)."),
        (Source("a.jsonl", test="a.jsonl"), "train split is empty (0 rows to divide; 10 train"),
        (Source("one.jsonl"), "one.jsonl: the test split is empty"),
        (Source("a.jsonl", test_size=9), "a.jsonl: the train split is empty (10 rows to divide)"),
        (Source("a.jsonl", test_size=10), "data.test_size: asks for 10 of 10 training rows."),
    ]
    for source, start in cases:
        assert start in message(source, tmp_path)


def test_problems_are_reported_together() -> None:
    source = Source(" ", test_size=1.5, validation_size=-1, train_rows=0)
    with pytest.raises(ConfigError) as caught:
        load_splits(source, TEXT, Path())
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "data.name",
        "data.validation_size",
        "data.test_size",
        "data.train_rows",
    ]
    assert Source("a.csv", test="b.csv", test_size=3).problems() == [
        "test_size: has no effect beside test, which is used whole."
    ]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "data.jsonl", [f"{folder} {i}" for i in range(5)])
    source = Source("train/data.jsonl", test="test/data.jsonl")
    splits = load_splits(source, TEXT, tmp_path, ["text"])
    assert splits.test[0].id == "test/data.jsonl:1"
    assert splits.train[0].id.startswith("train/data.jsonl:")


def test_fingerprint() -> None:
    rows = [SourceRow("a:1", {"t": "x", "n": 1}), SourceRow("a:2", {"t": "\ud800", "b": b"\0"})]
    same = [SourceRow("a:1", {"n": 1, "t": "x"}), rows[1]]
    assert fingerprint(rows) == fingerprint(same)
    assert len(fingerprint(rows)) == 64
    assert fingerprint(rows) != fingerprint(rows[::-1])
    assert fingerprint(rows) != fingerprint([rows[0]._replace(id="a:3"), rows[1]])
    assert fingerprint(rows) != fingerprint(
        [rows[0]._replace(values={"t": "x", "n": "1"}), rows[1]]
    )


def test_real_splits_that_overlap() -> None:
    folder = real_data("summarization/scitldr_train.jsonl").parent
    source = Source(
        "scitldr_train.jsonl", validation="scitldr_dev.jsonl", test="scitldr_test.jsonl"
    )
    splits = load_splits(source, [("document", "summary")], folder, ["document"])
    # Counted by hand with collections.Counter over the lower-cased abstracts.
    assert [len(part) for part in splits[:3]] == [1989, 618, 618]
    assert sum(splits.dropped.values()) == 4
