"""Quantised bases: the configuration built, what is refused, and, with bitsandbytes, training."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import types

import pytest
import torch
from peft import PeftModel

import tiny
from crossed import crossed, thinned
from loratory.config import ModelConfig, from_mapping
from loratory.errors import ConfigError, MissingDependencyError, ModelError
from loratory.methods.base import METHODS
from loratory.methods.lora import Lora
from loratory.tuning import lora_model, quantize
from loratory.tuning.loss import loss_sum
from loratory.tuning.model import empty, heads_of, load
from loratory.tuning.quantize import check_machine, kept_precise, quantization_config, weight_bytes
from tiny_run import Run

STORED = ["8bit", "4bit"]
BOTH = pytest.mark.parametrize("quantization", STORED)
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
FAMILIES = {"llama": False, "gpt2": False, "t5": False, "bart": False, "bert": True}
QUANTISED = {"llama": "causal", "gpt2": "causal", "t5": "seq2seq", "bert": "classifier"}
MODELS = [*FAMILIES, "distilbert"]
every_model = crossed(name=MODELS, quantization=STORED)


def config_of(quantization):
    return ModelConfig(name="some/model", quantization=quantization)


# The configuration


def test_weights_as_they_are_need_no_configuration():
    assert quantization_config("none", torch.float32, []) is None


def test_8_bit():
    built = quantization_config("8bit", torch.bfloat16, ["score"])
    assert built.quantization_method() == "llm_int8"
    assert built.llm_int8_threshold == 6.0
    assert built.llm_int8_skip_modules == ["score"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_4_bit(dtype):
    built = quantization_config("4bit", dtype, [])
    assert built.quantization_method() == "nf4"
    assert built.bnb_4bit_compute_dtype == dtype
    assert built.bnb_4bit_use_double_quant
    assert built.llm_int8_skip_modules is None  # so that transformers spares the output head


def test_a_classifiers_heads_and_pooler_are_spared(tiny_models):
    kept = {"bert": ["classifier", "bert.pooler"], "distilbert": ["pre_classifier", "classifier"]}
    for name, expected in kept.items():
        bare = empty(tiny.spec(tiny_models(name), classify=True), ("a", "b"))
        assert kept_precise(bare, heads_of(bare)) == expected


@BOTH
def test_bytes_by_hand(quantization, tiny_models):
    bare = empty(tiny.spec(tiny_models("llama")), ())
    vocabulary = bare.config.vocab_size
    # Of each of two layers: q and o 32 × 32, k and v 16 × 32, gate and up 64 × 32, down 32 × 64.
    weights, rows = 2 * (2 * 1024 + 2 * 512 + 3 * 2048), 2 * (2 * 32 + 2 * 16 + 2 * 64 + 32)
    rest = 4 * (vocabulary * 32 + 5 * 32)  # embeddings, tied to the head, and norms, in float32
    expected = {
        "8bit": rest + weights + 4 * rows,
        # A byte for two weights, one for each 64, and a float32 for up to 256 of those a layer.
        "4bit": rest + weights // 2 + weights // 64 + 4 * 14,
    }
    assert weight_bytes(bare, quantization) == expected[quantization]
    assert weight_bytes(bare, "none") == rest + 4 * weights


# Refused


@BOTH
def test_without_the_package(quantization, tiny_models, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError) as caught:
        tiny.spec(tiny_models("llama"), quantization=quantization)
    assert str(caught.value) == (
        f"model.quantization: {quantization} needs the package bitsandbytes, which is not "
        "installed or too old. Run: pip install 'loratory[quantize]'"
    )


def test_an_old_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(quantize, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(MissingDependencyError, match="not installed or too old"):
        check_machine(config_of("4bit"), None)


def broken(*args, **kwargs):
    raise RuntimeError("no kernel image\nis available")


@pytest.mark.parametrize(
    ("fake", "why"),
    [
        ({"supported_torch_devices": {"abacus"}}, "it knows no cpu devices"),
        (
            {"supported_torch_devices": {"cpu"}, "nn": types.SimpleNamespace(Linear4bit=broken)},
            "no kernel image is available",
        ),
    ],
)
def test_a_machine_that_cannot(fake, why, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(quantize, "is_bitsandbytes_available", lambda: True)
    monkeypatch.setattr(quantize, "device", lambda: "cpu")
    monkeypatch.setattr(importlib, "import_module", lambda name: types.SimpleNamespace(**fake))
    with pytest.raises(ModelError) as caught:
        check_machine(config_of("8bit"), None)
    assert str(caught.value) == (
        f"model.quantization: 8bit: bitsandbytes does not work on this machine: {why}. Take "
        "model.quantization: none, with model.dtype: bfloat16 to save memory."
    )


def test_a_checkpoint_that_is_quantised_already(tiny_models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models("llama"), folder)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=r"are quantised already \(gptq\)\. Leave"):
        tiny.spec(folder, quantization="4bit")


@pytest.fixture
def recipe(tmp_path):
    return {
        "model": {"name": "m", "quantization": "4bit"},
        "data": "d.csv",
        "task": "summarization",
        "method": {"name": "lora"},
    }


def test_a_method_that_cannot(recipe, monkeypatch):
    assert from_mapping(recipe).model.quantization == "4bit"
    monkeypatch.setattr(Lora, "quantised", frozenset({"8bit"}))
    with pytest.raises(ConfigError) as caught:
        from_mapping(recipe)
    assert str(caught.value).startswith(
        "model.quantization: lora cannot be trained on a 4bit base model. Take "
        "model.quantization: none, or one of the methods that can: "
    )
    recipe["model"]["quantization"] = "8bit"
    assert from_mapping(recipe).model.quantization == "8bit"


def test_a_word_that_is_none_of_them(recipe):
    recipe["model"]["quantization"] = "4-bit"
    with pytest.raises(ConfigError, match=r"model\.quantization: unknown '4-bit'\. Did you mean"):
        from_mapping(recipe)


# Trained, where bitsandbytes is installed


def quantised(name, quantization, tiny_models, **fields):
    classify = FAMILIES.get(name, True)
    spec = tiny.spec(tiny_models(name), classify=classify, quantization=quantization, **fields)
    return load(spec, ("negative", "positive"), 0)


def batch_for(loaded, model):
    return tiny.collated(loaded.spec, model, tiny.rows(loaded.spec, 6))


def base_bytes(model):
    """A hash over every frozen tensor, the scales of quantised weights included."""
    total, found = hashlib.sha256(), {}
    for key, tensor in model.state_dict().items():
        if "lora_" not in key and "modules_to_save" not in key:
            key = key.removeprefix("base_model.model.").replace(".base_layer.", ".")
            found[key.replace(".original_module.", ".")] = tensor
    for key, tensor in sorted(found.items()):
        total.update(key.encode())
        total.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


@needs_bitsandbytes
@every_model
def test_what_is_quantised_and_what_is_not(name, quantization, tiny_models):
    loaded = quantised(name, quantization, tiny_models)
    stored = {"8bit": "Linear8bitLt", "4bit": "Linear4bit"}[quantization]
    kinds = {key: type(module).__name__ for key, module in loaded.model.named_modules()}
    assert stored in kinds.values()
    for head in loaded.heads:
        inside = list(loaded.model.get_submodule(head).parameters())
        assert inside and all(p.dtype == torch.float32 for p in inside)
    packing = [getattr(m, "support_avx512bf16_for_cpu", False) for m in loaded.model.modules()]
    assert not any(packing)
    output = loaded.model.get_output_embeddings()
    assert output is None or type(output).__name__ == "Linear"


@needs_bitsandbytes
@every_model
def test_the_bytes_expected_are_those_held(name, quantization, tiny_models):
    loaded = quantised(name, quantization, tiny_models)
    bare = empty(loaded.spec, ("negative", "positive"))
    heads = kept_precise(bare, heads_of(bare)) if loaded.spec.family == "classifier" else ()
    held = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    for module in loaded.model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            held += state.absmax.numel() + 4 * state.state2.absmax.numel()
        if type(module).__name__ == "Linear8bitLt":
            held += 4 * module.out_features
    assert weight_bytes(bare, quantization, heads) == held


@needs_bitsandbytes
@crossed(name=MODELS, dtype=["float32", "bfloat16"], quantization=STORED)
def test_answers_are_near_the_models_own(name, dtype, quantization, tiny_models):
    loaded = quantised(name, quantization, tiny_models, dtype=dtype)
    assert loaded.model.dtype == getattr(torch, dtype)
    plain = load(tiny.spec(tiny_models(name), classify=FAMILIES.get(name, True)), ("n", "p"), 0)
    batch = batch_for(plain, plain.model)
    with torch.no_grad():
        one, n = loss_sum(loaded.model, batch)
        two, _ = loss_sum(plain.model, batch)
    assert float(one / n) == pytest.approx(float(two / n), abs=0.12)
    assert not torch.equal(one, two), "nothing was quantised"


@needs_bitsandbytes
@every_model
def test_training_lowers_the_loss_and_leaves_the_base_as_it_was(name, quantization, tiny_models):
    loaded = quantised(name, quantization, tiny_models)
    before = base_bytes(loaded.model)
    model = Lora(r=4).attach(loaded.model, loaded.spec.family, 0, loaded.heads)
    batch = batch_for(loaded, model)
    chosen = [p for p in model.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in chosen)
    optimiser = torch.optim.AdamW(chosen, lr=5e-3)
    losses = []
    for _ in range(4):
        model.eval()
        with torch.no_grad():  # what a validation does, between steps
            loss_sum(model, batch)
        model.train()
        loss, n = loss_sum(model, batch)
        (loss / n).backward()
        losses.append(float(loss.detach() / n))
        for key, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_B" in key:
                assert parameter.grad is not None and parameter.grad.abs().max() > 0, key
        optimiser.step()
        optimiser.zero_grad()
    assert losses[3] < losses[0]
    assert base_bytes(model) == before


# Every method that says so, on every kind of model that it takes.
ON_QUANTISED = [
    (method, quantization, name)
    for method in METHODS.names()
    for quantization in sorted(METHODS.get(method).quantised)
    for name, family in QUANTISED.items()
    if family in METHODS.get(method).families
]


@needs_bitsandbytes
@pytest.mark.parametrize(("method", "quantization", "name"), thinned(ON_QUANTISED))
def test_every_method_that_says_so_trains_on_it(name, method, quantization, tiny_models):
    loaded = quantised(name, quantization, tiny_models)
    assert loaded.spec.family == QUANTISED[name]
    settings = {"r": 4, "alora_invocation_tokens": (203,)} if method == "alora" else {}
    chosen = METHODS.get(method)(**settings)
    model = chosen.attach(loaded.model, loaded.spec.family, 0, loaded.heads).eval()
    frozen = {key: p.detach().clone() for key, p in model.named_parameters() if not p.requires_grad}
    batch = batch_for(loaded, model)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(6):
        loss, n = loss_sum(model, batch)
        (loss / n).backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, frozen[k]) for k, p in model.named_parameters() if k in frozen)


@needs_bitsandbytes
@BOTH
def test_dora_and_rslora_on_it(quantization, tiny_models):
    loaded = quantised("llama", quantization, tiny_models)
    model = Lora(r=2, use_dora=True, use_rslora=True).attach(loaded.model, "causal", 0)
    loss, n = loss_sum(model, batch_for(loaded, model))
    (loss / n).backward()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert any("magnitude" in key and p.grad.abs().max() > 0 for key, p in trained.items())


@needs_bitsandbytes
@BOTH
def test_the_own_layer_on_it(quantization, tiny_models):
    """Its answers are peft's; what needs the weight itself is refused."""
    theirs, ours = (quantised("llama", quantization, tiny_models) for _ in range(2))
    adapted = Lora(r=2).attach(theirs.model, "causal", 0)
    made = lora_model.apply(ours.model, Lora(r=2))
    with torch.no_grad():
        for path, layer in made.items():
            other = adapted.get_submodule(f"base_model.model.{path}")
            torch.nn.init.normal_(layer.lora_B)
            other.lora_A["default"].weight.copy_(layer.lora_A)
            other.lora_B["default"].weight.copy_(layer.lora_B)
        batch = batch_for(ours, ours.model)
        one, two = (loss_sum(model.eval(), batch)[0] for model in (ours.model, adapted))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-4)
    with pytest.raises(ModelError, match=r"^merge: .* the base is quantised"):
        lora_model.merge(ours.model)
    fresh = quantised("llama", quantization, tiny_models)
    with pytest.raises(ModelError, match=r"^method\.use_dora: .* the base is quantised"):
        lora_model.apply(fresh.model, Lora(r=2, use_dora=True))


@needs_bitsandbytes
@BOTH
def test_a_validation_changes_neither_weights_nor_gradients(quantization, tmp_path):
    """As wide as bitsandbytes' packing for AVX512-BF16 needs; see `settle`."""
    wide = {"hidden_size": 128, "intermediate_size": 256, "num_key_value_heads": 4}
    folder = tiny.llama(tmp_path, pad_is_end=False, **wide)
    loaded = load(tiny.spec(folder, quantization=quantization, dtype="bfloat16"), (), 0)
    before = base_bytes(loaded.model)
    model = Lora(r=2).attach(loaded.model, "causal", 0)
    batch = batch_for(loaded, model)

    def gradients():
        model.train()
        loss, n = loss_sum(model, batch)
        (loss / n).backward()
        found = {key: p.grad for key, p in model.named_parameters() if "lora_B" in key}
        model.zero_grad(set_to_none=True)
        return found

    one = gradients()
    model.eval()
    with torch.no_grad():
        loss_sum(model, batch)
    two = gradients()
    assert all(one[key].abs().max() > 0 and torch.equal(one[key], two[key]) for key in one)
    assert base_bytes(model) == before


@needs_bitsandbytes
@crossed(name=["llama", "t5"], quantization=STORED)
def test_a_whole_training_saves_what_a_fresh_base_reads(name, quantization, tiny_models, tmp_path):
    run = Run(tiny_models(name), tmp_path / "run", quantization=quantization)
    run.train(eval_steps=10)
    losses = [line["loss"] for line in run.log() if "loss" in line]
    assert losses[-1] < losses[0]
    fresh = load(run.spec, (), 5)
    again = PeftModel.from_pretrained(fresh.model, str(tmp_path / "run" / "adapter")).eval()
    batch = batch_for(fresh, again)
    with torch.no_grad():
        one, two = (loss_sum(model.eval(), batch)[0] for model in (run.model, again))
    assert torch.equal(one, two)
