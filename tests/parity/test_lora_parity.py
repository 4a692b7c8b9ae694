"""Our LoRA layer beside peft's: outputs, gradients, merged weights, and files, both ways."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear as PeftLinear
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

import tiny
from crossed import crossed
from loratory.methods.lora import Lora
from loratory.tuning import lora_model
from loratory.tuning.lora import LoraLinear
from loratory.tuning.model import load

EXACT = {"atol": 1e-12, "rtol": 1e-12}
METHODS = {
    "lora": Lora(r=3, lora_alpha=7.0),
    "rslora": Lora(r=3, lora_alpha=7.0, use_rslora=True),
    "dora": Lora(r=3, lora_alpha=7.0, use_dora=True),
    "dora+rslora": Lora(r=3, lora_alpha=7.0, use_dora=True, use_rslora=True),
}
every_method = pytest.mark.parametrize("name", METHODS)
every_base = pytest.mark.parametrize("kind", ["linear", "linear without bias", "conv1d"])


def base_layer(kind, inner=11, outer=7, dtype=torch.float64):
    torch.manual_seed(5)
    base = Conv1D(outer, inner) if kind == "conv1d" else nn.Linear(inner, outer, kind == "linear")
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.normal_()
    return base.to(dtype)


def pair(base, method, adapter=torch.float64):
    """The same update, away from its start, in our layer and in peft's."""
    copy = type(base).__new__(type(base))
    copy.__dict__.update({**base.__dict__, "_parameters": dict(base._parameters)})
    ours = LoraLinear(base, method)
    values = dataclasses.asdict(method)
    config = LoraConfig(
        **{key: values[key] for key in lora_model.OWN - {"target_modules"}},
        fan_in_fan_out=isinstance(base, Conv1D),
    )
    theirs = PeftLinear(copy, "default", config, r=method.r, lora_alpha=method.lora_alpha)
    names = {"lora_A.default.weight": ours.lora_A, "lora_B.default.weight": ours.lora_B}
    if method.use_dora:
        names["lora_magnitude_vector.default.weight"] = ours.lora_magnitude
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for key, parameter in names.items():
            other = theirs.get_parameter(key)
            other.data = other.data.to(adapter)
            assert other.shape == parameter.shape
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise.to(parameter.dtype) * 0.3)
            other.copy_(parameter)
    return ours, theirs, names


def inputs(dtype=torch.float64, inner=11):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(4, 5, inner, generator=generator, dtype=torch.float64).to(dtype)


@every_base
@every_method
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients(kind, name, dropout, training):
    method = dataclasses.replace(METHODS[name], lora_dropout=dropout)
    ours, theirs, names = pair(base_layer(kind), method)
    ours.train(training)
    theirs.train(training)
    one, two = inputs().requires_grad_(), inputs().requires_grad_()
    torch.manual_seed(31)
    found = ours(one)
    torch.manual_seed(31)
    expected = theirs(two)
    torch.testing.assert_close(found, expected, **EXACT)
    assert (found - ours.base(one)).abs().max() > 0.1, "the update does nothing"
    # A weighting that tells the outputs apart, so that no gradient is right by symmetry.
    weighting = torch.arange(found.numel(), dtype=found.dtype).reshape(found.shape) / 10
    (found * weighting).sum().backward()
    (expected * weighting).sum().backward()
    torch.testing.assert_close(one.grad, two.grad, **EXACT)
    for key, parameter in names.items():
        gradient = theirs.get_parameter(key).grad
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parameter.grad, gradient, **EXACT)
    assert ours.base.weight.grad is None


@every_base
@every_method
def test_merged_weights(kind, name):
    ours, theirs, _ = pair(base_layer(kind), METHODS[name])
    x = inputs()
    unmerged = ours(x)
    ours.merge()
    theirs.merge()
    torch.testing.assert_close(ours.weight, theirs.base_layer.weight, **EXACT)
    torch.testing.assert_close(ours(x), unmerged, **EXACT)
    torch.testing.assert_close(ours(x), theirs(x), **EXACT)


@every_method
@given(st.integers(1, 9), st.integers(1, 9), st.data())
@settings(max_examples=15, deadline=None)
def test_of_any_shape(name, inner, outer, data):
    r = data.draw(st.integers(1, min(inner, outer)))
    alpha = data.draw(st.floats(0.25, 64))
    method = dataclasses.replace(METHODS[name], r=r, lora_alpha=alpha)
    ours, theirs, _ = pair(base_layer("linear", inner, outer), method)
    x = inputs(inner=inner)
    torch.testing.assert_close(ours(x), theirs(x), **EXACT)


@every_method
def test_a_bfloat16_base_with_a_float32_adapter(name):
    ours, theirs, names = pair(
        base_layer("linear", dtype=torch.bfloat16), METHODS[name], adapter=torch.float32
    )
    assert all(parameter.dtype == torch.float32 for parameter in names.values())
    x = inputs(torch.bfloat16)
    found, expected = ours(x), theirs(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    found.float().square().sum().backward()
    expected.float().square().sum().backward()
    for key, parameter in names.items():
        torch.testing.assert_close(
            parameter.grad, theirs.get_parameter(key).grad, atol=1e-4, rtol=1e-5
        )
    ours.merge()
    theirs.merge()
    assert ours.weight.dtype == torch.bfloat16
    assert torch.equal(ours.weight, theirs.base_layer.weight)


def test_over_bfloat16_our_dora_starts_at_the_base_and_pefts_only_near_it(tiny_models):
    method = Lora(r=2, use_dora=True)
    plain, ours, theirs = (
        load(tiny.spec(tiny_models("llama"), dtype="bfloat16"), (), 0) for _ in range(3)
    )
    lora_model.apply(ours.model, method)
    adapted = method.attach(theirs.model, "causal", 0)
    expected = logits(plain, plain.model)
    assert torch.equal(logits(plain, ours.model), expected)
    difference = (logits(plain, adapted.eval()) - expected).abs().max()
    assert 0 < difference < 0.02


# Whole models and their files


FAMILIES = {"llama": "causal", "gpt2": "causal", "t5": "seq2seq", "distilbert": "classifier"}


def loaded_of(model_name, tiny_models, seed=0):
    classify = FAMILIES[model_name] == "classifier"
    spec = tiny.spec(tiny_models(model_name), classify=classify)
    return load(spec, ("negative", "positive"), seed)


def logits(loaded, model):
    ids = torch.arange(2 * 12).reshape(2, 12) % 300 + 5
    extra = {"decoder_input_ids": ids[:, :6]} if loaded.spec.family == "seq2seq" else {}
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **extra).logits


@crossed(model_name=list(FAMILIES), name=list(METHODS))
def test_peft_loads_what_we_save(model_name, name, tiny_models, tmp_path):
    ours = loaded_of(model_name, tiny_models)
    lora_model.apply(ours.model, METHODS[name], heads=ours.heads)
    before = logits(ours, loaded_of(model_name, tiny_models).model)
    expected = logits(ours, tiny.shaken(ours.model, 4, 0.1))
    assert not torch.allclose(expected, before, atol=1e-3)
    lora_model.save(ours.model, tmp_path, family=ours.spec.family, heads=ours.heads)
    base = loaded_of(model_name, tiny_models, seed=8).model
    # Of a missing or an unexpected name peft warns, and warnings fail the suite.
    theirs = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    torch.testing.assert_close(logits(ours, theirs), expected, atol=1e-5, rtol=1e-5)


@crossed(model_name=list(FAMILIES), name=list(METHODS))
def test_we_load_what_peft_saves(model_name, name, tiny_models, tmp_path):
    theirs = loaded_of(model_name, tiny_models)
    family = theirs.spec.family
    adapted = METHODS[name].attach(theirs.model, family, 3, theirs.heads)
    expected = logits(theirs, tiny.shaken(adapted, 4, 0.1).eval())
    adapted.save_pretrained(tmp_path / "theirs")
    ours = loaded_of(model_name, tiny_models, seed=8)
    made = lora_model.load(ours.model, tmp_path / "theirs")
    torch.testing.assert_close(logits(ours, ours.model), expected, atol=1e-5, rtol=1e-5)
    trained = sum(p.numel() for p in ours.model.parameters() if p.requires_grad)
    assert trained == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert [f"base_model.model.{path}" for path in made] == [
        path for path, module in adapted.named_modules() if isinstance(module, PeftLinear)
    ]
    # And the same tensors, under the same names, go out again.
    lora_model.save(ours.model, tmp_path / "ours", family=family, heads=ours.heads)
    one, two = (load_file(tmp_path / who / lora_model.WEIGHTS) for who in ("theirs", "ours"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_config_file_says_what_pefts_says(tiny_models, tmp_path):
    method = METHODS["dora+rslora"]
    theirs, ours = (loaded_of("gpt2", tiny_models) for _ in range(2))
    method.attach(theirs.model, "causal", 0).save_pretrained(tmp_path / "theirs")
    lora_model.apply(ours.model, method)
    lora_model.save(ours.model, tmp_path / "ours", family="causal")
    one, two = (
        json.loads((tmp_path / who / lora_model.CONFIG).read_text(encoding="utf-8"))
        for who in ("theirs", "ours")
    )
    # peft writes every layer's path, we write last names where those are enough.
    assert sorted(two["target_modules"]) == ["c_attn", "c_fc", "c_proj"]
    for config in (one, two):
        del config["base_model_name_or_path"], config["target_modules"]
    assert one == two


def test_training_goes_as_with_peft(tiny_models):
    """Twelve steps of AdamW on two classes of a decoder's words: the same losses."""

    def losses(attach, weights):
        loaded = loaded_of("llama", tiny_models)
        model = attach(loaded.model)
        chosen = {key: p for key, p in model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for parameter, weight in zip(chosen.values(), weights, strict=True):
                parameter.copy_(weight)
        optimiser = torch.optim.AdamW(chosen.values(), lr=1e-2)
        ids = torch.arange(3 * 16).reshape(3, 16) % 300 + 5
        found = []
        for _ in range(12):
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            found.append(float(loss.detach()))
        return found

    def own(model):
        lora_model.apply(model, METHODS["lora"], seed=1)
        return model

    def pefts(model):
        return get_peft_model(
            model, LoraConfig(r=3, lora_alpha=7, target_modules="all-linear", task_type="CAUSAL_LM")
        )

    start = own(loaded_of("llama", tiny_models).model)
    weights = [p.detach().clone() for p in start.parameters() if p.requires_grad]
    ours, theirs = losses(own, weights), losses(pefts, weights)
    assert ours[-1] < ours[0] - 0.2
    assert ours == pytest.approx(theirs, rel=1e-5)
