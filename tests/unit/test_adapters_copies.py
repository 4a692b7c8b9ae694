"""BitFit, layer-wise and full tuning: trained as copies, so the base model can be had again."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import tiny
from loratory.errors import ModelError
from loratory.methods.base import METHODS
from loratory.methods.bitfit import BitFit
from loratory.methods.full import Full
from loratory.methods.layerwise import Layerwise
from loratory.tuning.adapter import save_adapter
from loratory.tuning.encode import collate
from loratory.tuning.model import load
from tiny_run import Run

OURS = ("bitfit", "layerwise", "full")
every_method = pytest.mark.parametrize("name", OURS)
every_model = pytest.mark.parametrize("model_name", list(tiny.BUILDERS))


class On:
    """A tiny model with a method on it, and a batch."""

    def __init__(self, method, folder, dtype="float32"):
        classify = "bert" in folder.name
        self.spec = tiny.spec(folder, classify=classify, dtype=dtype)
        loaded = load(self.spec, ("negative", "positive"), 0)
        self.heads = loaded.heads
        self.weights = {k: p.detach().clone() for k, p in loaded.model.named_parameters()}
        self.body = {
            key: tuple(weight.shape)
            for key, weight in self.weights.items()
            if not key.startswith(tuple(f"{head}." for head in loaded.heads))
        }
        task = tiny.two_classes() if classify else None
        rows = tiny.encoder(self.spec, task).all(tiny.examples(4, labels=classify))
        shift = getattr(loaded.model, "prepare_decoder_input_ids_from_labels", None)
        batch = collate(self.spec, shift)(rows)
        self.batch = {key: value for key, value in batch.items() if not key.endswith("labels")}
        self.base = self.logits(loaded.model)
        self.model = method.attach(loaded.model, self.spec.family, 0, loaded.heads)

    def logits(self, model=None):
        with torch.no_grad():
            return (model or self.model).eval()(**self.batch).logits

    def move(self, size=0.1):
        torch.manual_seed(5)
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * size)
        return self

    def trained(self):
        return {k: p for k, p in self.model.named_parameters() if p.requires_grad}

    def count(self):
        found = [p.numel() for k, p in self.trained().items() if "modules_to_save" not in k]
        return sum(found)


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


@every_method
@every_model
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_starts_at_the_base_model_in_float32_copies(name, model_name, dtype, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name), dtype)
    assert torch.equal(on.logits(), on.base)
    assert all(p.dtype == torch.float32 for p in on.trained().values())


@every_method
@every_model
def test_the_base_models_weights_are_untouched_and_can_be_had_again(name, model_name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name)).move()
    assert not torch.allclose(on.logits(), on.base, atol=1e-3)
    with on.model.disable_adapter():
        assert torch.equal(on.logits(), on.base)
    assert torch.equal(on.logits(on.model.unload()), on.base) or on.heads
    for key, parameter in on.model.base_model.model.named_parameters():
        if key in on.body:
            assert torch.equal(parameter, on.weights[key]), key


@every_method
@every_model
def test_gradients_flow_to_the_copies_and_nowhere_else(name, model_name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name))
    on.model.eval()(**on.batch).logits.square().sum().backward()
    for key, parameter in on.model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key


@every_method
@every_model
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
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
@pytest.mark.parametrize("model_name", ["llama", "gpt2", "bart"])
def test_generation_is_the_same_with_a_cache_and_without(name, model_name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name)).move(0.3)
    model = on.model.eval()
    inputs = {k: v[:1] for k, v in on.batch.items() if not k.startswith("decoder")}
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    with_cache = model.generate(**inputs, **options, use_cache=True)
    assert torch.equal(with_cache, model.generate(**inputs, **options, use_cache=False))


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


@every_method
def test_training_leaves_the_file_of_what_was_trained(name, tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path / "run", method=METHODS.get(name)())
    run.train()
    losses = [line["loss"] for line in run.log() if "loss" in line]
    assert losses[-1] < losses[0]
    loaded = load(run.spec, (), 0)
    again = PeftModel.from_pretrained(loaded.model, str(run.folder / "adapter"))
    trained = dict(run.model.named_parameters())
    for key, parameter in again.named_parameters():
        assert torch.equal(parameter, trained[key]), key


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


@every_method
def test_loaded_without_a_first_copy_in_memory_it_is_the_same(name, tiny_models, tmp_path):
    """And in float32 on a bfloat16 base, where peft's own way would round it."""
    on = On(METHODS.get(name)(), tiny_models("llama"), "bfloat16").move()
    expected = on.logits()
    save_adapter(on.model, on.spec, tmp_path)
    fresh = load(on.spec, (), 9).model
    again = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"), low_cpu_mem_usage=True)
    assert torch.equal(on.logits(again), expected)
    trained = {key: p for key, p in again.named_parameters() if f"{name}_" in key}
    assert trained and all(p.dtype == torch.float32 and not p.is_meta for p in trained.values())


def test_one_module_in_two_places_is_refused(tiny_models):
    loaded = load(tiny.spec(tiny_models("llama")), (), 0)
    first, second = loaded.model.model.layers
    second.mlp.up_proj = first.mlp.up_proj
    with pytest.raises(
        ModelError, match=r"^method\.full: the module .*1\.mlp\.up_proj is .*0\.mlp"
    ):
        Full().attach(loaded.model, "causal", 0)
