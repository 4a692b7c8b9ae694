"""A workshop with data, recipes and tiny models, and the command line without a new process."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml


class Answer(NamedTuple):
    """What a command left: its exit status and both of its streams."""

    code: int
    out: str
    err: str

    @property
    def sentences(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("loratory:")]


@pytest.fixture(autouse=True)
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, with a cache of its own."""
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
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
    return folder


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def recipe(tiny_models, workshop: Path):
    """Return a function that writes a recipe of seconds, with sections merged into it."""

    def write(kind: str = "summarization", /, **changes) -> Path:
        model, data = {"summarization": ("llama", "sum"), "classification": ("bert", "cls")}[kind]
        content = {
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
        }
        for section, values in changes.items():
            merged = isinstance(values, dict) and isinstance(content.get(section), dict)
            content[section] = {**content[section], **values} if merged else values
        path = workshop / f"{kind}.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs one command in this process."""
    from loratory.cli import main

    def run(*argv: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["loratory", *map(str, argv)])
        capsys.readouterr()
        # As a user's process has it: what libraries deprecate is no concern of a run.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(SystemExit) as stop:
                main()
        return Answer(stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def run_of(cli, recipe):
    """Return a function that runs a recipe to its end and gives the run folder."""

    def run(kind: str = "summarization", /, **changes) -> Path:
        answer = cli("run", recipe(kind, **changes), "--json")
        assert answer.code == 0, answer.err
        return Path(json.loads(answer.out)["run"])

    return run
