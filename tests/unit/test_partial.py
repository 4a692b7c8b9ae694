"""What a stage has answered so far."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.errors import RunError
from loratory.records import Prediction
from loratory.runs.partial import ALONE, Partial, Share, discard

ROWS = [Prediction(id=str(i), text=f"answer {i}\u2028", references=("x",)) for i in range(4)]


def partial(folder, key="key"):
    return Partial(Path(folder), "predict/base", key, Prediction)


def filled(folder):
    partial(folder).keep(2, ROWS)
    return Path(folder) / "partial/predict/base/000002.jsonl"


def test_a_part_is_read_as_it_was_kept(tmp_path):
    filled(tmp_path)
    assert partial(tmp_path).read(2, 4) == ROWS
    assert partial(tmp_path).read(1, 4) is None
    assert partial(tmp_path).read(2, 3) is None
    assert partial(tmp_path, "other").read(2, 4) is None
    partial(tmp_path, "other").keep(2, ROWS[:1])
    assert partial(tmp_path).read(2, 4) is None
    assert partial(tmp_path, "other").read(2, 1) == ROWS[:1]


@given(st.data())
def test_wherever_it_was_cut_off_it_is_not_there(data):
    with tempfile.TemporaryDirectory() as folder:
        file = filled(folder)
        content = file.read_bytes()
        file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        assert partial(folder).read(2, 4) is None


@given(place=st.integers(0, 300), byte=st.integers(0, 255))
def test_a_damaged_byte_leaves_rows_or_none(place, byte):
    with tempfile.TemporaryDirectory() as folder:
        file = filled(folder)
        content = bytearray(file.read_bytes())
        content[place] = byte
        file.write_bytes(content)
        left = partial(folder).read(2, 4)
        assert left is None or (len(left) == 4 and all(isinstance(r, Prediction) for r in left))


@given(of=st.integers(1, 5), parts=st.integers(0, 12))
def test_every_part_is_one_processs(of, parts):
    shares = [Share(number, of) for number in range(of)]
    assert all(sum(share.has(part) for share in shares) == 1 for part in range(parts))
    assert all(ALONE.has(part) for part in range(parts))


def test_it_is_gone_when_the_stage_is_done(tmp_path):
    filled(tmp_path)
    discard(tmp_path)
    assert list(tmp_path.iterdir()) == []
    discard(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "partial").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        partial(tmp_path).keep(0, ROWS)
