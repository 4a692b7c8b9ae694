"""Loratory's own LoRA layer: counts, starts, merging and unmerging, and what it refuses."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

import tiny
from loratory.errors import ConfigError, ModelError
from loratory.methods.lora import Lora
from loratory.tuning import lora_model
from loratory.tuning.lora import LoraLinear, count, dora_norm, lora_delta, lora_update, scale
from loratory.tuning.model import load

PAGE = Path(__file__).parents[2] / "docs" / "lora.md"
VARIANTS = [Lora(r=2), Lora(r=2, use_rslora=True), Lora(r=2, use_dora=True)]


def trained(base, method, size=0.3):
    """A layer whose numbers are away from their start."""
    layer = LoraLinear(base, method, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in (layer.lora_A, layer.lora_B, layer.lora_magnitude):
            if parameter is not None:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * size)
    return layer


def model_of(name, tiny_models):
    return load(tiny.spec(tiny_models(name)), (), 0).model


# Arithmetic


@pytest.mark.parametrize(
    ("inner", "outer", "r", "dora", "expected"),
    [
        (768, 768, 8, False, 12_288),  # 8 (768 + 768)
        (768, 768, 8, True, 13_056),  # and 768 lengths
        (768, 2304, 8, False, 24_576),  # GPT-2's c_attn
        (4096, 4096, 1, False, 8_192),
    ],
)
def test_counts(inner, outer, r, dora, expected):
    assert count(inner, outer, r, use_dora=dora) == expected


@given(st.integers(1, 20), st.integers(1, 20), st.booleans(), st.booleans(), st.data())
@settings(max_examples=40, deadline=None)
def test_the_layer_trains_as_many_numbers_as_the_formula_says(inner, outer, dora, conv, data):
    r = data.draw(st.integers(1, min(inner, outer)))
    base = Conv1D(outer, inner) if conv else nn.Linear(inner, outer)
    layer = LoraLinear(base, Lora(r=r, use_dora=dora))
    found = sum(p.numel() for p in layer.parameters() if p.requires_grad)
    assert found == count(inner, outer, r, use_dora=dora)


def test_scales():
    assert scale(8, 16.0) == 2.0
    assert scale(16, 16.0, use_rslora=True) == 4.0


def test_the_update_by_hand():
    a = torch.tensor([[1.0, 2.0, 0.0]])  # (1, 3)
    b = torch.tensor([[3.0], [-1.0]])  # (2, 1)
    x = torch.tensor([1.0, 1.0, 5.0])
    # A x = 3, B A x = (9, -3), doubled.
    assert lora_update(x, a, b, 2.0).tolist() == [18.0, -6.0]
    assert lora_delta(a, b, 2.0).tolist() == [[6.0, 12.0, 0.0], [-2.0, -4.0, 0.0]]
    weight = torch.tensor([[-6.0, -12.0, 2.0], [5.0, 4.0, 4.0]])
    assert dora_norm(weight, lora_delta(a, b, 2.0)).tolist() == [2.0, 5.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", VARIANTS)
def test_training_starts_at_the_base_exactly(method, dtype):
    base = nn.Linear(9, 5).to(dtype)
    layer = LoraLinear(copy.deepcopy(base), method)
    x = torch.randn(3, 9, dtype=dtype)
    assert torch.equal(layer(x), base(x))
    assert layer.lora_A.dtype == torch.float32
    # Uniform in ±1/sqrt(in): here within a third, and nearly reached.
    assert 0.2 < layer.lora_A.abs().max() <= 1 / 3


# Merging


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("method", VARIANTS)
def test_unmerging_a_kept_weight_gives_the_same_bits(method, conv, dtype):
    base = (Conv1D(5, 9) if conv else nn.Linear(9, 5)).to(dtype)
    before = base.weight.detach().clone()
    layer = trained(base, method)
    layer.merge()
    merged = layer.weight.detach().clone()
    assert merged.dtype == dtype and not torch.equal(merged, before)
    layer.merge()
    assert torch.equal(layer.weight, merged), "a second merge changed something"
    layer.unmerge()
    layer.unmerge()
    assert torch.equal(layer.weight, before)


UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}


@given(st.sampled_from(sorted(UNIT, key=str)), st.sampled_from(VARIANTS), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_unmerging_without_the_old_weight_stays_within_the_stated_bound(dtype, method, seed):
    torch.manual_seed(seed)
    base = nn.Linear(9, 6).to(dtype)
    before = base.weight.detach().double()
    layer = trained(base, method)
    layer.merge(keep=False)
    merged = layer.weight.detach().double()
    size = merged.abs()
    if method.use_dora:
        size = 3 * size / layer._merged.factor.double().abs().unsqueeze(1)
    layer.unmerge()
    error = (layer.weight.double() - before).abs()
    # The products of two errors, which the bound leaves out, are a hundredth of it at most; the
    # adapter's own float32 is finer than bfloat16 by far.
    assert (error <= 1.01 * UNIT[dtype] * (before.abs() + size)).all()


def test_a_merged_layer_answers_as_before(tiny_models):
    for method in VARIANTS:
        model = model_of("llama", tiny_models)
        made = lora_model.apply(model, method)
        with torch.no_grad():
            for layer in made.values():
                layer.lora_B.normal_()
        ids = torch.arange(24).reshape(2, 12) + 5
        with torch.no_grad():
            apart = model(input_ids=ids).logits
            lora_model.merge(model)
            merged = model(input_ids=ids).logits
            lora_model.unmerge(model)
            again = model(input_ids=ids).logits
        assert all(not layer.merged for layer in made.values())
        torch.testing.assert_close(merged, apart, atol=1e-5, rtol=1e-5)
        assert torch.equal(again, apart)


def test_merging_a_tied_head_leaves_the_embeddings_alone(tiny_models):
    model = model_of("llama", tiny_models)
    embeddings = model.get_input_embeddings().weight
    before = embeddings.detach().clone()
    head = lora_model.apply(model, Lora(r=2, target_modules=("lm_head",)))["lm_head"]
    assert head.weight is embeddings
    nn.init.normal_(head.lora_B)
    head.merge()
    assert torch.equal(embeddings, before) and not torch.equal(head.weight, before)
    head.unmerge()
    assert head.weight is embeddings


def test_what_is_not_finite_is_not_merged():
    layer = trained(nn.Linear(4, 4), Lora(r=2))
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.lora_B[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"^merge: the merged weight is not finite"):
        layer.merge()
    assert not layer.merged and torch.equal(layer.weight, before)


# In a model


def test_only_the_update_is_trained_and_every_layer_is_there(tiny_models):
    model = model_of("gpt2", tiny_models)
    kept = {key: p.detach().clone() for key, p in model.named_parameters()}
    made = lora_model.apply(model, Lora(r=2))
    assert [name.rpartition(".")[2] for name in made] == ["c_attn", "c_proj", "c_fc", "c_proj"] * 2
    assert lora_model.layers(model) == made
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    ids = torch.arange(24).reshape(2, 12) + 5
    for _ in range(2):
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    for layer in made.values():
        assert layer.lora_B.abs().max() > 0
    after = {key.replace(".base.", "."): p for key, p in model.named_parameters()}
    assert all(torch.equal(after[key], kept[key]) for key in kept)


def test_the_start_hangs_on_the_seed_alone(tiny_models):
    def start(seed):
        torch.manual_seed(torch.seed() % 2**31)
        made = lora_model.apply(model_of("llama", tiny_models), Lora(r=2), seed=seed)
        return torch.cat([layer.lora_A.detach().flatten() for layer in made.values()])

    assert torch.equal(start(3), start(3))
    assert not torch.equal(start(3), start(4))


def test_layers_may_be_named_by_path(tiny_models):
    model = model_of("llama", tiny_models)
    path = "model.layers.1.self_attn.q_proj"
    assert list(lora_model.apply(model, Lora(r=2, target_modules=(path,)))) == [path]


def test_paths_are_saved_where_last_names_would_say_more(tiny_models, tmp_path):
    model = model_of("llama", tiny_models)
    path = "model.layers.1.self_attn.q_proj"
    lora_model.apply(model, Lora(r=2, target_modules=(path,)))
    lora_model.save(model, tmp_path, family="causal")
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["target_modules"] == [path]


# Refused


def test_targets_that_match_nothing_list_what_there_is(tiny_models):
    with pytest.raises(ModelError) as caught:
        lora_model.apply(model_of("llama", tiny_models), Lora(target_modules=("q_proj", "q_porj")))
    assert str(caught.value) == (
        "method.target_modules: q_porj matches no layer of this model. Available: down_proj, "
        "gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj."
    )


def test_a_rank_above_the_width(tiny_models):
    model = model_of("llama", tiny_models)
    with pytest.raises(ConfigError) as caught:
        lora_model.apply(model, Lora(r=17))
    assert str(caught.value) == (
        "method.r: 17 is above the width of the layer model.layers.0.self_attn.k_proj (32 × 16). "
        "Take a rank of 16 or below."
    )
    assert not lora_model.layers(model), "the model was changed all the same"
    assert all(p.requires_grad for p in model.parameters())


def test_a_field_that_the_layer_does_not_carry_out(tiny_models):
    with pytest.raises(ConfigError, match=r"method\.bias: .* takes none only, got all"):
        lora_model.apply(model_of("llama", tiny_models), Lora(bias="all"))
    with pytest.raises(ConfigError, match=r"method\.r: got 0"):
        lora_model.apply(model_of("llama", tiny_models), Lora(r=0))


def test_a_model_is_adapted_once(tiny_models):
    model = model_of("llama", tiny_models)
    with pytest.raises(ModelError, match="no LoRA layers to save"):
        lora_model.save(model, Path("nowhere"), family="causal")
    lora_model.apply(model, Lora(r=2))
    with pytest.raises(ModelError, match="has LoRA layers already"):
        lora_model.apply(model, Lora(r=2))


@pytest.fixture
def adapter(tiny_models, tmp_path):
    model = model_of("llama", tiny_models)
    lora_model.apply(model, Lora(r=2))
    lora_model.save(model, tmp_path, family="causal")
    return tmp_path


def changed(folder, **values):
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, **values}), encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"peft_type": "VERA"}, "an adapter of VERA, and not of LORA"),
        ({"rank_pattern": {"q_proj": 3}}, "does not know rank_pattern: {'q_proj': 3}"),
        ({"init_lora_weights": "pissa"}, "does not know init_lora_weights: pissa"),
        ({"bias": "all"}, "does not know bias: all"),
        ({"r": 3}, "an adapter of another base model, or a damaged one"),
        ({"use_dora": True}, "lora_magnitude_vector does not fit"),
    ],
)
def test_adapters_that_do_not_fit(adapter, tiny_models, values, sentence):
    changed(adapter, **values)
    with pytest.raises(ModelError, match=re.escape(sentence)):
        lora_model.load(model_of("llama", tiny_models), adapter)


def test_an_adapter_of_another_model(adapter, tiny_models):
    with pytest.raises(ModelError, match="an adapter of another base model"):
        lora_model.load(model_of("gpt2", tiny_models), adapter)


def test_a_truncated_file(adapter, tiny_models):
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a readable adapter"):
        lora_model.load(model_of("llama", tiny_models), adapter)
    file.unlink()
    with pytest.raises(ModelError, match="not a readable adapter"):
        lora_model.load(model_of("llama", tiny_models), adapter)


def test_a_tensor_too_many(adapter, tiny_models):
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "base_model.model.lm_head.weight": torch.ones(2)}, file)
    with pytest.raises(ModelError, match=r"lm_head\.weight does not fit"):
        lora_model.load(model_of("llama", tiny_models), adapter)


# The page


def test_the_counts_in_the_docs():
    rows = re.findall(
        r"^\| [^|]+ \| (\d+) × (\d+) \| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|",
        PAGE.read_text(encoding="utf-8"),
        flags=re.M,
    )
    assert len(rows) >= 4
    for inner, outer, r, full, lora, dora in rows:
        widths = int(inner), int(outer)
        assert full == f"{widths[0] * widths[1]:,}"
        assert lora == f"{count(*widths, int(r)):,}"
        assert dora == f"{count(*widths, int(r), use_dora=True):,}"


def test_the_models_in_the_docs():
    """GPT-2 small and SmolLM2-135M from their published shapes, without storage."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    smol = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        models = GPT2LMHeadModel(GPT2Config()), LlamaForCausalLM(smol)
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    for model, name in zip(models, ("GPT-2 (124 million parameters)", "SmolLM2-135M"), strict=True):
        lora_model.apply(model, Lora(r=8))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert f"{name} trains {trained:,}" in page


def test_the_code_in_the_docs_runs(tiny_models, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    monkeypatch.chdir(tmp_path)
    names = {"model": model_of("llama", tiny_models)}
    exec(code, names)
    assert len(load_file(tmp_path / "adapter" / "adapter_model.safetensors")) == 8
    assert len(names["trained"]) == 8 and not names["layers"].popitem()[1].merged
