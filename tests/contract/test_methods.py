"""What every fine-tuning method must hold to, on every family that it claims."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from peft import PeftModel

import tiny
from loratory.errors import ModelError
from loratory.methods.base import METHODS, attach_peft, target_names
from loratory.registry import field_docs
from loratory.tuning.adapter import save_adapter
from loratory.tuning.encode import collate
from loratory.tuning.loss import loss_sum
from loratory.tuning.model import empty, heads_of, load

FAMILIES = {"causal", "seq2seq", "classifier"}
MODELS = {"llama": "causal", "gpt2": "causal", "t5": "seq2seq", "distilbert": "classifier"}
CASES = [
    (name, model)
    for name in METHODS.names()
    for model, family in MODELS.items()
    if family in METHODS.get(name).families
]
every_method = pytest.mark.parametrize("name", METHODS.names())
every_case = pytest.mark.parametrize(("name", "model_name"), CASES)


def loaded_of(model_name, tiny_models):
    family = MODELS[model_name]
    spec = tiny.spec(tiny_models(model_name), classify=family == "classifier")
    assert spec.family == family
    return load(spec, ("negative", "positive"), 0)


def attached(name, model_name, tiny_models, seed=0):
    loaded = loaded_of(model_name, tiny_models)
    method = METHODS.get(name)()
    return loaded, method.attach(loaded.model, loaded.spec.family, seed, loaded.heads)


def batch_for(loaded, model):
    classify = loaded.spec.family == "classifier"
    encoder = tiny.encoder(loaded.spec, tiny.two_classes() if classify else None)
    rows = encoder.all(tiny.examples(6, labels=classify))
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    return collate(loaded.spec, shift)(rows)


@every_method
def test_it_is_a_frozen_dataclass_with_a_source_and_sound_defaults(name):
    cls = METHODS.get(name)
    assert dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen
    assert cls.name == name
    assert cls.__doc__ and cls.paper
    assert cls.families and cls.families <= FAMILIES
    assert cls().problems() == []


@every_method
def test_every_field_has_a_default_and_its_sentence(name):
    cls = METHODS.get(name)
    docs = field_docs(cls)
    for field in dataclasses.fields(cls):
        assert docs.get(field.name, "").endswith("."), field.name
        assert field.default is not dataclasses.MISSING, field.name


@every_case
def test_something_is_trainable_and_not_everything(name, model_name, tiny_models):
    loaded, model = attached(name, model_name, tiny_models)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    assert 0 < trainable < total
    for head in loaded.heads:
        inside = [p for key, p in model.named_parameters() if f".{head}.modules_to_save." in key]
        assert inside and all(p.requires_grad for p in inside), f"{head} stays frozen"


@every_case
def test_training_starts_at_the_base_model(name, model_name, tiny_models):
    loaded = loaded_of(model_name, tiny_models)
    batch = batch_for(loaded, loaded.model)
    with torch.no_grad():
        before, _ = loss_sum(loaded.model, batch)
        _, model = attached(name, model_name, tiny_models)
        after, _ = loss_sum(model.eval(), batch)
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-5)


@every_case
def test_a_few_steps_lower_the_loss_and_move_only_what_is_trainable(name, model_name, tiny_models):
    loaded, model = attached(name, model_name, tiny_models)
    model.eval()  # without dropout, so that two losses can be compared
    batch = batch_for(loaded, model)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    chosen = [p for p in model.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in chosen)
    optimiser = torch.optim.AdamW(chosen, lr=1e-3)
    losses = []
    for _ in range(4):
        loss, n = loss_sum(model, batch)
        (loss / n).backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[1] < losses[0] and losses[3] < losses[1]
    for key, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[key])
        assert moved == parameter.requires_grad, key


@every_case
def test_saved_and_read_back_it_gives_the_same_logits(name, model_name, tiny_models, tmp_path):
    loaded, model = attached(name, model_name, tiny_models)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    save_adapter(model, loaded.spec, tmp_path)
    batch = batch_for(loaded, model)
    base = load(loaded.spec, ("negative", "positive"), 77).model
    again = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    with torch.no_grad():
        assert torch.equal(loss_sum(model.eval(), batch)[0], loss_sum(again.eval(), batch)[0])


@every_case
def test_the_start_is_drawn_under_the_seed(name, model_name, tiny_models):
    one, two, other = (
        dict(attached(name, model_name, tiny_models, seed)[1].named_parameters())
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert one.keys() == other.keys()


@every_case
def test_it_can_be_tried_on_a_model_without_storage(name, model_name, tiny_models):
    spec = loaded_of(model_name, tiny_models).spec
    bare = empty(spec, ("negative", "positive"))
    heads = heads_of(bare) if spec.family == "classifier" else ()
    model = METHODS.get(name)().attach(bare, spec.family, 0, heads)
    _, real = attached(name, model_name, tiny_models)

    def count(model):
        return sum(p.numel() for p in model.parameters() if p.requires_grad)

    fresh_pooler = sum(
        p.numel() for key, p in real.named_parameters() if p.requires_grad and "pooler" in key
    )
    assert count(model) == count(real) - fresh_pooler


@every_method
def test_target_modules_that_match_nothing_list_what_there_is(name, tiny_models):
    cls = METHODS.get(name)
    if "target_modules" not in {field.name for field in dataclasses.fields(cls)}:
        pytest.skip("it targets no modules")
    loaded = loaded_of("llama", tiny_models)
    with pytest.raises(ModelError) as caught:
        cls(target_modules=("q_porj",)).attach(loaded.model, "causal", 0)
    assert str(caught.value).startswith("method.target_modules: q_porj matches no layer")
    for module in ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"):
        assert module in str(caught.value)


def test_conv1d_layers_are_among_the_targets(tiny_models):
    loaded = loaded_of("gpt2", tiny_models)
    assert target_names(loaded.model) == ["c_attn", "c_fc", "c_proj", "lm_head"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"r": 0}, "r"),
        ({"lora_alpha": 0.0}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"lora_dropout": 1.0}, "lora_dropout"),
        ({"lora_dropout": -0.1}, "lora_dropout"),
        ({"target_modules": ()}, "target_modules"),
    ],
)
def test_loras_problems_name_the_field(values, field):
    problems = METHODS.get("lora")(**values).problems()
    assert len(problems) == 1 and problems[0].startswith(f"{field}: ")


def test_what_peft_refuses_is_one_sentence(tiny_models):
    from peft import LoraConfig

    lora = METHODS.get("lora")(r=0)
    loaded = loaded_of("llama", tiny_models)
    with pytest.raises(ModelError, match=r"method\.lora: peft refuses it"):
        attach_peft(LoraConfig, lora, loaded.model, "causal", 0, ())
