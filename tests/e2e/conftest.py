"""A workshop with data, recipes and tiny models."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

import loratory


@pytest.fixture(autouse=True)
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, with a cache of its own."""
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_data(folder)
    return folder


def write_data(folder: Path) -> None:
    write_rows(
        folder / "sum.jsonl",
        [
            {"document": f"the quick brown fox {i} jumps over a lazy dog", "summary": f"fox {i}"}
            for i in range(60)
        ],
    )
    write_rows(
        folder / "cls.jsonl",
        [
            {"text": f"{'good' if i % 2 else 'bad'} film {i}", "label": "pos" if i % 2 else "neg"}
            for i in range(60)
        ],
    )


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def recipe_of(kind: str, tiny_models) -> dict[str, Any]:
    """Return a recipe of seconds."""
    model, data = {"summarization": ("llama", "sum"), "classification": ("bert", "cls")}[kind]
    return {
        "model": {"name": str(tiny_models(model)), "dtype": "float32"},
        "data": {
            "name": f"{data}.jsonl",
            "max_prompt_tokens": 128,
            "max_target_tokens": 8,
            "test_size": 8,
            "validation_size": 4,
        },
        "task": {"name": kind},
        "method": {"name": "lora", "r": 2},
        "train": {"max_steps": 4, "per_device_train_batch_size": 4, "eval_steps": 2},
        "evaluate": {"resamples": 100},
        "forgetting": {"rows": 4, "max_tokens": 32},
        "bias": {"rows": 4},
    }


@pytest.fixture(scope="session")
def data_in():
    """Return the function that writes the data of recipes to a folder."""
    return write_data


@pytest.fixture(scope="session")
def recipe_in(tiny_models):
    """Return a function that writes a recipe of seconds to a folder, with sections merged in."""

    def write(folder: Path, kind: str = "summarization", /, **changes) -> Path:
        content = recipe_of(kind, tiny_models)
        for section, values in changes.items():
            merged = isinstance(values, dict) and isinstance(content.get(section), dict)
            content[section] = {**content[section], **values} if merged else values
        path = folder / f"{kind}.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def recipe(recipe_in, workshop: Path):
    """Return a function that writes a recipe of seconds, with sections merged into it."""

    def write(kind: str = "summarization", /, **changes) -> Path:
        return recipe_in(workshop, kind, **changes)

    return write


@pytest.fixture(scope="session")
def finished_runs(tiny_models, tmp_path_factory: pytest.TempPathFactory):
    """Return a function to the folder of a complete run, made once and left as it is."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            write_data(folder)
            content = recipe_of(kind, tiny_models)
            content["data"]["name"] = str(folder / content["data"]["name"])
            content["output_dir"] = str(folder / "runs")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[kind] = loratory.run(content).folder
        return made[kind]

    return get


@pytest.fixture
def finished(finished_runs, workshop: Path):
    """Return a function to a complete run of one's own: a copy of one that was made before."""

    def copy(kind: str = "summarization", /) -> Path:
        run = finished_runs(kind)
        return Path(shutil.copytree(run, workshop / "finished" / run.name))

    return copy
