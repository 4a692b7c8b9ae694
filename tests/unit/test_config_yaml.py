"""YAML as recipes have it: YAML 1.2's values, every fault with its line, nothing executed."""

from __future__ import annotations

import time
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from loratory.config import from_mapping, load, read_yaml, to_mapping, to_yaml
from loratory.config.text import write_yaml
from loratory.errors import ConfigError

# YAML 1.2, section 10.3 (core schema), but for octal and hexadecimal numbers, .inf and .nan.
VALUES = {
    "1e-3": 1e-3,
    "5e-4": 5e-4,
    "1E5": 1e5,
    "-2.5e+3": -2500.0,
    ".5": 0.5,
    "1.": 1.0,
    "10": 10,
    "-3": -3,
    "010": 10,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    "no": "no",
    "yes": "yes",
    "on": "on",
    "1:30": "1:30",
    "1_000": "1_000",
    "0x1f": "0x1f",
    "2020-01-01": "2020-01-01",
    ".nan": ".nan",
    "1e": "1e",
    "e5": "e5",
    "<<": "<<",
}


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_scalars(text: str, value: object) -> None:
    found = read_yaml(f"key: {text}", "r.yaml")["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "value", [*VALUES, "#", "a: b", "- x", "\x85", "a\u2028b", "\x07", " x ", "é\n"]
)
def test_what_is_written_is_read_back(value: str) -> None:
    assert read_yaml(write_yaml({"key": value}), "r.yaml") == {"key": value}
    assert read_yaml(write_yaml(value, flow=True), "r.yaml") == value
    # Other tools read recipes as YAML 1.1; text must be text to them too.
    assert yaml.safe_load(write_yaml({"key": value})) == {"key": value}


# (text, words of the sentence)
FAULTS = {
    "open bracket": ("model: x\ndata: [\n", "r.yaml, line 3: not valid YAML"),
    "tab": ("model: x\n\tdata: y\n", "r.yaml, line 2: not valid YAML"),
    "twice": ("seed: 1\nname: a\nseed: 2\n", "r.yaml, line 3: 'seed' stands twice"),
    "twice below": ("train:\n  seed: 1\n  seed: 2\n", "r.yaml, line 3: 'seed' stands twice"),
    "list as name": ("? [a]\n: b\n", "r.yaml, line 1: a field's name must be a word"),
    "python object": ("a: 1\nb: !!python/name:os.system ''\n", "line 2: not valid YAML"),
    "python call": ("!!python/object/apply:os.system ['touch pwned']", "line 1: not valid YAML"),
    "alias": ("a: &x [1]\nb: *x\n", "r.yaml, line 2: '*x' is an alias. Write the value out."),
    "merge": ("a: &x {b: 1}\nc: {<<: *x}\n", "line 2: '*x' is an alias"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2: not valid YAML"),
    "NUL": ("a: \0\n", "not valid YAML (special characters are not allowed)"),
    "too deep": ("[" * 5000, "not usable YAML"),
    "number too long": ("a: " + "1" * 5000, "not usable YAML"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_have_one_sentence(case: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = FAULTS[case]
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "r.yaml")
    (sentence,) = caught.value.problems
    assert words in sentence and not (tmp_path / "pwned").exists()


def test_a_billion_laughs_are_refused_at_once() -> None:
    levels = ["a: &a [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    levels += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghij")]
    began = time.monotonic()
    with pytest.raises(ConfigError, match="alias"):
        read_yaml("\n".join(levels), "r.yaml")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a recipe is a mapping"),
        (b"# only a comment\n", "a recipe is a mapping"),
        (b"- a\n- b\n", "a recipe is a mapping"),
        (b"just text\n", "a recipe is a mapping"),
        (b"name: \xff\n", "not UTF-8 (byte 6). Save it as UTF-8."),
    ],
)
def test_files_that_are_no_recipe(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"r\.yaml") as caught:
        load(tmp_path / "r.yaml")
    assert words in caught.value.problems[0]
    for path, words in ((tmp_path / "x", "no such recipe"), (tmp_path, "a folder")):
        with pytest.raises(ConfigError, match=words):
            load(path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    text = "model: m\ndata: d.csv\ntask: summarization\n"
    (tmp_path / "r.yaml").write_text("\ufeff" + text, encoding="utf-8")
    assert load(tmp_path / "r.yaml").model.name == "m"


def test_binary_dates_and_sets_by_tag_are_no_values() -> None:
    for value in (b"x", date(2020, 1, 1), {"a"}):
        with pytest.raises(ConfigError, match=r"output_dir: got .*; it must be text"):
            from_mapping({"model": "m", "data": "d", "task": "summarization", "output_dir": value})


def test_names_that_look_like_numbers_survive_the_run_folder() -> None:
    labels = ["1e5", "no", "010", "1_000", "null", "2020-01-01", "~"]
    config = from_mapping(
        {
            "model": "m",
            "data": {"name": "d", "columns": {"label": "1e-3"}},
            "task": {"name": "classification", "labels": labels},
            "name": "1e5",
        }
    )
    again = from_mapping(read_yaml(to_yaml(config), "config.yaml"))
    assert again == config and again.name == "1e5" and again.task.labels == tuple(labels)
    assert "&id" not in to_yaml(config) and to_mapping(again) == to_mapping(config)
