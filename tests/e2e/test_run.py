"""A recipe to a report, with real tiny models: what is in the folder, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import loratory
from loratory import evaluation
from loratory.records import Prediction, read_jsonl
from loratory.runs import Run

BASELINES = {
    "summarization": {"lead_sentence", "lead_words", "random_summary"},
    "classification": {"majority"},
}


def halves(folder: Path) -> list[Path]:
    """Return files and folders with temporary names."""
    return [path for path in folder.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize("task", ["summarization", "classification"])
def test_a_run_leaves_every_file_and_prints_one_json_object(task, cli, recipe) -> None:
    answer = cli("run", recipe(task), "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert set(result) == {"run", "report", "scores", "places", "comparison"}
    folder = Path(result["run"])
    for name in (
        "config.yaml",
        "manifest.json",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "checkpoints",
        "train.jsonl",
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
    stages = ["prepare", "train", "predict", "score", "compare", "report"]
    assert list(manifest["durations"]) == stages
    assert all(seconds > 0 for seconds in manifest["durations"].values())
    assert set(result["scores"]) == {"base", "tuned", *BASELINES[task]}
    assert {item["n"] for item in result["comparison"]} == {8}
    assert [line for line in answer.err.splitlines() if line.startswith("●")] == [
        f"● {stage}" for stage in ("check", *stages)
    ]


@pytest.mark.parametrize("task", ["summarization", "classification"])
def test_each_stage_alone_does_what_run_does(task, cli, recipe) -> None:
    path = recipe(task)
    checked = cli("check", path, "--json")
    assert checked.code == 0 and not Path("runs").exists()
    assert json.loads(checked.out)["data"]["rows"] == {"train": 48, "validation": 4, "test": 8}

    prepared = cli("prepare", path, "--json")
    assert prepared.code == 0, prepared.err
    run = json.loads(prepared.out)["run"]
    for command in ("train", "predict", "score", "compare", "report"):
        answer = cli(command, run, "--json")
        assert answer.code == 0, answer.err
        json.loads(answer.out)
        status = json.loads((Path(run) / "manifest.json").read_text())["status"]
        assert status == ("complete" if command == "report" else "running")

    whole = Path(json.loads(cli("run", path, "--json").out)["run"])
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


def test_a_file_of_predictions_is_scored_by_what_it_holds(cli, run_of) -> None:
    for task, metric in (("summarization", "rouge1"), ("classification", "accuracy")):
        file = run_of(task) / "predictions" / "tuned" / f"{task}.jsonl"
        answer = cli("score", file, "--json")
        assert answer.code == 0, answer.err
        found = json.loads(answer.out)["scores"][task]
        assert metric in {item["metric"] for item in found}
    answer = cli("score", file, "--metric", "accurancy")
    assert answer.code == 2 and "Did you mean 'accuracy'" not in answer.sentences[0]
    assert "classification" in answer.sentences[0]


def test_run_from_python_takes_config_mapping_and_path(recipe) -> None:
    path = recipe("classification")
    config = loratory.RunConfig(**vars(loratory_load(path)))
    from loratory.config import to_mapping

    runs = [loratory.run(given) for given in (config, to_mapping(config), path, str(path))]
    assert len({run.folder for run in runs}) == 4
    assert all(run.comparison() == runs[0].comparison() for run in runs)
    assert Run.open(runs[0].folder).config == runs[0].config
    predictions = read_jsonl(runs[0].folder / "predictions/base/classification.jsonl", Prediction)
    assert predictions == runs[0].predictions("base")
    assert evaluation.score(predictions, config.metrics, resamples=100)[0].n == 8


def loratory_load(path: Path):
    from loratory.config import load

    return load(path)


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
    limits = {"max_prompt_tokens": 256, "max_target_tokens": 128}
    answer = cli("run", recipe(data=limits, evaluate={"resamples": 100, "examples": 2}))
    assert answer.code == 0, answer.err
    for stream in (answer.out, answer.err):
        assert not {"\x1b", "\x07", "\u202e"} & set(stream)
    shown = "".join(answer.out.split())
    assert "␛[31mred" in shown and "[bold]x[/bold]" in shown and "⟨U+202E⟩" in shown
