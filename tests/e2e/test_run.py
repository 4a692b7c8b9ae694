"""A recipe to a report, with real tiny models: what is in the folder, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import loratory
from crossed import few
from loratory import RunConfig, evaluation
from loratory.codec import read_jsonl
from loratory.config import load, to_mapping
from loratory.records import QUESTIONS, Prediction
from loratory.runs import Run

BASELINES = {
    "summarization": {"lead_sentence", "lead_words", "random_summary"},
    "classification": {"majority"},
}


def halves(folder: Path) -> list[Path]:
    """Return files and folders with temporary names."""
    return [path for path in folder.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize("task", few(["summarization", "classification"], ["summarization"]))
def test_a_run_leaves_every_file_and_prints_one_json_object(task, cli, recipe) -> None:
    answer = cli("run", recipe(task), "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert set(result) == {"run", "report", "scores", "places", "comparison", "findings"}
    folder = Path(result["run"])
    for name in (
        "config.yaml",
        "manifest.json",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "checkpoints",
        "train.jsonl",
        "losses.jsonl",
        "probes/base/swapped-rows.jsonl",
        "probes/tuned/swapped-rows.jsonl",
        *(f"findings/{question}.json" for question in QUESTIONS),
        f"predictions/base/{task}.jsonl",
        f"predictions/tuned/{task}.jsonl",
        "scores.json",
        "comparison.json",
        "report.html",
        "README.md",
    ):
        assert (folder / name).exists(), name
    assert halves(folder) == []

    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "complete" and manifest["failed"] is None
    assert list(result["findings"]) == list(QUESTIONS)
    stages = ["prepare", "train", "predict", "probe", "score", "compare", "report"]
    assert list(manifest["durations"]) == stages
    assert all(seconds > 0 for seconds in manifest["durations"].values())
    assert set(result["scores"]) == {"base", "tuned", *BASELINES[task]}
    assert {item["n"] for item in result["comparison"]} == {8}
    assert [line for line in answer.err.splitlines() if line.startswith("●")] == [
        f"● {stage}" for stage in ("check", *stages)
    ]


@pytest.mark.parametrize("task", few(["summarization", "classification"], ["summarization"]))
def test_each_stage_alone_does_what_run_does(task, cli, recipe, finished) -> None:
    path = recipe(task)
    checked = cli("check", path, "--json")
    assert checked.code == 0 and not Path("runs").exists()
    assert json.loads(checked.out)["data"]["rows"] == {"train": 48, "validation": 4, "test": 8}

    prepared = cli("prepare", path, "--json")
    assert prepared.code == 0, prepared.err
    run = json.loads(prepared.out)["run"]
    for command in ("train", "predict", "probe", "score", "compare", "report"):
        answer = cli(command, run, "--json")
        assert answer.code == 0, answer.err
        json.loads(answer.out)
        status = json.loads((Path(run) / "manifest.json").read_text())["status"]
        assert status == ("complete" if command == "report" else "running")

    whole = finished(task)
    for name in ("scores.json", "comparison.json", "adapter/adapter_model.safetensors"):
        assert (whole / name).read_bytes() == (Path(run) / name).read_bytes(), name


@pytest.mark.slow
def test_the_commands_print_text_too(cli, recipe) -> None:
    shown = cli("run", recipe("classification"))
    assert shown.code == 0 and "Accuracy" in shown.out and "report.html" in shown.out
    run = next(Path("runs").iterdir())
    assert "Accuracy" in cli("compare", run).out
    scored = cli("score", run).out
    assert "majority" in scored and "n=8" in scored and "|v:1" in scored
    assert cli("report", run).out.strip() == f"{run}/report.html"
    assert "ready to run" in cli("check", recipe("classification")).out
    assert cli("prepare", recipe()).out.startswith("Prepared. Next: loratory train runs/")
    # Scoring a complete run anew does not take its completeness away.
    assert json.loads((run / "manifest.json").read_text())["status"] == "complete"


def test_a_file_of_predictions_is_scored_by_what_it_holds(cli, finished) -> None:
    for task, metric in (("summarization", "rouge1"), ("classification", "accuracy")):
        file = finished(task) / "predictions" / "tuned" / f"{task}.jsonl"
        answer = cli("score", file, "--json")
        assert answer.code == 0, answer.err
        found = json.loads(answer.out)["scores"][task]
        assert metric in {item["metric"] for item in found}
    answer = cli("score", file, "--metric", "accurancy")
    assert answer.code == 2 and "Did you mean 'accuracy'" not in answer.sentences[0]
    assert "classification" in answer.sentences[0]


def four_ways(path: Path) -> tuple[RunConfig, dict[str, Any], Path, str]:
    """A recipe as config, mapping, path and text."""
    config = RunConfig(**vars(load(path)))
    return config, to_mapping(config), path, str(path)


def test_a_run_is_prepared_from_config_mapping_and_path(recipe) -> None:
    runs = [loratory.prepare(given) for given in four_ways(recipe("classification"))]
    assert len({run.folder for run in runs}) == 4
    assert all(Run.open(run.folder).config == runs[0].config for run in runs)
    data = [run.manifest()["data"] for run in runs]
    assert all(facts["fingerprint"] == data[0]["fingerprint"] for facts in data)


@pytest.mark.slow  # four runs
def test_run_from_python_takes_config_mapping_and_path(recipe) -> None:
    config, *others = four_ways(recipe("classification"))
    runs = [loratory.run(given) for given in (config, *others)]
    assert len({run.folder for run in runs}) == 4
    assert all(run.comparison() == runs[0].comparison() for run in runs)
    assert Run.open(runs[0].folder).config == runs[0].config
    predictions = read_jsonl(runs[0].folder / "predictions/base/classification.jsonl", Prediction)
    assert predictions == runs[0].predictions("base")
    assert evaluation.score(predictions, config.metrics, resamples=100)[0].n == 8


def test_a_report_before_the_numbers_says_that_the_run_is_not_complete(cli, recipe) -> None:
    run = json.loads(cli("prepare", recipe(), "--json").out)["run"]
    assert cli("report", run).code == 0
    assert json.loads((Path(run) / "manifest.json").read_text())["status"] == "running"
    assert "not complete" in (Path(run) / "report.html").read_text()


def test_hostile_text_acts_nowhere(cli, recipe, workshop) -> None:
    evil = "\x1b[31mred\x1b]0;title\x07 [bold]x[/bold] \u202e [link=http://e.vil]"
    rows = [{"document": f"{evil} {i}", "summary": f"{evil} {i}"} for i in range(60)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (workshop / "sum.jsonl").write_text(text, encoding="utf-8")
    limits = {"max_prompt_tokens": 256, "max_target_tokens": 128, "test_size": 3}
    changes = {"data": limits, "decode": {"max_new_tokens": 4}, "evaluate": {"examples": 2}}
    answer = cli("run", recipe(**changes))
    assert answer.code == 0, answer.err
    for stream in (answer.out, answer.err):
        assert not {"\x1b", "\x07", "\u202e"} & set(stream)
    shown = "".join(answer.out.split())
    assert "␛[31mred" in shown and "[bold]x[/bold]" in shown and "⟨U+202E⟩" in shown
