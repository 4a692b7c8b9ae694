"""`loratory plan`: counts, memory and time of a recipe, nothing written."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

import tiny
from loratory.cli import main
from loratory.config import from_mapping
from loratory.tuning.steps import total_steps


@pytest.fixture
def recipe(tmp_path: Path, tiny_models, monkeypatch) -> Path:
    rows = [{"document": item.source, "summary": item.references[0]} for item in tiny.examples(30)]
    unique = [{**row, "document": f"{i} {row['document']}"} for i, row in enumerate(rows)]
    text = "".join(json.dumps(row) + "\n" for row in unique)
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"model: {{name: {tiny_models('llama')}, dtype: float32}}\n"
        "data: {name: rows.jsonl, test_size: 4, validation_size: 4, max_target_tokens: 8}\n"
        "task: summarization\nmethod: {name: lora, r: 2}\n"
        "train: {num_train_epochs: 2, per_device_train_batch_size: 4}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    return file


def run(monkeypatch, capsys, *argv: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["loratory", "plan", *argv])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code or 0, *capsys.readouterr()


def test_it_measures_and_writes_nothing(recipe, monkeypatch, capsys):
    before = sorted(recipe.parent.rglob("*"))
    code, out, _ = run(monkeypatch, capsys, str(recipe), "--json", "--steps", "3")
    found = json.loads(out)
    assert code == 0 and sorted(recipe.parent.rglob("*")) == before
    model, memory, times = found["model"], found["memory"], found["time"]
    assert sum(group["trainable"] for group in found["modules"]) == model["trainable"]
    assert memory["expected"]["peak"] == model["expected_memory_bytes"] > 0
    assert 0 < memory["trial_training_peak_bytes"] <= memory["trial_peak_bytes"]
    assert times["steps"] == 3 and len(times["step_seconds"]) == 2
    for item in (times["training"], times["validation"], *times["prediction"].values()):
        assert 0 < item["low"] <= item["expected"] <= item["high"] < math.inf
    assert times["training"]["expected"] > times["validation"]["expected"]
    assert set(times["prediction"]) == {"base", "tuned"}


def test_it_prints_tables(recipe, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(monkeypatch, capsys, str(recipe), "--steps", "2")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert "model.layers.*.self_attn.q_proj" in out and "activations" in out
    assert "prediction, tuned" in out and "adapter file" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--steps", "1"], "at least 2"),
        (["method.r=0"], "the rank must be at least 1"),
        (["method.target_modules=[nothing]"], "q_proj"),
    ],
)
def test_mistakes_are_those_of_check(change, said, recipe, monkeypatch, capsys):
    code, _, err = run(monkeypatch, capsys, str(recipe), *change)
    assert code == 2 and said in err and "Traceback" not in err


def test_steps_are_those_that_the_trainer_takes(recipe):
    base = {"model": "m", "data": {"name": "d"}, "task": "summarization"}

    def steps(rows, **train):
        return total_steps(rows, from_mapping({**base, "train": train}))

    assert steps(22, num_train_epochs=2, per_device_train_batch_size=4) == 12
    assert steps(22, per_device_train_batch_size=4, gradient_accumulation_steps=4) == 6
    assert steps(22, max_steps=5) == 5
    assert steps(360, num_train_epochs=1, per_device_train_batch_size=8) == 45
