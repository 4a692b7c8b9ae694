"""The same recipe twice gives the same bytes, and the base model answers only once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import loratory
from loratory.runs import Run


class Recorder:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []
        self.work: dict[str, list[int]] = {}
        self._task = ""

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def begin(self, task: str, total: int) -> None:
        self._task = task
        self.work[task] = [0, total]

    def advance(self, done: int, detail: str = "") -> None:
        self.work[self._task][0] += done

    def note(self, text: str) -> None:
        self.notes.append(text)


PROBES = ("text", "choices", "pairs")


def cached(heard: Recorder) -> bool:
    return "Base predictions taken from the cache" in heard.notes


def test_a_recipe_twice_gives_the_same_bytes(recipe, workshop) -> None:
    path = recipe()
    first, second = Recorder(), Recorder()
    one, two = loratory.run(path, first), loratory.run(path, second)
    assert not cached(first) and cached(second)
    stages = ["check", "prepare", "train", "predict", "probe", "score", "compare", "report"]
    assert first.stages == second.stages == stages
    base, tuned = ({f"{name}, {who}": [4, 4] for name in PROBES} for who in ("base", "tuned"))
    answered = {"train": [4, 4], "predict tuned": [8, 8], **tuned}
    assert first.work == {**answered, "predict base": [8, 8], **base}
    assert second.work == answered
    files = sorted(path.relative_to(one.folder) for path in one.folder.rglob("*.jsonl"))
    assert len(files) == 3 + 2 + 5 + 2 * 4  # splits, logs, systems, probes and swapped rows
    for name in (
        *files,
        "config.yaml",
        "adapter/adapter_model.safetensors",
        "scores.json",
        "comparison.json",
    ):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name


@pytest.mark.slow
def test_what_changes_the_answers_is_not_taken_from_the_cache(recipe) -> None:
    loratory.run(recipe("classification"))
    for changes in (
        {"decode": {"batch_size": 3}},
        {"data": {"max_prompt_tokens": 6}},
        {"data": {"test_size": 9}},
        {"seed": 1},
    ):
        heard = Recorder()
        loratory.run(recipe("classification", **changes), heard)
        assert not cached(heard), changes
    heard = Recorder()
    loratory.run(recipe("classification", method={"r": 1}, train={"learning_rate": 1e-2}), heard)
    assert cached(heard)


@pytest.mark.slow
def test_a_damaged_cache_is_made_again(recipe) -> None:
    path = recipe("classification")
    one = loratory.run(path)
    (kept,) = Path(os.environ["LORATORY_CACHE"], "predictions").iterdir()
    whole = kept.read_bytes()
    for damage in (
        whole[: len(whole) // 2],
        whole[: whole.index(b"\n") + 1],
        b"",
        b'{"v": 99}\n',
        b"\xff\xfe",
    ):
        kept.write_bytes(damage)
        heard = Recorder()
        two = loratory.run(path, heard)
        assert not cached(heard)
        assert two.predictions("base") == one.predictions("base")
        assert kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(recipe, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "file" / "cache"))
    assert loratory.run(recipe("classification")).manifest()["status"] == "complete"


def test_predicting_again_leaves_nothing_of_before(finished) -> None:
    run = Run.open(finished("classification"))
    old = run.folder / "predictions" / "renamed" / "classification.jsonl"
    old.parent.mkdir()
    old.write_bytes((run.folder / "predictions/base/classification.jsonl").read_bytes())
    loratory.predict(run)
    assert run.systems() == ["base", "tuned", "majority"]
    assert not (run.folder / "scores.json").exists()
    assert run.manifest()["status"] == "running"
    loratory.score(run)
    loratory.compare(run)
    loratory.write_report(run)
    assert json.loads((run.folder / "manifest.json").read_text())["status"] == "complete"


def test_baselines_can_be_left_out(finished) -> None:
    folder = finished("classification")
    config = (folder / "config.yaml").read_text()
    assert config.count("baselines: true") == 1
    (folder / "config.yaml").write_text(config.replace("baselines: true", "baselines: false"))
    run = Run.open(folder)
    loratory.predict(run)
    assert run.systems() == ["base", "tuned"]
