"""The example recipes: each loads, says the truth about itself, and runs where its data is."""

import json
import re
from pathlib import Path

import pytest

from loratory import pipeline
from loratory.config import RunConfig, from_mapping, load, to_mapping
from loratory.errors import DataError, ModelError
from realdata import real_data

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
NAMES = [path.stem for path in EXAMPLES]

HUB = ["cnn_dailymail_gpt2", "cnn_dailymail_t5"]
LOCAL = ["demo", "imdb_head", "imdb_label_words", "instruction"]
OWN = {
    "scitldr": {
        "data.train": "summarization/scitldr_train.jsonl",
        "data.validation": "summarization/scitldr_dev.jsonl",
        "data.test": "summarization/scitldr_test.jsonl",
    },
    **{
        name: {
            "data.train": "sentiment/sst5_train.jsonl",
            "data.validation": "sentiment/sst5_dev.jsonl",
            "data.test": "sentiment/sst5_test.jsonl",
        }
        for name in ("sst5_head", "sst5_label_words")
    },
    **{
        name: {"data.name": "sentiment/amazon_alexa_stars.jsonl"}
        for name in ("stars_head", "stars_label_words")
    },
}
"""Recipes for files that a user brings, with rows of the shared data folder that fit."""


def recipe(name: str, *overrides: str) -> RunConfig:
    return load(ROOT / "examples" / f"{name}.yaml", overrides)


def own(name: str) -> list[str]:
    return [f"{key}={json.dumps(str(real_data(file)))}" for key, file in OWN[name].items()]


def test_every_example_is_of_one_kind() -> None:
    assert sorted([*HUB, *LOCAL, *OWN]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_opens_with_a_comment(name: str) -> None:
    config = recipe(name)
    first = (ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"# .{20,98}", first)
    assert re.fullmatch(r"[a-z0-9-]+", config.name)
    # What the recipes are meant to show: low-rank updates of every linear layer.
    assert config.method.name == "lora"
    assert (config.method.r, config.method.target_modules) == (8, ("all-linear",))


def test_names_of_runs_differ() -> None:
    names = [recipe(name).name for name in NAMES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_head")])
def test_heads_are_on_an_encoder(name: str) -> None:
    config = recipe(name)
    assert config.task.kind == "classification" and config.model.name == "embedded:minilm"
    assert config.train.learning_rate == 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_label_words")])
def test_label_words_are_of_a_language_model(name: str) -> None:
    config = recipe(name)
    assert config.task.kind == "classification" and config.model.name == "embedded:smollm2-135m"
    assert len(config.task.words) in (0, len(config.task.labels))


@pytest.mark.parametrize("name", ["stars_head", "stars_label_words"])
def test_five_stars_are_class_four(name: str) -> None:
    task = recipe(name).task.bind([{"label": stars} for stars in (1, 2, 3, 4, 5)])
    assert [task.index(stars) for stars in (1, "5", 5.0)] == [0, 4, 4]
    # Still so where the file lacks a star.
    assert recipe(name).task.bind([{"label": 4}, {"label": 5}]).index(5) == 4


@pytest.mark.parametrize("name", ["sst5_head", "sst5_label_words"])
def test_sst5_counts_from_zero(name: str) -> None:
    task = recipe(name).task.bind([{"label": label} for label in range(5)])
    assert (task.count_from, task.index(4), task.labels[4]) == (0, 4, "very positive")


@pytest.mark.parametrize("name", HUB)
def test_cnn_dailymail_uses_its_own_splits(name: str) -> None:
    data = recipe(name).data
    assert (data.config, data.validation, data.test) == ("3.0.0", "validation", "test")
    assert data.columns == {"document": "article", "summary": "highlights"}


def test_gpt2_fits_its_positions() -> None:
    config = recipe("cnn_dailymail_gpt2")
    assert config.data.max_prompt_tokens + config.data.max_target_tokens == 1024
    step = config.train.per_device_train_batch_size * config.train.gradient_accumulation_steps
    assert step == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", HUB)
def test_hub_names_say_clearly_that_there_is_no_network(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    nowhere(tmp_path, monkeypatch)
    with pytest.raises(DataError) as data:
        pipeline.check(recipe(name))
    assert str(data.value).startswith(
        "cnn_dailymail/3.0.0: cannot reach the Hub, and the data set is not in the cache either."
    )
    here = recipe(name, "data={name: embedded:docstrings, train_rows: 8, test_rows: 8}")
    with pytest.raises(ModelError) as model:
        pipeline.check(here)
    assert str(model.value).startswith(f"model.name: {here.model.name} is neither a folder here")
    assert "Without a network" in str(model.value)


def nowhere(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and a Hub at a port where nobody listens."""
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_shipped_instructions_are_short_and_unlike() -> None:
    lines = (ROOT / "examples" / "instructions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 44 and len({row["prompt"] for row in rows}) == 44
    assert all(set(row) == {"prompt", "completion"} for row in rows)
    assert all(len(row["completion"].split()) <= 12 for row in rows)
    for row in rows:
        if "JSON" in row["prompt"]:
            assert isinstance(json.loads(row["completion"]), dict)
        if row["prompt"].startswith("Sort these words"):
            words = row["prompt"].partition(": ")[2].split(", ")
            assert row["completion"].split(", ") == sorted(words)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCAL)
def test_local_examples_are_ready(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the comments say to run them
    config = recipe(name)
    checked = pipeline.check(config)
    limits = {"train": config.data.train_rows, "test": config.data.test_rows}
    for split, limit in limits.items():
        assert limit is None or len(checked.splits[split]) == limit
    if name == "instruction":
        assert {k: len(v) for k, v in checked.splits.items()} == {
            "train": 28,
            "validation": 6,
            "test": 10,
        }
        assert all(row.cut_prompt == row.cut_answer == 0 for row in checked.preflight.rows["train"])
    if config.task.kind == "classification":
        assert checked.config.task.labels == ("negative", "positive")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OWN))
def test_examples_for_own_files_are_ready(name: str) -> None:
    config = recipe(name, *own(name))
    checked = pipeline.check(config)
    assert all(checked.splits.values())
    answers = [row.cut_answer for row in checked.preflight.rows["train"]]
    assert sum(cut > 0 for cut in answers) <= len(answers) / 100
    if name == "scitldr":
        assert max(len(example.references) for example in checked.splits["test"]) > 1
        assert checked.data["name"] == "SciTLDR"
    if name.endswith("_label_words"):
        lengths = {len(row.answer) for row in checked.preflight.rows["train"]}
        assert max(lengths) <= 4  # words of about equal length, end token included


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LOCAL, *sorted(OWN)])
def test_runs_end_to_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step on a few rows; as they stand, the recipes take minutes."""
    monkeypatch.chdir(ROOT)
    short = {
        "train": {"max_steps": 1, "eval_steps": 1, "per_device_train_batch_size": 4},
        "data": {"train_rows": 8, "validation_rows": 2, "test_rows": 4},
        "decode": {"max_new_tokens": 8},
        "forgetting": {"rows": 8},
        "bias": {"rows": 8},
        "output_dir": str(tmp_path),
    }
    given = to_mapping(recipe(name, *(own(name) if name in OWN else ())))
    for section, fields in short.items():
        given[section] = {**given[section], **fields} if isinstance(fields, dict) else fields
    run = pipeline.run(from_mapping(given))
    assert run.manifest()["status"] == "complete"
    assert run.manifest()["training"]["steps"] == 1
    assert {"base", "tuned"} < set(run.scores())
    assert all(item.n == 4 for item in run.comparison())
    assert (run.folder / "report.html").is_file() and (run.folder / "README.md").is_file()
