"""The options of `loratory score`: all of ROUGE-1.5.5's, and metrics with their fields."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_command

from loratory.cli.app import app
from loratory.cli.arguments import check_interval, metrics_of, names_of
from loratory.cli.console import Lines
from loratory.cli.options import ROUGE155, number, spelled
from loratory.errors import ConfigError
from loratory.metrics.generation import Length
from loratory.metrics.rouge import Rouge
from loratory.metrics.rouge.rouge155 import Rouge155Options
from loratory.registry import field_docs

SCORE = get_command(app).commands["score"]  # type: ignore[attr-defined]
FIELDS = [field.name for field in fields(Rouge155Options)]


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_of_the_script_is_there_with_its_letters(name: str) -> None:
    (option,) = [item for item in SCORE.params if item.name == name]
    assert option.opts == [spelled(name)]
    letters = set(re.findall(r"`-(\w)", field_docs(Rouge155Options)[name])) - {"z"}
    assert letters <= set(re.findall(r"-(\w)\b", option.help)), (letters, option.help)


def test_nothing_else_is_offered_as_the_scripts() -> None:
    assert set(ROUGE155) - set(FIELDS) == {"each"} and "(-d)" in ROUGE155["each"].help


def test_help_loads_no_numpy() -> None:
    code = "import sys\nfrom typer.main import get_command\nfrom loratory.cli.app import app\n"
    code += "get_command(app)\nprint(*{'numpy', 'torch', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("names", "settings", "expected"),
    [
        (None, None, None),
        (["length", "rouge"], None, [Length(), Rouge()]),
        (None, ["rouge.types=rougeL"], [Rouge(types=("rougeL",))]),
        (None, ["rouge.types=[rouge1, rouge2]"], [Rouge(types=("rouge1", "rouge2"))]),
        (
            ["length", "rouge"],
            ["rouge.stem=false", "rouge.beta=2", "rouge.stem=true"],
            [Length(), Rouge(beta=2.0)],
        ),
    ],
)
def test_metrics_with_fields(names, settings, expected) -> None:
    assert metrics_of(names, settings) == expected


def test_every_wrong_field_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        metrics_of(["rouge"], ["rouge.stm=true", "rouge.part=x", "rouge.split=[1"])
    assert "not valid YAML" in caught.value.problems[0]
    with pytest.raises(ConfigError) as caught:
        metrics_of(["rouge"], ["rouge.stm=true", "rouge.part=x"])
    first, second = caught.value.problems
    assert first.startswith("--set rouge.stm: unknown field. Did you mean 'stem'?")
    assert second.startswith("--set rouge.part: unknown 'x'. Available: f, precision, recall.")
    with pytest.raises(ConfigError, match=r"--set length\.x=1: 'length' is not among the metrics"):
        metrics_of(["rouge"], ["length.x=1"])


def test_numbers_of_an_interval() -> None:
    check_interval(1, 0.1)
    with pytest.raises(ConfigError) as caught:
        check_interval(0, float("nan"))
    assert len(caught.value.problems) == 2


def test_numbers_are_read_as_they_are_written() -> None:
    assert (repr(number("2")), repr(number("2.0")), number("1e-1")) == ("2", "2.0", 0.1)


def test_names_of_systems_differ() -> None:
    for left, right, expected in (
        ("x/a.jsonl", "x/b.jsonl", ("a", "b")),
        ("x/a.jsonl", "x/a.txt", ("a.jsonl", "a.txt")),
        ("x/a.jsonl", "y/a.jsonl", ("x/a.jsonl", "y/a.jsonl")),
    ):
        assert names_of(Path(left), Path(right)) == expected


def test_short_work_leaves_no_line(capsys, monkeypatch) -> None:
    clock = iter([0.0, 0.9, 5.0, 6.1])
    monkeypatch.setattr("loratory.cli.console.time.monotonic", lambda: next(clock))
    lines = Lines()
    for name in ("short", "long"):
        lines.begin(name, 2)
        lines.advance(2)
    assert capsys.readouterr().err == "  long 2/2\n"
