"""LoRA's starts from the weights: held to their papers' definitions, and to what peft makes."""

from __future__ import annotations

import importlib.util
import json
import math

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.integrations import dequantize_module_weight

from crossed import crossed
from loratory.config import TrainConfig, from_mapping
from loratory.errors import ConfigError, ModelError
from loratory.methods.lora import Lora
from loratory.tuning.adapter import with_adapter
from loratory.tuning.batch import collate
from loratory.tuning.fresh import digest
from loratory.tuning.loss import loss_sum
from loratory.tuning.memory import base_weights, rehearse
from loratory.tuning.model import empty, load
from loratory.tuning.starts import olora, pissa
from tiny_run import Run, Stopping, assert_same_adapter

TAKEN_OUT = ("pissa", "pissa_niter_4", "olora")
TARGETS = ("q_proj", "down_proj")
every_start = pytest.mark.parametrize("start", TAKEN_OUT)
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def started(start, tiny_models, folder, model="llama", **values):
    fields = {key: values.pop(key) for key in ("quantization", "dtype") if key in values}
    method = Lora(**{"r": 4, "target_modules": TARGETS, "init_lora_weights": start, **values})
    return Run(tiny_models(model), folder, method=method, **fields)


def layers(model):
    return {
        name: module for name, module in model.named_modules() if hasattr(module, "lora_variant")
    }


def loss_of(model, run):
    with torch.no_grad():
        return loss_sum(model.eval(), collate(run.spec)(run.rows))[0]


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16)])
def test_pissa_is_the_best_approximation_of_its_rank(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = pissa(weight, 5)
    values = torch.linalg.svdvals(weight)
    left = torch.linalg.matrix_norm(weight - b @ a)
    assert float(left) == pytest.approx(float(values[5:].square().sum().sqrt()), rel=1e-12)
    torch.testing.assert_close(a @ a.T, torch.diag(values[:5]))  # each has the square roots
    torch.testing.assert_close(b.T @ b, torch.diag(values[:5]))


def test_more_iterations_come_nearer_to_pissa():
    torch.manual_seed(0)
    weight = torch.randn(60, 80, dtype=torch.float64)

    def left(iterations):
        a, b = pissa(weight, 6, iterations)
        return float(torch.linalg.matrix_norm(weight - b @ a))

    best, errors = left(None), [left(n) for n in (0, 4, 32)]
    assert errors[0] > errors[1] > errors[2] >= best - 1e-9
    assert errors[2] == pytest.approx(best, rel=0.01)


def test_olora_is_orthonormal_and_reproduces_the_columns_it_spans():
    weight = torch.randn(24, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = olora(weight, 5)
    torch.testing.assert_close(b.T @ b, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close((b @ a)[:, :5], weight[:, :5])


@crossed(start=TAKEN_OUT, rslora=[False, True])
def test_a_and_b_are_pefts(start, rslora, tiny_models, tmp_path):
    torch.manual_seed(7)
    theirs = get_peft_model(
        load(started(True, tiny_models, tmp_path).spec, (), 0).model,
        LoraConfig(
            r=4,
            lora_alpha=16.0,
            use_rslora=rslora,
            target_modules=list(TARGETS),
            init_lora_weights=start,
            task_type="CAUSAL_LM",
        ),
    )
    ours = started(start, tiny_models, tmp_path, use_rslora=rslora).model
    left, right = layers(ours), layers(theirs)
    assert list(left) == list(right) and len(left) == 4
    tolerance = {"atol": 1e-5, "rtol": 1e-4} if start != "pissa_niter_4" else {"atol": 1, "rtol": 1}
    for name, layer in left.items():
        for part in ("lora_A", "lora_B"):
            one, two = (getattr(x, part)["default"].weight for x in (layer, right[name]))
            torch.testing.assert_close(one.abs(), two.abs(), **tolerance)
        # Where peft has changed the weight, ours gives the same with the weight as it was.
        delta = layer.scaling["default"] * layer.lora_B["default"].weight
        taken = delta @ layer.lora_A["default"].weight
        expected = right[name].get_base_layer().weight
        if start != "pissa_niter_4":
            torch.testing.assert_close(layer.get_base_layer().weight - taken, expected)


@every_start
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_starts_at_the_base_model_exactly(start, dtype, tiny_models, tmp_path):
    run = started(start, tiny_models, tmp_path, dtype=dtype)
    base = load(run.spec, (), 0).model
    assert torch.equal(loss_of(run.model, run), loss_of(base, run))


@every_start
def test_gradients_are_those_of_the_changed_weights(start, tiny_models, tmp_path):
    """The papers train W − s B₀ A₀ + s B A, with the first difference as a frozen weight."""
    run = started(start, tiny_models, tmp_path, dtype="float32")
    paper = started(True, tiny_models, tmp_path, dtype="float32")
    model, changed = run.model.double(), paper.model.double()
    for name, layer in layers(changed).items():
        ours = layers(model)[name]
        for part in ("lora_A", "lora_B"):
            weight = getattr(ours, part)["default"].weight.detach().clone()
            getattr(layer, part)["default"].weight.data.copy_(weight)
        layer.get_base_layer().weight.data -= layer.get_delta_weight("default").detach()
    batch = collate(run.spec)(run.rows)
    with torch.no_grad():  # away from the start, where much is zero
        for pair in zip(model.parameters(), changed.parameters(), strict=True):
            if pair[0].requires_grad:
                step = 0.01 * torch.randn(pair[0].shape, dtype=torch.float64)
                [p.add_(step) for p in pair]
    for each in (model, changed):
        loss_sum(each, batch)[0].backward()
    pairs = [
        (p.grad, q.grad)
        for p, q in zip(model.parameters(), changed.parameters(), strict=True)
        if p.requires_grad
    ]
    assert len(pairs) == 8 and all(float(p.abs().max()) > 0 for p, _ in pairs)
    for one, two in pairs:
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)  # the loss is in float32


ADAPTED = {
    "llama": ("llama", {}),
    "rslora": ("llama", {"use_rslora": True, "lora_dropout": 0.2, "lora_alpha": 3.0}),
    "gpt2": ("gpt2", {"target_modules": ("c_attn",)}),
    "t5": ("t5", {"target_modules": ("q", "wo")}),
    "bfloat16": ("llama", {"dtype": "bfloat16"}),
}


@crossed(start=TAKEN_OUT, case=list(ADAPTED))
def test_trained_and_saved_it_is_a_plain_lora(start, case, tiny_models, tmp_path):
    model, values = ADAPTED[case]
    run = started(start, tiny_models, tmp_path / "run", model, **values)
    hooks = run.method.training(run.model)
    before = {name: digest(p) for name, p in run.model.named_parameters() if "base_layer" in name}
    run.train(max_steps=3, eval_steps=3, warmup_steps=0)
    after = {name: digest(p) for name, p in run.model.named_parameters() if "base_layer" in name}
    assert before == after, "the base model's weights were changed"
    assert hooks.finish is not None
    config = json.loads((run.folder / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == 8 and config["init_lora_weights"] is True
    loaded = load(run.spec, (), 5)
    batch = collate(run.spec, getattr(loaded.model, "prepare_decoder_input_ids_from_labels", None))(
        run.rows
    )
    with torch.no_grad():
        base = loss_sum(loaded.model.eval(), batch)[0]
        again = with_adapter(loaded, run.folder / "adapter")
        assert isinstance(again, PeftModel)
        tuned, memory = (loss_sum(m.eval(), batch)[0] for m in (again, run.model))
    assert torch.equal(tuned, memory)
    assert float(tuned) < float(base)


@every_start
def test_the_saved_adapter_gives_what_was_trained(start, tiny_models, tmp_path):
    """Before it is settled, the model is the one that training has made."""
    run = started(start, tiny_models, tmp_path / "run")
    seen = []
    method = run.method

    class Watched:
        def training(self, model):
            hooks = method.training(model)

            def finish():
                seen.append(loss_of(model, run))
                hooks.finish()

            return type(hooks)(finish=finish)

    run.method = Watched()
    run.train(max_steps=4, eval_steps=4, warmup_steps=0)
    again = with_adapter(load(run.spec, (), 5), run.folder / "adapter")
    torch.testing.assert_close(loss_of(again, run), seen[0], rtol=1e-5, atol=1e-4)
    merged = again.merge_and_unload(safe_merge=True)
    torch.testing.assert_close(loss_of(merged, run), seen[0], rtol=1e-5, atol=1e-4)


def test_a_resumed_training_ends_in_the_same_adapter(tiny_models, tmp_path):
    whole = started("pissa", tiny_models, tmp_path / "whole")
    whole.train(max_steps=6, eval_steps=2)
    halted = started("pissa", tiny_models, tmp_path / "halted")
    with pytest.raises(RuntimeError, match="stop here"):
        halted.train(progress=Stopping(4), max_steps=6, eval_steps=2)
    assert any((halted.folder / "checkpoints").iterdir())
    again = started("pissa", tiny_models, tmp_path / "halted")
    again.train(max_steps=6, eval_steps=2)
    assert_same_adapter(whole, again)


# LoftQ


@needs_bitsandbytes
@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_loftq_brings_the_quantised_model_nearer_to_the_whole_one(model, tiny_models, tmp_path):
    targets = ("c_attn",) if model == "gpt2" else TARGETS
    values = {"target_modules": targets, "quantization": "4bit", "dtype": "float32"}
    plain = started(True, tiny_models, tmp_path, model, **values)
    run = started("loftq", tiny_models, tmp_path, model, **values)
    exact = dict(load(Run(tiny_models(model), tmp_path).spec, (), 0).model.named_parameters())
    for name, layer in layers(run.model).items():
        original = exact[f"{name.removeprefix('base_model.model.')}.weight"]
        original = original.T if model == "gpt2" else original
        quantised = dequantize_module_weight(layer.get_base_layer()).float()
        lost = original.detach() - quantised
        with_start = lost - layer.get_delta_weight("default").detach()
        values_lost = torch.linalg.svdvals(lost)
        best = values_lost[4:].square().sum().sqrt()
        assert float(torch.linalg.matrix_norm(with_start)) == pytest.approx(float(best), rel=1e-3)
        assert float(best) < float(torch.linalg.matrix_norm(lost))
    assert run.method.training(run.model).finish is None
    run.train(max_steps=3, eval_steps=3, warmup_steps=0)
    again = with_adapter(load(run.spec, (), 5), run.folder / "adapter")
    torch.testing.assert_close(loss_of(again, run), loss_of(run.model, run))
    assert not torch.equal(loss_of(again, run), loss_of(plain.model, plain))


@needs_bitsandbytes
@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_pissa_on_a_quantised_base_leaves_it_as_it_is(quantization, tiny_models, tmp_path):
    plain = started(True, tiny_models, tmp_path, quantization=quantization, dtype="float32")
    run = started("pissa", tiny_models, tmp_path, quantization=quantization, dtype="float32")
    assert torch.equal(loss_of(run.model, run), loss_of(plain.model, plain))
    run.train(max_steps=3, eval_steps=3, warmup_steps=0)
    again = with_adapter(load(run.spec, (), 5), run.folder / "adapter")
    torch.testing.assert_close(loss_of(again, run), loss_of(run.model, run))


def test_loftq_without_a_quantised_base_is_refused():
    recipe = {
        "task": "summarization",
        "model": {"name": "some/model"},
        "data": {"name": "embedded:docstrings"},
        "method": {"name": "lora", "init_lora_weights": "loftq"},
    }
    with pytest.raises(ConfigError, match=r"^method.init_lora_weights: loftq makes up for"):
        from_mapping(recipe)
    recipe["model"]["quantization"] = "4bit"
    assert from_mapping(recipe).method.init_lora_weights == "loftq"


# What is refused


@pytest.mark.parametrize("start", [*TAKEN_OUT, "loftq"])
def test_dora_does_not_go_with_a_start_from_the_weights(start):
    problems = Lora(init_lora_weights=start, use_dora=True).problems()
    assert len(problems) == 1 and problems[0].startswith("use_dora: ")


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")
def test_an_embedding_is_no_layer_to_start(tiny_models, tmp_path):
    with pytest.raises(
        ModelError, match=r"^method.target_modules: model.embed_tokens is no linear"
    ):
        started("pissa", tiny_models, tmp_path, target_modules=("embed_tokens",))


def test_weights_that_are_not_finite_are_refused(tiny_models, tmp_path):
    run = started(True, tiny_models, tmp_path)
    loaded = load(run.spec, (), 0)
    loaded.model.model.layers[1].self_attn.q_proj.weight.data[0, 0] = math.inf
    with pytest.raises((ModelError, RuntimeError), match=r"finite|inf"):
        Lora(r=4, target_modules=TARGETS, init_lora_weights="olora").attach(
            loaded.model, "causal", 0
        )


def test_the_file_is_as_large_as_was_said_before(tiny_models, tmp_path):
    run = started("pissa", tiny_models, tmp_path / "run")
    bare = empty(run.spec, ())
    base = base_weights(bare, run.spec, ())
    model = run.method.attach(bare, "causal", 0)
    finish = run.method.training(model).finish
    found = rehearse(model, run.spec, TrainConfig(), run.rows, base, finish)
    run.train(max_steps=1)
    file = run.folder / "adapter" / "adapter_model.safetensors"
    assert found.account.adapter_bytes == file.stat().st_size
    trainable = 2 * 4 * (32 + 32) + 2 * 4 * (64 + 32)  # q and down of two layers, r = 4
    assert found.account.trainable == trainable
