"""Trainable parameters are the formula's, at ranks and targets that tell its terms apart."""

from __future__ import annotations

from typing import Any

import pytest

import tiny
from formulas import COUNTS, MODELS
from loratory.methods.base import EXPECTED, METHODS
from loratory.tuning.model import empty, load

pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in EXPECTED]
# Square, narrower and wider than its inputs: each of a layer's two sides counts by itself.
MIXED = ("q_proj", "v_proj", "down_proj")
CASES: list[tuple[str, dict[str, Any]]] = [
    ("adalora", {"init_r": 5, "target_r": 3, "target_modules": MIXED}),
    ("alora", {"r": 5, "target_modules": MIXED}),
    ("boft", {"boft_block_size": 8, "target_modules": MIXED}),
    ("boft", {"boft_block_size": 0, "boft_block_num": 2, "target_modules": MIXED}),
    ("fourierft", {"n_frequency": 37, "target_modules": MIXED}),
    ("hra", {"r": 6, "target_modules": MIXED}),
    ("loha", {"r": 3, "target_modules": MIXED}),
    ("lokr", {"r": 9, "target_modules": MIXED}),  # so large that no factor is low-rank
    ("lokr", {"r": 2, "target_modules": MIXED}),
    ("lokr", {"r": 3, "decompose_factor": 2, "target_modules": MIXED}),
    ("lokr", {"r": 1, "decompose_both": True, "target_modules": MIXED}),
    ("lora", {"r": 3, "target_modules": MIXED}),
    ("lora", {"r": 5, "use_dora": True, "target_modules": MIXED}),
    ("miss", {"r": 4, "target_modules": MIXED}),
    ("miss", {"r": 8, "init_weights": "mini", "mini_r": 4, "target_modules": MIXED}),
    ("oft", {"oft_block_size": 4, "target_modules": MIXED}),
    ("oft", {"oft_block_size": 0, "r": 8, "target_modules": MIXED}),
    ("oft", {"oft_block_size": 16, "block_share": True, "target_modules": MIXED}),
    ("p_tuning", {"num_virtual_tokens": 3, "encoder_hidden_size": 10}),
    (
        "p_tuning",
        {
            "num_virtual_tokens": 3,
            "encoder_hidden_size": 10,
            "encoder_num_layers": 3,
            "encoder_reparameterization_type": "LSTM",
        },
    ),
    ("prefix_tuning", {"num_virtual_tokens": 7}),
    ("prompt_tuning", {"num_virtual_tokens": 7}),
    ("randlora", {"r": 5, "target_modules": MIXED}),  # divides neither 16 nor 32
    ("shira", {"r": 3, "target_modules": MIXED}),
    ("trainable_tokens", {"token_indices": (3, 9, 11, 80)}),
    ("vera", {"r": 11, "target_modules": MIXED}),
]


def trainable(model) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("name", "values"), CASES)
def test_the_count_is_the_formula_s(name, values, tiny_models):
    method = METHODS.get(name)(**values)
    spec = tiny.spec(tiny_models("llama"))
    model = method.attach(load(spec, (), 0).model, "causal", 0)
    assert trainable(model) == COUNTS[name](method, MODELS["llama"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Keys and values are scaled by their 16 outputs, feed-forward by its 64 inputs.
        ({"target_modules": ("k_proj", "v_proj")}, 2 * (16 + 16)),
        ({"target_modules": ("down_proj",), "feedforward_modules": ("down_proj",)}, 2 * 64),
        ({"target_modules": ("down_proj",)}, 2 * 32),
    ],
)
def test_ia3_scales_outputs_and_the_inputs_of_feed_forward(values, expected, tiny_models):
    method = METHODS.get("ia3")(**values)
    model = method.attach(empty(tiny.spec(tiny_models("llama")), ()), "causal", 0)
    assert trainable(model) == expected


@pytest.mark.parametrize(
    ("targets", "expected"),
    [(("input_layernorm",), 2 * 32), (("norm",), 32), (("input_layernorm", "norm"), 3 * 32)],
)
def test_ln_tuning_trains_the_named_norms(targets, expected, tiny_models):
    method = METHODS.get("ln_tuning")(target_modules=targets)
    model = method.attach(empty(tiny.spec(tiny_models("llama")), ()), "causal", 0)
    assert trainable(model) == expected
