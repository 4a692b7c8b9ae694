"""BitFit, layer-wise and full tuning: trained as copies, so the base model can be had again."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import tiny
from crossed import crossed, few
from loratory.errors import ModelError
from loratory.methods.base import METHODS
from loratory.methods.bitfit import BitFit
from loratory.methods.full import Full
from loratory.methods.layerwise import Layerwise
from loratory.tuning.adapter import save_adapter
from loratory.tuning.model import load
from tiny_method import On

OURS = ("bitfit", "layerwise", "full")
every_method = pytest.mark.parametrize("name", OURS)
every_model = pytest.mark.parametrize("model_name", few(tiny.BUILDERS, ("llama", "t5", "bert")))
every_pair = crossed(name=OURS, model_name=list(tiny.BUILDERS))


@every_model
def test_full_tuning_trains_every_weight_once(model_name, tiny_models):
    on = On(Full(), tiny_models(model_name))
    assert on.count() == Full().count(list(on.body.values()))


@every_model
def test_layerwise_tuning_trains_the_last_layer_of_each_stack(model_name, tiny_models):
    on = On(Layerwise(num_layers=1), tiny_models(model_name))
    last = [shape for key, shape in on.body.items() if ".1." in key.removesuffix(".weight")]
    if model_name == "t5":  # whose sub-layers are numbered as well
        last = [shape for key, shape in on.body.items() if "block.1." in key]
    assert on.count() == Layerwise().count(last)


@every_model
def test_bitfit_trains_bias_terms(model_name, tiny_models):
    on = On(BitFit(), tiny_models(model_name))
    widths = [shape[0] for key, shape in on.body.items() if key.endswith(".bias")]
    if model_name in ("llama", "t5"):
        assert widths == []  # and so every linear layer of a sub-layer is given one
        widths = [
            shape[0]
            for key, shape in on.body.items()
            if len(shape) == 2 and ("layers" in key or "block" in key) and "relative" not in key
        ]
    assert on.count() == BitFit().count(widths) > 0


def test_bitfits_count_of_bert_base():
    # 12 layers with 4·768 in attention, 3072 + 768 in feed-forward and 2·768 in norms, and the
    # norm of the embeddings: what a BERT-base body has without its pooler.
    widths = [768] * (12 * 4 + 12 + 12 * 2 + 1) + [3072] * 12
    assert BitFit().count(widths) == 102_144


@every_pair
def test_the_base_models_weights_are_untouched_and_can_be_had_again(name, model_name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name)).move()
    assert not torch.allclose(on.logits(), on.base, atol=1e-3)
    with on.model.disable_adapter():
        assert torch.equal(on.logits(), on.base)
    assert torch.equal(on.logits(on.model.unload()), on.base) or on.heads
    for key, parameter in on.model.base_model.model.named_parameters():
        if key in on.body:
            assert torch.equal(parameter, on.weights[key]), key


@every_pair
def test_gradients_flow_to_the_copies_and_nowhere_else(name, model_name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name))
    on.model.eval()(**on.batch).logits.square().sum().backward()
    for key, parameter in on.model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key


@crossed(name=OURS, model_name=list(tiny.BUILDERS), dtype=["float32", "bfloat16"])
def test_merged_it_is_the_same_model_bit_for_bit(name, model_name, dtype, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name), dtype).move()
    expected = on.logits()
    on.model.merge_adapter(safe_merge=True)
    assert torch.equal(on.logits(), expected)
    on.model.unmerge_adapter()
    assert torch.equal(on.logits(), expected)
    on.model.merge_adapter()
    with on.model.disable_adapter():
        assert torch.equal(on.logits(), on.base)
    on.model.unmerge_adapter()
    merged = on.model.merge_and_unload()
    assert torch.equal(on.logits(merged), expected)
    assert not any("copy" in key or "base_layer" in key for key, _ in merged.named_parameters())


@pytest.mark.parametrize(
    ("name", "model_name"),
    [
        *((name, "llama") for name in OURS),
        ("full", "gpt2"),
        ("bitfit", "gpt2"),
    ],
)
def test_a_merged_model_saved_and_loaded_is_the_trained_one(
    name, model_name, tiny_models, tmp_path
):
    """Bias terms that BitFit gave to Llama are named in its configuration."""
    on = On(METHODS.get(name)(), tiny_models(model_name)).move()
    expected = on.logits()
    on.model.merge_and_unload().save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert torch.equal(on.logits(again), expected)


def test_a_merged_model_whose_architecture_has_no_bias_terms_is_not_saved(tiny_models, tmp_path):
    on = On(BitFit(), tiny_models("t5")).move()
    expected = on.logits()
    merged = on.model.merge_and_unload()
    assert torch.equal(on.logits(merged), expected)
    with pytest.raises(ModelError, match="no place for them on disk"):
        merged.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_values_that_are_not_finite_are_not_merged_safely(tiny_models):
    on = On(Full(), tiny_models("llama"))
    with torch.no_grad():
        next(iter(on.trained().values())).fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        on.model.merge_adapter(safe_merge=True)


def test_tied_weights_have_one_copy_and_stay_tied(tiny_models, tmp_path):
    on = On(Full(), tiny_models("llama")).move()
    inner = on.model.base_model.model
    head, embedding = inner.lm_head, inner.model.embed_tokens
    assert head.base_layer.weight is embedding.base_layer.weight
    assert list(head._active()) == ["weight"]
    assert head._active()["weight"] is embedding._active()["weight"]
    save_adapter(on.model, on.spec, tmp_path)
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert not any("lm_head" in key for key in saved)
    assert sum(tensor.numel() for tensor in saved.values()) == on.count()
    merged = on.model.merge_and_unload()
    assert merged.lm_head.weight is merged.model.embed_tokens.weight


def test_naming_one_of_two_tied_weights_trains_both(tiny_models):
    on = On(Layerwise(target_modules=("lm_head",)), tiny_models("llama")).move()
    assert list(on.trained()) == [
        "base_model.model.model.embed_tokens.layerwise_copy_weight.default"
    ]
    inner = on.model.base_model.model
    assert inner.lm_head._active()["weight"] is inner.model.embed_tokens._active()["weight"]


@every_method
def test_two_adapters_on_one_model_are_switched_between(name, tiny_models, tmp_path):
    first = On(METHODS.get(name)(), tiny_models("llama")).move()
    second = On(METHODS.get(name)(), tiny_models("llama")).move(0.2)
    save_adapter(second.model, second.spec, tmp_path)
    one, two = first.logits(), second.logits()
    first.model.load_adapter(str(tmp_path / "adapter"), "other")
    assert torch.equal(first.logits(), one)
    first.model.set_adapter("other")
    assert torch.equal(first.logits(), two)
    assert all(".default" not in key for key in first.trained())
    with first.model.disable_adapter():
        assert torch.equal(first.logits(), first.base)
    first.model.base_model.set_adapter(["default", "other"])
    with pytest.raises(ModelError, match="more than one replaces"):
        first.logits()
    with pytest.raises(ModelError, match="replaced by one adapter"):
        first.model.merge_adapter()
    first.model.set_adapter("default")
    first.model.delete_adapter("other")
    assert torch.equal(first.logits(), one)


@every_method
def test_the_file_holds_no_base_weights(name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models("gpt2"))
    state = get_peft_model_state_dict(on.model)
    assert sum(tensor.numel() for tensor in state.values()) == on.count()
    assert not any("base_layer" in key or "default" in key for key in state)


def test_steps_too_small_for_bfloat16_are_kept_in_the_copy(tiny_models):
    on = On(Full(), tiny_models("llama"), "bfloat16")
    norm = "base_model.model.model.norm.full_copy_weight.default"
    with torch.no_grad():
        on.trained()[norm].add_(2.0**-12)  # of a weight of 1
    assert torch.equal(on.trained()[norm], torch.full((32,), 1 + 2.0**-12))
    assert torch.equal(on.logits(), on.base)


@every_method
def test_a_copy_of_the_model_stands_alone(name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models("llama")).move()
    expected, twin = on.logits(), copy.deepcopy(on.model)
    with torch.no_grad():
        for parameter in on.trained().values():
            parameter.zero_()
    assert torch.equal(on.logits(twin), expected)
    assert not torch.equal(on.logits(), expected)


def test_layers_before_the_last_are_frozen(tiny_models):
    on = On(Layerwise(num_layers=1), tiny_models("bart"))
    assert {key.split("layers.")[0] + key.split("layers.")[1][0] for key in on.trained()} == {
        "base_model.model.model.encoder.1",
        "base_model.model.model.decoder.1",
    }


def test_named_modules_are_trained_with_all_within(tiny_models):
    on = On(Layerwise(target_modules=("layers.0.mlp", "model.norm")), tiny_models("llama"))
    assert {key.removeprefix("base_model.model.model.") for key in on.trained()} == {
        *(f"layers.0.mlp.{n}_proj.layerwise_copy_weight.default" for n in ("gate", "up", "down")),
        "norm.layerwise_copy_weight.default",
    }


def test_more_layers_than_there_are_is_refused(tiny_models):
    with pytest.raises(ModelError, match=r"^method\.num_layers: got 3; this model has 2 layers"):
        On(Layerwise(num_layers=3), tiny_models("t5"))
    (problem,) = Layerwise(num_layers=0).problems()
    assert problem.startswith("num_layers: ")


def test_a_model_without_bias_terms_is_refused_where_none_are_to_be_added(tiny_models):
    with pytest.raises(ModelError, match=r"^method\.missing: this model has no bias terms"):
        On(BitFit(missing="leave"), tiny_models("llama"))
    on = On(BitFit(missing="leave"), tiny_models("gpt2"))
    assert on.count() == On(BitFit(), tiny_models("gpt2")).count()


def test_a_bias_that_was_added_is_added_to_what_the_layer_gives(tiny_models):
    on = On(BitFit(), tiny_models("llama")).move()
    layer = on.model.base_model.model.model.layers[0].self_attn.q_proj
    x = torch.randn(2, 32)
    bias = layer.bitfit_copy_bias.default
    torch.testing.assert_close(layer(x), x @ layer.base_layer.weight.T + bias)
    assert layer.base_layer.bias is None


def test_one_module_in_two_places_is_refused(tiny_models):
    loaded = load(tiny.spec(tiny_models("llama")), (), 0)
    first, second = loaded.model.model.layers
    second.mlp.up_proj = first.mlp.up_proj
    with pytest.raises(
        ModelError, match=r"^method\.full: the module .*1\.mlp\.up_proj is .*0\.mlp"
    ):
        Full().attach(loaded.model, "causal", 0)
