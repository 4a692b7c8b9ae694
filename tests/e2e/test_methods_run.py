"""Whole runs with methods that ask something of training or of prediction."""

from __future__ import annotations

import pytest
import yaml

from loratory.methods.base import EXPECTED

pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in EXPECTED]
CASES = [
    ("llama", "summarization", {"name": "prompt_tuning", "num_virtual_tokens": 3}),
    ("t5", "summarization", {"name": "adalora", "init_r": 4, "target_r": 2}),
    ("gpt2", "classification", {"name": "prefix_tuning", "num_virtual_tokens": 3}),
    ("bert", "classification", {"name": "ia3"}),
    ("llama", "summarization", {"name": "hira", "r": 4}),
    ("llama", "summarization", {"name": "lora", "r": 2, "init_lora_weights": "eva"}),
    ("llama", "summarization", {"name": "lora", "r": 2, "init_lora_weights": "pissa"}),
    ("llama", "summarization", {"name": "lora", "r": 2, "init_lora_weights": "corda"}),
    ("llama", "classification", {"name": "alora", "r": 2, "alora_invocation_tokens": [350, 371]}),
]


def with_method(path, method):
    """Put a method in the place of a recipe's own."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**content, "method": method}), encoding="utf-8")
    return path


FAST = "prompt_tuning"  # AdaLoRA's training has fast tests of its own


@pytest.mark.parametrize(
    ("model", "task", "method"),
    [
        pytest.param(*case, marks=() if case[2]["name"] == FAST else pytest.mark.slow)
        for case in CASES
    ],
    ids=[f"{case[0]}-{case[2].get('init_lora_weights', case[2]['name'])}" for case in CASES],
)
def test_a_run_from_recipe_to_report(model, task, method, recipe, cli, tiny_models):
    path = recipe(task, model={"name": str(tiny_models(model))})
    answer = cli("run", str(with_method(path, method)))
    assert answer.code == 0, answer.err


def test_a_family_that_a_method_does_not_take_is_refused_before_training(recipe, cli):
    answer = cli("check", str(with_method(recipe("classification"), {"name": "prompt_tuning"})))
    assert answer.code == 2
    (sentence,) = answer.sentences
    assert "method.name: prompt_tuning cannot be attached to a classifier model" in sentence
