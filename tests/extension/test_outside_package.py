"""A package that Loratory has never heard of adds a method, a metric and a task.

It is only put on the path, with the metadata that pip would have written: nothing in Loratory
is edited, listed or told. Run in a process of its own, so that it registers in no other test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

OUTSIDE = Path(__file__).with_name("outside")
PARTS = {"methods": "scaled", "metrics": "verbatim", "tasks": "backwards"}


def python(code: str, folder: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=240,
        env={
            **os.environ,
            "PYTHONPATH": str(OUTSIDE),
            "LORATORY_CACHE": str(folder / "cache"),
            "COLUMNS": "200",
            **env,
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


COMMANDS = """
import sys, loratory.cli
for argv in {}:
    sys.argv = ["loratory", *argv]
    try: loratory.cli.main()
    except SystemExit as stop: assert not stop.code, stop.code
"""


def loratory(folder: Path, *commands: tuple[str, ...]) -> str:
    """What commands print, one after the other in one process."""
    return python(COMMANDS.format(commands), folder)


def test_its_parts_are_listed_with_their_settings(tmp_path: Path) -> None:
    printed = loratory(tmp_path, ("list", "--json"), ("list", "metrics"))
    found, end = json.JSONDecoder().raw_decode(printed)
    for kind, name in PARTS.items():
        assert name in [entry["name"] for entry in found[kind]]
    (method,) = [entry for entry in found["methods"] if entry["name"] == "scaled"]
    assert [(f["name"], f["default"]) for f in method["fields"]] == [
        ("target_modules", ["k_proj", "v_proj"]),
        ("feedforward_modules", []),
    ]
    assert "verbatim" in printed[end:]


def test_a_recipe_names_its_parts_as_any_others(tmp_path: Path) -> None:
    python(
        """
from loratory.config import from_mapping, json_schema, read_yaml, to_yaml
from loratory.config.template import commented
from loratory.errors import ConfigError

config = from_mapping({"model": "m", "data": "d.csv", "task": "backwards", "method": "scaled"})
assert [metric.name for metric in config.metrics] == ["verbatim", "rouge"]
assert from_mapping(read_yaml(to_yaml(config), "r")) == config
recipe = read_yaml(commented("backwards"), "r")
assert from_mapping(recipe).task == config.task
assert "scaled" in str(json_schema()["properties"]["method"])
try:
    from_mapping({
        "model": "m", "data": "d.csv",
        "task": {"name": "backwards", "verb": " "},
        "method": {"name": "scald"},
        "metrics": [{"name": "verbatim", "fold": True}],
    })
except ConfigError as error:
    paths = [problem.partition(":")[0] for problem in error.problems]
    assert paths == ["task.verb", "method.name", "metrics[0].fold"], paths
    assert "Did you mean 'scaled'?" in error.problems[1]
else:
    raise AssertionError("three mistakes were taken")
""",
        tmp_path,
    )


@pytest.mark.parametrize("contract", ["test_metrics.py", "test_tasks.py"])
def test_its_parts_keep_the_contracts(contract: str, tmp_path: Path) -> None:
    """The contract tests run over the registry, so they run over what is outside too."""
    root = Path(__file__).parents[2]
    argv = ["-q", "-x", "-c", root / "pyproject.toml", root / "tests" / "contract" / contract]
    argv = [*map(str, argv), "-k", "verbatim or backwards"]
    code = f"import pytest, sys; sys.exit(pytest.main({argv!r}))"
    assert " passed" in python(code, tmp_path)


@pytest.mark.slow
def test_a_run_with_nothing_but_its_parts(tmp_path: Path, tiny_models) -> None:
    rows = [{"text": f"the quick brown fox {i}"} for i in range(40)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "model": {"name": str(tiny_models("llama")), "dtype": "float32"},
        "data": {"name": "d.jsonl", "max_target_tokens": 32},
        "task": "backwards",
        "method": "scaled",
        "train": {"max_steps": 2, "eval_steps": 1},
        "evaluate": {"resamples": 100},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    result = json.loads(loratory(tmp_path, ("run", "r.yaml", "--json")))
    assert set(result["scores"]) == {"base", "tuned", "as_it_is"}
    assert result["comparison"][0]["signature"].startswith("verbatim|fold_case:yes")
    assert "verbatim" in (tmp_path / result["report"]).read_text()
