"""Scoring files block by block: the same numbers, whatever the blocks and processes."""

from __future__ import annotations

import json
import math
import operator
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.codec import to_lines
from loratory.errors import ConfigError, DataError, RunError
from loratory.evaluation import processes, score
from loratory.evaluation.columns import Columns
from loratory.evaluation.files import TextFiles
from loratory.evaluation.jsonlines import JsonLines
from loratory.evaluation.processes import in_order
from loratory.evaluation.stream import read, score_stream
from loratory.evaluation.tally import Tally
from loratory.metrics.classification import Classification
from loratory.metrics.extractiveness import Extractiveness
from loratory.metrics.generation import Length
from loratory.metrics.rouge import Rouge
from loratory.metrics.rouge.rouge155 import Rouge155Options, rouge155
from loratory.records import Prediction

# Paragraphs of Python's own reference, each with the next one as what it is held against.
TEXTS = [part for text in list(topics.values())[:12] for part in text.split("\n\n")][:120]
PAIRS = list(pairwise(TEXTS))
METRICS = [Rouge(), Length(), Extractiveness()]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file of rows with columns of their own names."""
    path = tmp_path / "rows.jsonl"
    lines = [
        json.dumps({"text": a, "summary": b, "document": f"{a}\n{b}"}, ensure_ascii=False)
        for a, b in PAIRS
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def recorded(path: Path, predictions: list[Prediction]) -> JsonLines:
    path.write_text("".join(to_lines(predictions)), encoding="utf-8")
    return JsonLines(path)


@pytest.mark.parametrize("block_bytes", [1, 700, 1 << 18])
def test_scores_are_those_in_memory(rows: Path, block_bytes: int) -> None:
    predictions, _ = read(JsonLines(rows), METRICS)
    assert [p.text for p in predictions] == [a for a, _ in PAIRS]
    assert [p.references for p in predictions] == [(b,) for _, b in PAIRS]
    found = score_stream(JsonLines(rows), METRICS, block_bytes=block_bytes, processes=1, seed=3)
    assert found.scores == score(predictions, METRICS, seed=3)
    assert (found.group, found.note) == (1, None)


def test_processes_change_nothing(rows: Path) -> None:
    one = score_stream(JsonLines(rows), METRICS, processes=1, resamples=20)
    two = score_stream(JsonLines(rows), METRICS, processes=2, block_bytes=4000, resamples=20)
    assert one == two


def test_processes_start_when_there_is_more_to_do(rows: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.0)
    monkeypatch.setattr(processes, "usable", lambda: 2)
    started = []
    start = processes._start
    monkeypatch.setattr(processes, "_start", lambda: started.append(start()) or started[-1])
    found = score_stream(JsonLines(rows), METRICS, block_bytes=4000, resamples=20)
    assert len(started) == 2 and all(member.poll() is not None for member in started)
    assert found == score_stream(JsonLines(rows), METRICS, processes=1, resamples=20)


def test_a_small_input_starts_no_process(rows: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "_start", lambda: pytest.fail("a process was started"))
    assert score_stream(JsonLines(rows), [Length()]).scores[0].n == len(PAIRS)


def test_text_files_are_scored_as_columns_are(rows: Path, tmp_path: Path) -> None:
    for name, column in (("a", 0), ("b", 1)):
        lines = [pair[column].replace("\n", "<n>") + "\n" for pair in PAIRS]
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
    files = TextFiles(tmp_path / "a", (tmp_path / "b",), "<n>")
    found = score_stream(files, [Rouge()], block_bytes=500, resamples=20)
    assert found == score_stream(JsonLines(rows), [Rouge()], resamples=20)
    twice = TextFiles(tmp_path / "a", (tmp_path / "b", tmp_path / "a"), "<n>")
    # The better of both references is the text itself; one without words scores 0 nevertheless.
    worded = sum(bool(re.search("[a-z0-9]", a.lower())) for a, _ in PAIRS) / len(PAIRS)
    assert score_stream(twice, [Rouge()], resamples=20).scores[0].value == worded


def test_the_columns_chosen_are_told(rows: Path) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.notes: list[str] = []
            self.total = self.done = 0

        def stage(self, name: str) -> None: ...
        def begin(self, task: str, total: int) -> None:
            self.total = total

        def advance(self, done: int, detail: str = "") -> None:
            self.done += done

        def note(self, text: str) -> None:
            self.notes.append(text)

    seen = Recorder()
    source = JsonLines(rows, Columns(source="document"))
    score_stream(source, [Rouge()], progress=seen, block_bytes=999, resamples=5)
    assert seen.notes == [f"{rows}: prediction from 'text', reference from 'summary'"]
    assert seen.done == seen.total == math.ceil(rows.stat().st_size / 1000)


def test_over_20_000_rows_groups_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    words = [len(text.split()) for text in TEXTS]
    path.write_text("".join(f"{'w ' * words[i % 120]}\n" for i in range(41_001)))
    found = score_stream(TextFiles(path, (path,)), [Length()], resamples=20)
    assert found.group == 4
    assert found.note == ("Over 20,000 rows: the intervals resample groups of 4 neighbouring rows.")
    value = next(item for item in found.scores if item.metric == "words")
    assert value.n == 41_001
    assert value.value == math.fsum(words[i % 120] for i in range(41_001)) / 41_001
    assert value.low is not None and value.high is not None
    assert value.low < value.value < value.high


def classes(number: int) -> list[Prediction]:
    return [
        Prediction(str(i), "", label=i * 5 // number, predicted=min(i * 6 // number, 4))
        for i in range(number)
    ]


def test_a_metric_whose_rows_depend_on_each_other_sees_all(tmp_path: Path) -> None:
    """The first block shows one class only."""
    source = recorded(tmp_path / "c.jsonl", classes(60))
    found = score_stream(source, None, block_bytes=500, processes=2)
    assert found.scores == score(classes(60), [Classification()])
    shards = score_stream(source, [Classification(classes=5)], block_bytes=500, processes=1)
    assert shards == found


@dataclass(frozen=True)
class Growing(Length):
    """Its rows are as wide as there are predictions, and it does not say so."""

    name: ClassVar[str] = "growing"

    def statistics(self, predictions: list[Prediction]) -> np.ndarray:
        return np.ones((len(predictions), len(predictions)))


def test_rows_of_other_widths_are_never_added(rows: Path) -> None:
    with pytest.raises(DataError, match=r"growing: rows of .* must say so with `whole`"):
        score_stream(JsonLines(rows), [Growing()], block_bytes=999)


def test_a_metric_that_says_so_is_given_all(rows: Path, monkeypatch) -> None:
    monkeypatch.setattr(Growing, "whole", True, raising=False)
    monkeypatch.setattr(Growing, "reduce", lambda self, totals: {"words": totals[..., 0]})
    (found,) = score_stream(JsonLines(rows), [Growing()], block_bytes=999, resamples=5).scores
    assert found.value == len(PAIRS)


def test_a_metric_that_works_alone_has_one_process(rows: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "_start", lambda: pytest.fail("a process was started"))
    monkeypatch.setattr(Length, "alone", True, raising=False)
    found = score_stream(JsonLines(rows), [Length()], processes=2, block_bytes=999)
    assert found.scores[0].n == len(PAIRS)


def test_settings_are_checked_before_anything_is_read(rows: Path) -> None:
    with pytest.raises(ConfigError, match=r"rouge\.types"):
        score_stream(JsonLines(rows), [Rouge(types=("rougeX",))])
    with pytest.raises(ConfigError, match="processes: 0 is not"):
        score_stream(JsonLines(rows), [Length()], processes=0)
    with pytest.raises(ConfigError, match="confidence: 2 is not between 0 and 1"):
        score_stream(JsonLines(rows.with_name("absent")), [Length()], confidence=2)


def test_rouge155_of_a_file_is_that_of_its_rows(rows: Path) -> None:
    from loratory.evaluation.rouge155 import rouge155_stream

    options = Rouge155Options(max_n=2, stem=True, jackknife=True, samples=20)
    several = [(a, [b, a[: len(a) // 2]]) if i % 2 else (a, [b]) for i, (a, b) in enumerate(PAIRS)]
    lines = [json.dumps({"prediction": a, "references": b}) + "\n" for a, b in several]
    rows.write_text("".join(lines))
    found = rouge155_stream(JsonLines(rows), options, block_bytes=2000, processes=1)
    assert found == rouge155(several, options)
    assert found.ids[:3] == ["1", "2.1", "2.2"]


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(
    st.lists(st.tuples(numbers, st.floats(-1, 1)), min_size=1, max_size=70),
    st.lists(st.integers(0, 70), max_size=6),
)
@settings(deadline=None)
def test_a_tally_depends_on_the_rows_alone(
    rows: list[tuple[float, float]], cuts: list[int]
) -> None:
    array = np.array(rows)
    whole, parts = Tally(most=8), Tally(most=8)
    whole.add(array)
    for part in np.split(array, sorted(cuts)):
        parts.add(part)
    assert (whole.n, whole.group) == (parts.n, parts.group) == (len(rows), whole.group)
    assert np.array_equal(whole.groups(), parts.groups())
    assert np.array_equal(whole.totals(), parts.totals())
    count, rest = divmod(len(rows), whole.group)
    assert len(whole.groups()) == count + bool(rest) and count <= 8
    if len(rows) > 8:
        assert count >= 4
        assert whole.totals().tolist() == [math.fsum(column) for column in array.T.tolist()]
        sums = [array[i : i + whole.group].sum(axis=0) for i in range(0, len(rows), whole.group)]
        np.testing.assert_allclose(whole.groups(), sums, rtol=1e-12, atol=1e-12 * abs(array).max())
    else:
        assert np.array_equal(whole.groups(), array)


def test_exact_sums_of_numbers_far_apart() -> None:
    column = [1e300, 1.0, -1e300, 5e-324, 1e-300, 0.1] * 3
    tally = Tally(most=2)
    tally.add(np.array(column)[:, None])
    assert tally.totals().tolist() == [math.fsum(column)]


def test_a_tally_keeps_the_layout_of_columns() -> None:
    """numpy adds the columns of a transposed array in another order."""
    array = np.random.default_rng(0).random((2, 9000)).T
    tally = Tally()
    for part in np.split(array, [100, 5000]):
        tally.add(part)
    assert np.array_equal(tally.totals(), array.sum(axis=0))


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        Tally().add(np.array([[1.0], [np.nan]]))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch):
    """The processes started; every one must have ended."""
    members: list[subprocess.Popen[bytes]] = []
    start = processes._start
    monkeypatch.setattr(processes, "_start", lambda: members.append(start()) or members[-1])
    yield members
    assert members and all(member.poll() is not None for member in members)


def test_results_come_in_order(started) -> None:
    assert list(in_order(abs, range(-40, 0), 2)) == [(i, -i) for i in range(-40, 0)]


def test_a_generator_left_early_ends_its_processes(started) -> None:
    results = in_order(time.sleep, [0.0, 600.0, 600.0, 600.0], 2)
    assert next(results) == (0.0, None)
    results.close()


@pytest.mark.parametrize(
    ("work", "argument", "words"),
    [(os._exit, 3, "ended with status 3"), (signal.raise_signal, 9, "by signal SIGKILL, as")],
)
def test_a_process_that_dies_is_one_sentence(work, argument, words: str, started) -> None:
    with pytest.raises(RunError, match=words):
        list(in_order(work, [argument], 1 + 1))


def test_a_fault_in_a_process_keeps_its_traceback(started) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Traceback .*TypeError: 'str'"):
        list(in_order(operator.index, ["a"], 2))


def test_a_bad_row_of_another_process_is_named(rows: Path, started) -> None:
    with rows.open("a") as stream:
        stream.write('\n{"text": "a", "summary": 3}\n{oops\n')
    with pytest.raises(DataError, match=rf"rows.jsonl:{len(PAIRS) + 1}: summary must be text, got"):
        score_stream(JsonLines(rows), [Rouge()], processes=2, block_bytes=2000)


def test_a_process_starts_light() -> None:
    code = "import sys, loratory.evaluation.worker, loratory.evaluation.stream\n"
    code += "print(*{'torch', 'transformers', 'typer', 'rich', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
