"""CorDA's start: held to its definition, to what peft makes, and to the base model."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda

import tiny
from loratory.config.remedy import RemedyConfig
from loratory.errors import ConfigError, ModelError
from loratory.methods.lora import Lora
from loratory.tasks.probes import load_probe, replay_texts
from loratory.tuning import corda as module
from loratory.tuning.adapter import with_adapter
from loratory.tuning.corda import corda
from loratory.tuning.fresh import digest
from loratory.tuning.loss import supervised_logits
from loratory.tuning.model import load
from loratory.tuning.regularise import Update
from loratory.tuning.starts import A0, B0, linear_layers, pissa
from loratory.tuning.texts import TEXTS, text_batches
from tiny_run import Run, Stopping, assert_same_adapter

WORDS = tiny.CORPUS.split()
GENERAL = [" ".join(WORDS[i % 9 : i % 9 + 12] + WORDS[3 * (i % 7) :]) for i in range(12)]
TARGETS = {
    "llama": ("q_proj", "down_proj"),
    "gpt2": ("c_attn", "mlp.c_proj"),
    "t5": ("q", "wo"),
    "bert": ("query", "output.dense"),
}
MODELS = pytest.mark.parametrize("model", list(TARGETS))
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def made(tiny_models, folder, model="llama", start="corda", **values):
    fields = {key: values.pop(key) for key in ("quantization", "dtype") if key in values}
    given = {"r": 4, "target_modules": TARGETS[model], "init_lora_weights": start, **values}
    return Run(tiny_models(model), folder, model == "bert", method=Lora(**given), **fields)


def general(run, texts=GENERAL, seed=3):
    shift = getattr(run.model, "prepare_decoder_input_ids_from_labels", None)
    return text_batches(run.spec, texts, max_tokens=64, seed=seed, shift_right=shift)


def started(*args, **values):
    run = made(*args, **values)
    run.method.training(run.model).start_on_texts(general(run))
    return run


def trained(run, texts=GENERAL, progress=None, **changes):
    remedy = RemedyConfig(replay_tokens=64)
    return run.train(progress=progress, texts=texts, remedy=remedy, **changes)


def logits_of(model, run):
    with torch.no_grad():
        return supervised_logits(model.eval(), tiny.collated(run.spec, model, run.rows))[0]


def base_of(run):
    return load(run.spec, ("negative", "positive"), 0).model


def inputs(n, width, seed=0, dtype=torch.float64):
    """Rows of unequal variance, and of less rank than they have columns."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width - 3, width, generator=generator, dtype=dtype)
    scales = torch.logspace(0, -2, width - 3, dtype=dtype)
    return torch.randn(n, width - 3, generator=generator, dtype=dtype) * scales @ mixed


# The definition


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16)])
def test_what_is_taken_does_least_to_the_inputs(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = inputs(200, shape[1])
    covariance = x.T @ x / len(x)
    a, b = corda(weight, covariance, 5)
    damped = covariance + 0.01 * covariance.diagonal().mean() * torch.eye(shape[1]).double()
    values = torch.linalg.svdvals(weight @ damped)
    # ‖B A C‖ is the smallest that a weight can lose when its rank falls by 5 (Eckart and Young).
    taken = torch.linalg.svdvals(b @ a @ damped)
    torch.testing.assert_close(taken[:5], values[-5:], rtol=1e-7, atol=1e-9)
    left = torch.linalg.svdvals((weight - b @ a) @ damped)
    torch.testing.assert_close(left[:-5], values[:-5][: len(left) - 5], rtol=1e-7, atol=1e-9)
    assert float(left[-5:].max()) < 1e-8
    torch.testing.assert_close(b.T @ b, torch.diag(values[-5:]), atol=1e-9, rtol=1e-7)


def test_a_covariance_without_full_rank_is_damped_until_it_inverts():
    x = torch.zeros(3, 32)
    x[:, :3] = torch.eye(3) * 1e-3
    a, b = corda(torch.randn(16, 32, generator=torch.Generator().manual_seed(0)), x.T @ x, 4)
    assert bool(torch.isfinite(a).all()) and bool(torch.isfinite(b).all())


def effect(part, x):
    return float(torch.linalg.matrix_norm(x @ part.T))


def effect_of_start(layer, x):
    return effect(getattr(layer, B0) @ getattr(layer, A0) * layer.scaling["default"], x)


def rival_effects(weight, x, r):
    """What is done to inputs by PiSSA's part of a weight, and by its part in random directions."""
    a, b = pissa(weight, r)
    drawn = torch.randn(weight.shape[1], r, generator=torch.Generator().manual_seed(1))
    q = torch.linalg.qr(drawn.to(weight.dtype))[0]
    return effect(b @ a, x), effect(weight @ q @ q.T, x)


def seen_by(run, layer, texts):
    """Return the inputs of a layer over texts, shape (tokens, in)."""
    seen = []
    handle = layer.get_base_layer().register_forward_pre_hook(
        lambda _, args: seen.append(args[0].flatten(0, -2).float())
    )
    for batch in general(run, texts):
        with torch.no_grad():
            supervised_logits(run.model.eval(), batch)
    handle.remove()
    return torch.cat(seen)


@MODELS
def test_it_does_less_to_general_texts_than_other_starts(model, tiny_models, tmp_path):
    run = started(tiny_models, tmp_path, model)
    layers = list(linear_layers(run.model))
    assert len(layers) >= 4
    for _, layer in layers:
        x = seen_by(run, layer, GENERAL)
        taken = effect_of_start(layer, x)
        assert 0 < taken < min(rival_effects(module.weight_of(layer), x, 4))


@pytest.mark.slow
def test_it_does_less_to_texts_it_has_not_seen_on_a_real_model(tmp_path):
    names = ("layers.3.self_attn.q_proj", "layers.25.mlp.up_proj")
    method = Lora(r=8, init_lora_weights="corda", target_modules=names)
    run = Run("embedded:smollm2-135m", tmp_path, method=method)
    texts = replay_texts("embedded:replay", [])
    run.method.training(run.model).start_on_texts(general(run, texts))
    unseen = [item.options[0].text for item in load_probe("embedded:text")[:8]]
    layers = dict(linear_layers(run.model))
    assert len(layers) == len(names)
    for layer in layers.values():
        x = seen_by(run, layer, unseen)
        taken = effect_of_start(layer, x)
        main, random = rival_effects(module.weight_of(layer), x, 8)
        assert main > 10 * taken and random > 3 * taken


# peft's


@pytest.mark.parametrize("model", ["llama", "gpt2"])
@pytest.mark.parametrize("rslora", [False, True])
def test_a_and_b_are_pefts(model, rslora, tiny_models, tmp_path):
    run = started(tiny_models, tmp_path, model, use_rslora=rslora)
    theirs = base_of(run)
    config = LoraConfig(
        r=4,
        lora_alpha=16.0,
        use_rslora=rslora,
        target_modules=list(TARGETS[model]),
        init_lora_weights="corda",
        corda_config=CordaConfig(corda_method="kpm"),
        fan_in_fan_out=model == "gpt2",
        task_type="CAUSAL_LM",
    )

    def forward():
        for batch in general(run):
            theirs(input_ids=batch["input_ids"])

    preprocess_corda(theirs, config, forward)
    changed = dict(linear_layers(get_peft_model(theirs, config)))
    ours = dict(linear_layers(run.model))
    assert list(ours) == list(changed) and len(ours) == 4
    for name, layer in ours.items():
        for part in ("lora_A", "lora_B"):
            one, two = (getattr(x, part)["default"].weight for x in (layer, changed[name]))
            torch.testing.assert_close(one.abs(), two.abs(), rtol=1e-3, atol=1e-4)
        expected = changed[name].get_base_layer().weight
        now = layer.get_base_layer().weight - layer.get_delta_weight("default")
        torch.testing.assert_close(now, expected, rtol=1e-5, atol=1e-6)


# The base model


@MODELS
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_starts_at_the_base_model_exactly(model, dtype, tiny_models, tmp_path):
    run = started(tiny_models, tmp_path, model, dtype=dtype)
    assert torch.equal(logits_of(run.model, run), logits_of(base_of(run), run))
    moved = [layer.get_delta_weight("default").abs().max() for _, layer in linear_layers(run.model)]
    assert min(moved) > 0


@MODELS
def test_trained_and_saved_it_is_a_plain_lora_on_the_base(model, tiny_models, tmp_path):
    run = made(tiny_models, tmp_path / "run", model)
    before = {name: digest(p) for name, p in run.model.named_parameters() if "base_layer" in name}
    trained(run, max_steps=3, eval_steps=3, warmup_steps=0)
    after = {name: digest(p) for name, p in run.model.named_parameters() if "base_layer" in name}
    assert before == after, "the base model's weights were changed"
    config = json.loads((run.folder / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == 8 and config["init_lora_weights"] is True
    loaded = load(run.spec, ("negative", "positive"), 5)
    base = logits_of(loaded.model, run)
    again = with_adapter(loaded, run.folder / "adapter")
    tuned = logits_of(again, run)
    assert torch.equal(tuned, logits_of(run.model, run))
    assert float((tuned - base).abs().max()) > 1e-3
    merged = logits_of(again.merge_and_unload(safe_merge=True), run)
    torch.testing.assert_close(merged, tuned, rtol=1e-4, atol=1e-4)


@needs_bitsandbytes
@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_a_quantised_base_stays_as_it_is(quantization, tiny_models, tmp_path):
    fields = {"quantization": quantization, "dtype": "float32"}
    plain = made(tiny_models, tmp_path, start=True, **fields)
    run = made(tiny_models, tmp_path, **fields)
    expected = logits_of(plain.model, plain)
    run.method.training(run.model).start_on_texts(general(run))
    assert torch.equal(logits_of(run.model, run), expected)
    trained(run, max_steps=3, eval_steps=3, warmup_steps=0)
    again = with_adapter(load(run.spec, (), 5), run.folder / "adapter")
    torch.testing.assert_close(logits_of(again, run), logits_of(run.model, run))


def test_the_size_of_the_update_is_counted_from_the_start(tiny_models, tmp_path):
    run = made(tiny_models, tmp_path)
    update = Update(run.model)
    run.method.training(run.model).start_on_texts(general(run))
    assert float(update.squared_norm().detach()) == pytest.approx(0, abs=1e-6)


# The same every time


def test_a_resumed_training_keeps_the_start_and_looks_at_no_text(tiny_models, tmp_path):
    steps = {"max_steps": 6, "eval_steps": 2}
    whole = made(tiny_models, tmp_path / "whole")
    trained(whole, **steps)
    with pytest.raises(RuntimeError, match="stop here"):
        trained(made(tiny_models, tmp_path / "halted"), progress=Stopping(4), **steps)
    again = made(tiny_models, tmp_path / "halted")
    trained(again, texts=(), **steps)
    assert_same_adapter(whole, again)


def starts_of(run):
    return [getattr(layer, A0) for _, layer in linear_layers(run.model)]


def test_layers_one_after_the_other_get_what_all_together_get(tiny_models, tmp_path, monkeypatch):
    together = starts_of(started(tiny_models, tmp_path))
    monkeypatch.setattr(module, "AT_ONCE", 1)
    groups = list(module._groups(linear_layers(made(tiny_models, tmp_path).model)))
    assert [len(group) for group in groups] == [1, 1, 1, 1]
    alone = starts_of(started(tiny_models, tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


@MODELS
def test_texts_are_drawn_under_the_seed(model, tiny_models, tmp_path):
    run = made(tiny_models, tmp_path, model)
    many = [f"text {i} {WORDS[i % len(WORDS)]}" for i in range(TEXTS + 40)]

    def drawn(seed, texts=many):
        return [batch["input_ids"].tolist() for batch in general(run, texts, seed)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(drawn(1)) == TEXTS and len(drawn(1, GENERAL)) == len(GENERAL)
    assert drawn(1, ["", "a cat"]) == drawn(1, ["a cat"])
    longest = max(len(row) for (row,) in drawn(1, ["a cat sat on the mat. " * 40]))
    assert longest == 64  # a decoder's first token is one more, its last is a target alone


# What is refused


def test_dora_does_not_go_with_it():
    (problem,) = Lora(init_lora_weights="corda", use_dora=True).problems()
    assert problem.startswith("use_dora: does not go with init_lora_weights corda")


@pytest.mark.parametrize("texts", [(), ("",)])
def test_no_text_is_refused_before_the_first_step(texts, tiny_models, tmp_path):
    run = made(tiny_models, tmp_path)
    with pytest.raises(ConfigError, match=r"^remedy.replay_data: none of its texts has a token"):
        trained(run, texts=texts)
    assert not (tmp_path / "adapter").exists()


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")
def test_an_embedding_is_no_layer_to_start(tiny_models, tmp_path):
    with pytest.raises(ModelError, match=r"^method.target_modules: model.embed_tokens is no"):
        made(tiny_models, tmp_path, target_modules=("embed_tokens",))


def refused(run, model):
    attached = run.method.attach(model, "causal", 0)
    with pytest.raises(ModelError) as caught:
        run.method.training(attached).start_on_texts(general(run))
    return str(caught.value)


def test_a_layer_that_no_text_reaches_is_refused(tiny_models, tmp_path):
    run = made(tiny_models, tmp_path, target_modules=("q_proj", "spare"))
    model = base_of(run)
    model.spare = torch.nn.Linear(8, 8)
    said = refused(run, model)
    assert said.startswith("method.init_lora_weights: ") and "none of them reaches spare" in said


@pytest.mark.parametrize("value", [0.0, float("inf")])
def test_inputs_of_no_use_are_refused(value, tiny_models, tmp_path):
    run = made(tiny_models, tmp_path)
    model = base_of(run)
    model.model.layers[0].input_layernorm.weight.data[:] = value
    said = refused(run, model)
    assert said.startswith("method.init_lora_weights: the inputs of model.layers.0.self_attn.q_pr")


def test_weights_that_are_not_finite_are_refused(tiny_models, tmp_path):
    run = made(tiny_models, tmp_path, target_modules=("down_proj",))
    model = base_of(run)
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    assert "the weight of model.layers.1.mlp.down_proj holds values" in refused(run, model)
