"""Layers laid out for answers give a model's logits, and what is of another plan is left alone."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, Qwen2Config, Qwen3Config

import tiny
from loratory.methods.base import METHODS
from loratory.methods.lora import Lora
from loratory.tuning.fused import accelerated, layers
from loratory.tuning.model import load


@pytest.fixture(params=[True, False], ids=["tiles", "no tiles"], autouse=True)
def tiles(request, monkeypatch):
    """Prompts attend in one of two ways, as is faster with tiles or without."""
    monkeypatch.setattr(layers, "has_tiles", lambda: request.param)


PROMPTS = [[3, 4, 5, 6, 7, 8], [3, 4, 5, 9], [3]]
ASKED = [[5], [], [9, 11, 6]]


def expected(model):
    """The model's logits after each prompt, and after each token that is asked."""
    first, then = [], []
    with torch.no_grad():
        for prompt, asked in zip(PROMPTS, ASKED, strict=True):
            logits = model(input_ids=torch.tensor([[*prompt, *asked]])).logits[0]
            first.append(logits[len(prompt) - 1])
            then.append(logits[len(prompt) :])
    return torch.stack(first), torch.cat(then)


def found(laid):
    with torch.inference_mode():
        first, rows = laid.read(PROMPTS, 4)
        return first, laid.follow([rows], [ASKED])


def decoder(config, dtype=torch.float32):
    return tiny.decoder(config, dtype).eval().requires_grad_(False)


@pytest.mark.parametrize("config", [LlamaConfig, Qwen2Config])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_the_models(config, dtype):
    model = decoder(config, dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    laid = layers.laid_out(model)
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.1, "atol": 0.03}
    for one, other in zip(found(laid), expected(model), strict=True):
        torch.testing.assert_close(one, other, **near)


def test_groups_that_were_read_apart_go_on_together():
    model = decoder(LlamaConfig)
    laid = layers.laid_out(model)
    with torch.inference_mode():
        _, one = laid.read(PROMPTS[:2], 4)
        _, other = laid.read(PROMPTS[2:], 4)
        then = laid.follow([one, other], [ASKED[:2], ASKED[2:]])
        torch.testing.assert_close(then, expected(model)[1], rtol=1e-4, atol=1e-5)
        # What was asked is written over by what is asked next, unless it was said to hold.
        again = laid.follow([one, other], [[[8], [9]], [[4]]])
        other.select([0])
        other.lengths = other.lengths + 1  # [4] holds
        after = laid.follow([other], [[[7]]])
        whole = model(input_ids=torch.tensor([[*PROMPTS[2], 4, 7]])).logits[0]
    torch.testing.assert_close(again[2], whole[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[0], whole[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "up_proj"], ["v_proj", "down_proj"]])
def test_an_adapter_answers_with_its_base_and_can_be_turned_off(tiny_models, targets):
    spec = tiny.spec(tiny_models("llama"))
    plain = expected(load(spec, (), 0).model)
    method = Lora(r=3, lora_alpha=5, target_modules=targets)
    model = method.attach(load(spec, (), 0).model, spec.family, 1, ())
    tiny.shaken(model, 5, 0.5)
    model.eval()
    tuned = expected(model)
    assert not torch.allclose(tuned[0], plain[0], atol=1e-2)
    with accelerated(model, spec.family):  # as in the midst of a training
        within = found(layers.laid_out(model))
    for one, other in zip(within, tuned, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    with model.disable_adapter():
        without = found(layers.laid_out(model))
    for one, other in zip(without, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not any(p.requires_grad for p in (*within, *without))


OTHERS = [Lora(use_dora=True), *(METHODS.get(x)() for x in ("ia3", "houlsby", "prompt_tuning"))]


@pytest.mark.parametrize("method", OTHERS, ids=lambda method: type(method).__name__)
def test_other_adapters_are_left_to_the_model(tiny_models, method):
    spec = tiny.spec(tiny_models("llama"))
    model = method.attach(load(spec, (), 0).model, spec.family, 1, ()).eval()
    assert layers.laid_out(model) is None


def test_a_merged_adapter_is_left_to_the_model(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    model = Lora(r=3).attach(load(spec, (), 0).model, spec.family, 1, ()).eval()
    assert layers.laid_out(model) is not None
    model.merge_adapter()
    assert layers.laid_out(model) is None


def test_models_of_another_plan_are_left_alone(tiny_models, monkeypatch):
    assert layers.laid_out(load(tiny.spec(tiny_models("gpt2")), (), 0).model) is None
    assert layers.laid_out(decoder(Qwen3Config)) is None  # norms of queries and keys
    model = decoder(LlamaConfig)
    model.model.layers[1].self_attn.forward = lambda hidden_states, **_: (hidden_states, None)
    assert layers.laid_out(model) is None  # the same parts, which compute otherwise
    del model.model.layers[1].self_attn.forward
    assert layers.laid_out(model) is not None
    monkeypatch.setattr(layers, "COPY_BYTES", 10_000)
    assert layers.laid_out(model) is None
