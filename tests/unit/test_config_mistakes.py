"""Every kind of mistake a recipe can hold, and the sentence that names it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from loratory.config import (
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    from_mapping,
    load,
    to_mapping,
)
from loratory.errors import ConfigError
from loratory.methods.lora import Lora
from loratory.tasks.classification import Classification
from loratory.tasks.summarization import Summarization

MINIMAL = {"model": "m", "data": "d.csv", "task": "summarization"}


def problems(data: dict) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_mapping(data)
    assert str(caught.value).splitlines() == list(caught.value.problems)
    return list(caught.value.problems)


# (changes, path, words of the one sentence)
CASES = {
    "extra": (
        {"trian": {}},
        "trian",
        ["unknown field", "Did you mean 'train'?", "Available: bias, data"],
    ),
    "extra in section": ({"train": {"lr": 1}}, "train.lr", ["unknown field", "learning_rate"]),
    "case of a name": ({"Train": {}}, "Train", ["Did you mean 'train'?"]),
    "number as field": ({1: 2}, "1", ["unknown field"]),
    "literal": (
        {"model": {"name": "m", "dtype": "bfloat"}},
        "model.dtype",
        ["unknown 'bfloat'. Did you mean 'bfloat16'? Available: auto, bfloat16, float32."],
    ),
    "literal of numbers": (
        {"task": {"name": "classification", "count_from": 2}},
        "task.count_from",
        ["unknown 2. Available: 0, 1."],
    ),
    "text for int": ({"seed": "1"}, "seed", ["got '1'", "it must be a valid integer."]),
    "float for int": ({"seed": 1.5}, "seed", ["got 1.5; it must be a valid integer."]),
    "bool for int": ({"seed": True}, "seed", ["got True", "integer"]),
    "int for text": ({"output_dir": 3}, "output_dir", ["got 3", "string"]),
    "empty text": ({"output_dir": ""}, "output_dir", ["got ''; it must be text that is not empty"]),
    "text for list": (
        {"train": {"report_to": "wandb"}},
        "train.report_to",
        ["got 'wandb'; it must be a list."],
    ),
    "item of a list": (
        {"train": {"report_to": ["wandb", "wandv"]}},
        "train.report_to[1]",
        ["unknown 'wandv'. Did you mean 'wandb'?"],
    ),
    "value of a mapping": (
        {"data": {"name": "d", "columns": {"document": 3}}},
        "data.columns.document",
        ["got 3; it must be a valid string."],
    ),
    "range": ({"train": {"learning_rate": 0}}, "train.learning_rate", ["greater than 0"]),
    "range of a union": (
        {"data": {"name": "d", "test_size": 1.5}},
        "data.test_size",
        ["got 1.5; it must be a valid integer or less than 1."],
    ),
    "neither -1 nor steps": ({"train": {"max_steps": 0}}, "train.max_steps", ["-1 or greater"]),
    "half a step": ({"train": {"eval_steps": 1.5}}, "train.eval_steps", ["a whole number"]),
    "half a warm-up": ({"train": {"warmup_steps": 2.5}}, "train.warmup_steps", ["a whole number"]),
    "nan": ({"train": {"learning_rate": math.nan}}, "train.learning_rate", ["got nan", "finite"]),
    "inf": ({"train": {"eval_steps": math.inf}}, "train.eval_steps", ["got inf", "finite"]),
    "inf in component": (
        {"method": {"name": "lora", "lora_alpha": math.inf}},
        "method.lora_alpha",
        ["got inf", "finite"],
    ),
    "a path": ({"output_dir": Path("x")}, "output_dir", ["Path('x')", "it must be text"]),
    "half a surrogate": ({"output_dir": "\ud800"}, "output_dir", ["'\\ud800'"]),
    "missing field": ({"model": {"dtype": "auto"}}, "model.name", ["missing", "no default"]),
    "missing section": ({"model": None}, "model.name", ["missing"]),
    "missing task": ({"task": None}, "task", ["missing. Available: classification"]),
    "no mapping": ({"train": 3}, "train", ["expected fields, got 3."]),
    "component unknown": (
        {"method": "lorra"},
        "method.name",
        ["unknown 'lorra'. Did you mean 'lora'? Available: "],
    ),
    "component without name": ({"method": {"r": 8}}, "method", ["fields with a name"]),
    "component of another kind": ({"task": [1]}, "task", ["expected a name", "summarization"]),
    "component field": (
        {"method": {"name": "lora", "rank": 8}},
        "method.rank",
        ["unknown field. Available: bias"],
    ),
    "component type": ({"method": {"name": "lora", "r": "8"}}, "method.r", ["got '8'", "integer"]),
    "component list": (
        {"method": {"name": "lora", "target_modules": "q_proj"}},
        "method.target_modules",
        ["got 'q_proj'; it must be a list."],
    ),
    "component item": (
        {"method": {"name": "lora", "target_modules": ["q_proj", 3]}},
        "method.target_modules[1]",
        ["got 3"],
    ),
    "component range": ({"method": {"name": "lora", "r": 0}}, "method.r", ["at least 1"]),
    "metric unknown": (
        {"metrics": ["rouge", {"name": "rogue"}]},
        "metrics[1].name",
        ["Did you mean 'rouge'?"],
    ),
    "metric field": (
        {"metrics": {"name": "rouge", "stemmer": True}},
        "metrics[0].stemmer",
        ["unknown field. Did you mean 'stem'?"],
    ),
    "metric type": ({"metrics": [{"name": "rouge", "stem": 3}]}, "metrics[0].stem", ["boolean"]),
    "metric entry": ({"metrics": ["rouge", 4]}, "metrics[1]", ["expected a name"]),
    "name with a space": ({"name": "a b"}, "name", ["got 'a b'; letters, digits"]),
    "name that climbs": ({"name": "../x"}, "name", ["letters, digits"]),
    "name that hides": ({"name": ".x"}, "name", ["letters, digits"]),
    "name too long": ({"name": "x" * 65}, "name", ["at most 64"]),
    "name with a line end": ({"name": "x\n"}, "name", ["letters, digits"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_mistake_is_one_sentence(case: str) -> None:
    changes, path, words = CASES[case]
    (sentence,) = problems({**MINIMAL, **changes})
    assert sentence.startswith(f"{path}: ") and sentence.endswith(".")
    for word in words:
        assert word in sentence


def test_every_mistake_is_named_at_once() -> None:
    found = problems(
        {
            "seed": -1,
            "model": {"name": "m", "family": "casual"},
            "data": {"nme": "d"},
            "method": {"name": "lora", "r": 0, "rank": 1},
            "metrics": ["rogue", {"name": "rouge", "stem": 1}],
            "nam": 1,
        }
    )
    assert [sentence.partition(":")[0] for sentence in found] == [
        "nam",
        "seed",
        "model.family",
        "data.name",
        "data.nme",
        "task",
        "method.rank",
        "method.r",
        "metrics[0].name",
        "metrics[1].stem",
    ]


def test_a_long_value_is_shown_in_part() -> None:
    (sentence,) = problems({**MINIMAL, "seed": "9" * 10_000})
    assert len(sentence) < 150 and "…" in sentence


def test_short_forms_and_empty_sections() -> None:
    config = from_mapping({**MINIMAL, "train": None, "method": None, "metrics": None})
    assert config == from_mapping(
        {
            "model": {"name": "m"},
            "data": {"name": "d.csv"},
            "task": {"name": "summarization"},
            "method": {"name": "lora"},
            "metrics": [{"name": "rouge"}, "length"],
        }
    )
    assert from_mapping({**MINIMAL, "metrics": "rouge"}).metrics == config.metrics[:1]


def test_a_config_made_in_python_is_that_of_the_recipe() -> None:
    config = RunConfig(
        ModelConfig(name="m"), DataConfig(name="d.csv"), Summarization(), Lora(r=4), seed=3
    )
    assert config == from_mapping({**MINIMAL, "method": {"name": "lora", "r": 4}, "seed": 3})
    assert from_mapping(to_mapping(config)) == config
    assert from_mapping({**MINIMAL, "task": Summarization(), "method": Lora(r=4)}).method.r == 4


def test_a_config_made_in_python_refuses_values_of_another_kind() -> None:
    class Mine(Lora):
        """Under LoRA's name, which the run folder would give back as LoRA."""

    with pytest.raises(ConfigError) as caught:
        RunConfig("m", {"name": "d"}, Summarization, Mine(), metrics=["rouge"], train=TrainConfig())  # type: ignore[arg-type]
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "model",
        "data",
        "task",
        "method",
        "metrics[0]",
    ]


def test_what_python_put_together_is_checked_too() -> None:
    from loratory.pipeline import check

    labels = Classification(labels=("a",))
    config = RunConfig(
        ModelConfig(name="m"), DataConfig(name="d"), labels, Lora(r=0), name="../x", seed=-1
    )
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "name",
        "seed",
        "task.labels",
        "method.r",
    ]


# (overrides, path into the mapping, value)
OVERRIDES = [
    (["train.learning_rate=1e-4"], "train.learning_rate", 1e-4),
    (["train.learning_rate=1e-4", "train.learning_rate=5e-4"], "train.learning_rate", 5e-4),
    (["method.r=4"], "method.r", 4),  # into the short `method: lora`
    (["data.columns.document=text"], "data.columns", {"document": "text"}),
    (["data.columns={document: text}"], "data.columns", {"document": "text"}),
    (["method.target_modules=[q_proj, v_proj]"], "method.target_modules", ["q_proj", "v_proj"]),
    (["model=other", "model.dtype=float32"], "model.dtype", "float32"),
    (["data.name=a=b.csv"], "data.name", "a=b.csv"),
    (["train.early_stopping_patience=null"], "train.early_stopping_patience", None),
    (["name=1e5x"], "name", "1e5x"),
]


@pytest.mark.parametrize(("overrides", "path", "value"), OVERRIDES)
def test_overrides(overrides: list[str], path: str, value: object, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: m\ndata: d.csv\ntask: summarization\nmethod: lora\n")
    found = to_mapping(load(recipe, overrides))
    for part in path.split("."):
        found = found[part]
    assert found == value


def test_malformed_overrides_are_named_with_all_else(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: m\ndata: d.csv\ntask: summarization\nmetrics: [rouge]\n")
    bad = ["seed", "=1", "train.=1", "metrics.stem=true", "train.x=[1", "seed=x"]
    with pytest.raises(ConfigError) as caught:
        load(recipe, bad)
    starts = ["seed: an override", "=1: an", "train.=1: an", "metrics.stem", "train.x=[1, line 1"]
    found = caught.value.problems
    assert len(found) == 6
    for sentence, start in zip(found, [*starts, "seed: got 'x'"], strict=True):
        assert sentence.startswith(start)
