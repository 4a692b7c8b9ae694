"""Layers that are one function each train as the model's own do, and give back what they took."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

import tiny
from loratory.methods.base import METHODS
from loratory.methods.lora import Lora
from loratory.tuning.batch import IGNORE
from loratory.tuning.fused import accelerated, decoder, gemm
from loratory.tuning.loss import losses, packing

ROWS = [([3, 4, 5, 6, 7], [8, 9]), ([3, 4, 5, 11], [12, 13, 14]), ([3, 4, 5], [2])]


@pytest.fixture(params=[False, True], ids=["within", "reordered"], autouse=True)
def reordered(request, monkeypatch):
    """Weights are laid out in one of two ways; oneDNN reorders bfloat16 alone, here anything."""

    def product(x, weight, add=None):
        return x @ weight.T if add is None else add + x @ weight.T

    monkeypatch.setattr(gemm, "reorders", lambda weight, few: request.param)
    monkeypatch.setattr(gemm, "reordered", lambda weight: weight.clone())
    monkeypatch.setattr(gemm, "reordered_product", product)
    return request.param


def batch(rows=ROWS):
    length = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.zeros((len(rows), length), dtype=torch.long)
    labels = torch.full_like(ids, IGNORE)
    mask = torch.zeros_like(ids)
    for i, (prompt, answer) in enumerate(rows):
        whole = prompt + answer
        ids[i, : len(whole)], mask[i, : len(whole)] = torch.tensor(whole), 1
        labels[i, len(prompt) - 1 : len(whole) - 1] = torch.tensor(answer)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "shift_labels": labels}


def adapted(config=LlamaConfig, dtype=torch.float64, method=None, targets="all-linear", **more):
    """A tiny decoder in training, whose adapter and biases are anything but zero."""
    model = tiny.decoder(config, **more)
    method = method or Lora(r=3, lora_alpha=5, target_modules=targets)
    model = method.attach(model, "causal", 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or name.endswith("bias"):
                parameter.normal_(std=0.3)
    return model.to(dtype).train()


def learnt(model, rows=ROWS):
    model.zero_grad()
    nats = losses(model, batch(rows))
    nats.sum().backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return nats.detach(), grads


def assert_alike(found, expected, rtol=1e-5, atol=1e-6):
    """Norms and cross-entropy of transformers are computed in float32."""
    torch.testing.assert_close(found[0], expected[0], rtol=rtol, atol=atol)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


PLANS = {
    "shared keys": {},
    "heads of their own": {"num_key_value_heads": 4},
    "one key": {"num_key_value_heads": 1},
    "wider heads": {"head_dim": 16},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "Qwen2": {"config": Qwen2Config},
    "Mistral": {"config": MistralConfig, "sliding_window": None},
    "some layers": {"targets": ["v_proj", "up_proj"]},
    "others": {"targets": ["q_proj", "o_proj", "down_proj"]},
    "scaled by the root of the rank": {"method": Lora(r=3, use_rslora=True)},
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_losses_and_gradients_are_the_models(plan):
    model = adapted(**plan)
    expected = learnt(model)
    with accelerated(model, "causal") as found:
        assert found.laid
        assert_alike(learnt(model), expected)
        assert_alike(learnt(model, ROWS[1:2]), learnt_plainly(model, ROWS[1:2]))  # no padding
    assert_alike(learnt(model), expected, rtol=0, atol=0)


def test_ranks_may_differ():
    config = LoraConfig(
        r=3, rank_pattern={"k_proj": 2, "up_proj": 5}, target_modules="all-linear", lora_alpha=4
    )
    model = get_peft_model(adapted().unload(), config).double().train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    expected = learnt(model)
    with accelerated(model, "causal") as found:
        assert found.laid
        assert_alike(learnt(model), expected)


def learnt_plainly(model, rows):
    with packing(model, most=-1.0):
        return learnt(model, rows)


def test_what_was_trained_between_two_steps_is_what_the_next_computes_with():
    model = adapted()
    with accelerated(model, "causal"):
        before = learnt(model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.data.add_(0.1)  # in place, and unseen by autograd
        after, expected = learnt(model), learnt_plainly(model, ROWS)
    assert not torch.allclose(before[0], after[0], atol=1e-2)
    assert_alike(after, expected)


def test_gradients_of_two_batches_add_up():
    model = adapted()
    with accelerated(model, "causal"):
        one, other = learnt(model, ROWS[:2]), learnt(model, ROWS[2:])
        model.zero_grad()
        for rows in (ROWS[:2], ROWS[2:]):
            losses(model, batch(rows)).sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(parameter.grad, one[1][name] + other[1][name])


def test_weights_are_the_modules_own_again_after_an_error(reordered):
    model = adapted(dtype=torch.bfloat16)
    layer = model.get_base_model().model.layers[1]
    q, v = layer.self_attn.q_proj.base_layer, layer.self_attn.v_proj.base_layer
    before = {name: p.clone() for name, p in model.named_parameters()}
    context = accelerated(model, "causal")
    assert context.__enter__().laid and "forward" in vars(layer)
    held, other = (layer.weight.untyped_storage().data_ptr() for layer in (q, v))
    assert reordered == (held != other)  # else both are views of one matrix
    assert not context.__exit__(KeyError, KeyError(), None)
    assert "forward" not in vars(layer)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        size = parameter.numel() * parameter.element_size()
        assert parameter.is_contiguous() and parameter.untyped_storage().nbytes() == size


def test_without_gradients_nothing_is_kept_and_the_losses_are_the_same():
    model = adapted().eval()
    expected = losses(model, batch()).detach()
    with accelerated(model, "causal") as found, torch.no_grad():
        assert found.laid
        nats = losses(model, batch())
    assert not nats.requires_grad
    torch.testing.assert_close(nats, expected, rtol=1e-5, atol=1e-6)


def test_an_adapter_that_is_off_or_other_precision_goes_the_plain_way(monkeypatch):
    model = adapted(dtype=torch.float32)
    with model.disable_adapter(), torch.no_grad():
        base = losses(model, batch())
    with accelerated(model, "causal") as found:
        assert found.laid
        with monkeypatch.context() as patch:
            patch.setattr(decoder._Function, "apply", None)
            with model.disable_adapter(), torch.no_grad():
                torch.testing.assert_close(losses(model, batch()), base, rtol=1e-4, atol=1e-5)
            with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
                assert losses(model, batch()).isfinite().all()


OTHERS = {
    "dropout of attention": {"attention_dropout": 0.1},
    "norms of queries and keys": {"config": Qwen3Config},
    "windows longer than the trial": {"config": MistralConfig, "sliding_window": 64},
    "another activation": {"hidden_act": "gelu"},
    "DoRA": {"method": Lora(use_dora=True)},
    "dropout": {"method": Lora(lora_dropout=0.1)},
    "full": {"method": METHODS.get("full")()},
}


@pytest.mark.parametrize("plan", OTHERS.values(), ids=OTHERS)
def test_what_is_of_another_plan_is_left_alone(plan):
    model = adapted(**plan)
    weights = [p.data_ptr() for p in model.parameters()]
    with accelerated(model, "causal") as found:
        assert not found.laid
        assert all("forward" not in vars(layer) for layer in model.get_base_model().model.layers)
    if plan.get("hidden_act") is None:  # that one is laid out, tried, and put back
        assert [p.data_ptr() for p in model.parameters()] == weights


def test_two_adapters_at_once_are_left_alone():
    inner = AutoModelForCausalLM.from_config(adapted().get_base_model().config)
    both = get_peft_model(inner, LoraConfig(r=2, target_modules=["q_proj"]))
    both.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj"]))
    both.base_model.set_adapter(["default", "other"])
    expected = learnt(both.train())
    with accelerated(both, "causal"):
        assert_alike(learnt(both), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_that_stands_there_twice_is_left_alone():
    model = adapted()
    inner = model.get_base_model().model
    inner.layers.append(inner.layers[0])
    inner.config.num_hidden_layers = 3
    expected = learnt(model)
    with accelerated(model, "causal") as found:
        assert not found.laid
        assert_alike(learnt(model), expected)
