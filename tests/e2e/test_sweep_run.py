"""A sweep as a user runs it: trials in processes of their own, stopped and gone on with."""

import json
from pathlib import Path

import pytest

from loratory.sweep import Sweep

pytestmark = pytest.mark.slow


def test_a_sweep_is_run_and_gone_on_with(cli, recipe) -> None:
    file = recipe()
    answer = cli("sweep", file, "--methods", "lora", "--seeds", "2", "--steps", "2", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    (row,) = found["summary"]["rows"]
    assert row["method"] == "lora" and row["quality"]["n"] == 2 and row["trainable"] > 0
    assert row["adapter_bytes"] > 4 * row["trainable"] and row["peak_bytes"] > 1 << 20
    folder = Path(found["sweep"])
    opened = Sweep.open(folder)
    runs = [folder / trial.run for trial in opened.trials]
    assert all((run / "report.html").is_file() for run in runs)
    manifests = [json.loads((run / "manifest.json").read_text("utf-8")) for run in runs]
    assert [facts["training"]["steps"] for facts in manifests] == [2, 2]
    assert [facts["seed"] for facts in manifests] == [0, 1]
    # Other seeds, the same rows.
    assert manifests[0]["data"]["fingerprint"] == manifests[1]["data"]["fingerprint"]
    # One trial is taken away, as if the sweep had been stopped before it.
    text = (folder / "sweep.json").read_text("utf-8")
    data = json.loads(text)
    first = data["trials"][0]
    data["trials"][1] = {"method": "lora", "seed": 1}
    (folder / "sweep.json").write_text(json.dumps(data), encoding="utf-8")
    answer = cli("sweep", folder, "--json")
    assert answer.code == 0, answer.err
    again = json.loads((folder / "sweep.json").read_text("utf-8"))["trials"]
    assert again[0] == first and again[1]["values"] == json.loads(text)["trials"][1]["values"]
    answer = cli("sweep", folder, "--steps", "3")
    assert answer.code == 2 and answer.sentences == [
        "loratory: --steps: only with a recipe; a sweep has its own plan."
    ]


def test_rates_are_tried_by_the_first_seed(cli, recipe) -> None:
    options = ("--methods", "lora", "--seeds", "2", "--steps", "2", "--json")
    answer = cli("sweep", recipe(), *options, "--learning-rates", "1e-4,1e-2")
    assert answer.code == 0, answer.err
    opened = Sweep.open(Path(json.loads(answer.out)["sweep"]))
    tried, other, last = opened.trials
    assert tried.validation_loss != other.validation_loss
    best = min((tried, other), key=lambda trial: trial.validation_loss)
    assert last.learning_rate == best.learning_rate and last.seed == 1
    answer = cli("sweep", recipe(), *options, "--learning-rates", "1e-4,x")
    assert answer.code == 2 and "--learning-rates" in answer.out


def test_a_trial_that_its_model_rules_out_is_told(cli, recipe) -> None:
    file = recipe(method={"name": "lora", "target_modules": ["nowhere"]})
    answer = cli("sweep", file, "--methods", "lora", "--seeds", "1", "--steps", "1")
    assert answer.code == 2 and "no trial has a result" in answer.sentences[0]
    assert "nowhere" in answer.sentences[0]
