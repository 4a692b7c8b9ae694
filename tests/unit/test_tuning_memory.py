"""The memory that is expected: it grows with what it should, and needs no storage."""

from __future__ import annotations

import pytest
import torch

import tiny
from loratory.methods.lora import Lora
from loratory.tuning.memory import RUNTIME, expected_bytes, peak_bytes
from loratory.tuning.model import empty, heads_of


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bart", "bert"])
def test_it_grows_with_rows_and_tokens_on_a_model_without_storage(name, tiny_models):
    classify = name == "bert"
    spec = tiny.spec(tiny_models(name), classify=classify)
    model = empty(spec, ("a", "b"))
    assert all(parameter.is_meta for parameter in model.parameters())
    heads = heads_of(model) if classify else ()
    model = Lora().attach(model, spec.family, 0, heads)
    small = expected_bytes(model, tokens=64, rows=2, supervised=8)
    assert small > RUNTIME
    assert expected_bytes(model, tokens=128, rows=2, supervised=8) > small
    assert expected_bytes(model, tokens=64, rows=4, supervised=8) > small
    assert expected_bytes(model, tokens=64, rows=2, supervised=16) > small
    # Weights, gradients and Adam's moments are the least there can be.
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert expected_bytes(model, 1, 1, 1) > RUNTIME + weights + 12 * trained


def test_half_the_precision_takes_less(tiny_models):
    sizes = []
    for dtype in ("float32", "bfloat16"):
        model = empty(tiny.spec(tiny_models("llama"), dtype=dtype), ())
        sizes.append(expected_bytes(Lora().attach(model, "causal", 0), 512, 8, 64))
    assert sizes[1] < sizes[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts the GPU's memory where there is one")
def test_the_peak_is_in_bytes():
    assert 50 * 2**20 < peak_bytes() < 2**40
