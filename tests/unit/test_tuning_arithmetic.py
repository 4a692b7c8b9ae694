"""Sums of adapters and scaled adapters, held to what they do to the weights."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import tiny
from crossed import crossed, few
from loratory.errors import ConfigError, ModelError
from loratory.progress import Silent
from loratory.tuning.arithmetic import METHODS, combine, interpolate
from loratory.tuning.saved import find

TARGETS = ["q_proj", "v_proj", "down_proj"]


def base_of(tiny_models, name="llama"):
    return AutoModelForCausalLM.from_pretrained(tiny_models(name), dtype=torch.float32)


def made(config, folder: Path, tiny_models, seed=1, name="llama", base=None) -> Path:
    """An adapter of peft's own, every value moved from its start."""
    model = get_peft_model(base or base_of(tiny_models, name), config)
    tiny.shaken(model, seed, 0.1).save_pretrained(folder)
    return folder


def lora(folder: Path, tiny_models, seed=1, r=2, **settings) -> Path:
    values = {"target_modules": TARGETS, "lora_alpha": 6, **settings}
    return made(peft.LoraConfig(task_type="CAUSAL_LM", r=r, **values), folder, tiny_models, seed)


@pytest.fixture(scope="module")
def pair(tiny_models, tmp_path_factory) -> tuple[Path, Path]:
    """Two adapters of rank 2, which are left as they are."""
    folder = tmp_path_factory.mktemp("pair")
    return lora(folder / "1", tiny_models, 1), lora(folder / "2", tiny_models, 2)


def updates(folder: Path, tiny_models) -> dict[str, torch.Tensor]:
    """What an adapter adds to each weight of the base model."""
    base = base_of(tiny_models)
    before = {name: p.detach().clone() for name, p in base.named_parameters()}
    merged = PeftModel.from_pretrained(base, str(folder)).merge_and_unload()
    return {name: p.detach() - before[name] for name, p in merged.named_parameters()}


def near(left, right, atol=1e-6):
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], atol=atol, rtol=1e-4, msg=name)


@crossed(shares=[(1.0, 1.0), (0.7, 0.3), (1.0, -0.5)], rslora=[False, True])
def test_cat_is_the_exact_weighted_sum_of_updates(shares, rslora, tiny_models, tmp_path):
    one = lora(tmp_path / "one", tiny_models, 1, use_rslora=rslora)
    two = lora(tmp_path / "two", tiny_models, 2, r=3, use_rslora=rslora)
    facts = combine(
        [find(one), find(two)], shares, tmp_path / "sum", method="cat", progress=Silent()
    )
    assert facts["rank"] == 5
    left, right = (updates(folder, tiny_models) for folder in (one, two))
    expected = {key: shares[0] * left[key] + shares[1] * right[key] for key in left}
    near(expected, updates(tmp_path / "sum", tiny_models))


def test_svd_of_full_rank_is_the_same_sum(pair, tiny_models, tmp_path):
    one, two = pair
    for method in ("cat", "svd"):
        rank = {"svd": 4}.get(method)
        combine(
            [find(one), find(two)], [0.5, 0.5], tmp_path / method, method=method, rank=rank,
            progress=Silent(),
        )  # fmt: skip
    near(updates(tmp_path / "cat", tiny_models), updates(tmp_path / "svd", tiny_models), 1e-5)


def test_ties_keeps_what_agrees_and_drops_what_conflicts(pair, tiny_models, tmp_path):
    """An adapter and its own opposite cancel; with itself it stays, as the mean of two."""
    one, _ = pair
    facts = combine(
        [find(one), find(one)], [1, 1], tmp_path / "same", method="ties_svd", density=1.0,
        rank=2, progress=Silent(),
    )  # fmt: skip
    assert facts["rank"] == 2
    near(updates(one, tiny_models), updates(tmp_path / "same", tiny_models), 1e-5)


def test_dare_drops_by_the_seed(pair, tmp_path):
    one, two = pair
    files = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        combine(
            [find(one), find(two)], [1, 1], tmp_path / name, method="dare_linear", density=0.5,
            seed=seed, progress=Silent(),
        )  # fmt: skip
        files.append((tmp_path / name / "adapter_model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("method", few(METHODS, ("linear", "svd", "ties", "dare_linear_svd")))
def test_every_method_writes_an_adapter_that_loads(method, pair, tiny_models, tmp_path):
    one, two = pair
    density = None if method in ("cat", "linear", "svd") else 0.6
    combine(
        [find(one), find(two)], [0.5, 0.5], tmp_path / "sum", method=method, density=density,
        progress=Silent(),
    )  # fmt: skip
    assert any(value.abs().max() > 0 for value in updates(tmp_path / "sum", tiny_models).values())
    names = {file.name for file in (tmp_path / "sum").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((tmp_path / "sum" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_models("llama"))


def test_ia3_adapters_are_summed_linearly(tiny_models, tmp_path):
    config = peft.IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"],
        feedforward_modules=["down_proj"],
    )  # fmt: skip
    one, two = (made(config, tmp_path / f"{i}", tiny_models, i) for i in (1, 2))
    combine([find(one), find(two)], [0.5, 0.5], tmp_path / "sum", progress=Silent())
    with pytest.raises(ModelError, match="--method linear alone"):
        combine([find(one)] * 2, [1, 1], tmp_path / "x", method="cat", progress=Silent())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shares": [1.0]}, "--weights: got 1 for 2 adapters"),
        ({"shares": [1.0, float("nan")]}, "--weights: they must be finite"),
        ({"method": "tie"}, "--method: unknown 'tie'. Did you mean 'ties'?"),
        ({"method": "ties"}, "--density: got None; ties needs the share"),
        ({"method": "ties", "density": 1.5}, "--density: got 1.5"),
        ({"method": "cat", "density": 0.5}, "--density: cat keeps every value"),
        ({"rank": 4}, "--rank: got 4"),
    ],
)
def test_wrong_settings_of_a_sum(settings, words, pair, tmp_path):
    one = find(pair[0])
    values = {"shares": [1, 1], **settings}
    with pytest.raises(ConfigError) as caught:
        combine([one, one], to=tmp_path / "sum", progress=Silent(), **values)
    assert words in str(caught.value) and not (tmp_path / "sum").exists()


def test_one_adapter_is_no_sum(pair, tmp_path):
    one = find(pair[0])
    with pytest.raises(ConfigError, match="give at least two"):
        combine([one], [1], tmp_path / "sum", progress=Silent())


OTHERS = {
    "another rank": (
        peft.LoraConfig(task_type="CAUSAL_LM", r=5, target_modules=TARGETS), "of one rank",
    ),
    "DoRA": (
        peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=TARGETS, use_dora=True),
        "DoRA's magnitudes have no sum",
    ),
    "another method": (
        peft.LoHaConfig(task_type="CAUSAL_LM", r=2, target_modules=TARGETS), "is LOHA, ",
    ),
    "biases": (
        peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=TARGETS, bias="lora_only"),
        "trained biases",
    ),
    "a head": (
        peft.LoraConfig(
            task_type="CAUSAL_LM", r=2, target_modules=TARGETS, modules_to_save=["norm"]
        ),
        "modules trained whole (norm)",
    ),
    "another start": (
        peft.LoraConfig(
            task_type="CAUSAL_LM", r=2, target_modules=TARGETS, init_lora_weights="pissa"
        ),
        "changed the base weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_adapters_that_have_no_sum(case, pair, tiny_models, tmp_path):
    config, words = OTHERS[case]
    one, two = pair[0], made(config, tmp_path / "two", tiny_models)
    with pytest.raises(ModelError) as caught:
        combine([find(one), find(two)], [1, 1], tmp_path / "sum", progress=Silent())
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_adapters_of_other_bases_have_no_sum(pair, tiny_models, tmp_path):
    one, _ = pair
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["c_attn"])
    config.fan_in_fan_out = True
    two = made(config, tmp_path / "two", tiny_models, name="gpt2")
    with pytest.raises(ModelError, match="Only adapters of one base model can be summed"):
        combine([find(one), find(two)], [1, 1], tmp_path / "sum", progress=Silent())


SCALABLE = {
    "LORA": peft.LoraConfig(r=2, target_modules=TARGETS),
    "rsLoRA": peft.LoraConfig(r=2, target_modules=TARGETS, use_rslora=True),
    "embedding": peft.LoraConfig(r=2, target_modules=["embed_tokens", "q_proj"]),
    "ADALORA": peft.AdaLoraConfig(init_r=3, target_modules=TARGETS, total_step=10),
    "LOHA": peft.LoHaConfig(r=2, target_modules=TARGETS),
    "LOKR": peft.LoKrConfig(r=2, target_modules=TARGETS),
    "VERA": peft.VeraConfig(r=4, target_modules=["q_proj"], d_initial=0.1),
    "FOURIERFT": peft.FourierFTConfig(n_frequency=9, target_modules=["q_proj"]),
    "IA3": peft.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
}


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.parametrize("kind", few(SCALABLE, ("rsLoRA", "embedding", "ADALORA", "IA3")))
def test_half_the_scale_is_half_the_update(kind, tiny_models, tmp_path):
    config = SCALABLE[kind]
    config.task_type = "CAUSAL_LM"
    folder = made(config, tmp_path / "one", tiny_models)
    whole = updates(folder, tiny_models)
    assert any(value.abs().max() > 1e-3 for value in whole.values())
    for scale in (0.0, 0.5, 1.0, 2.0):
        interpolate(find(folder), scale, tmp_path / f"at {scale}")
        got = updates(tmp_path / f"at {scale}", tiny_models)
        near({key: scale * value for key, value in whole.items()}, got)
    same = [(tmp_path / name / "adapter_model.safetensors") for name in ("one", "at 1.0")]
    assert same[0].read_bytes() == same[1].read_bytes() or kind == "IA3"


def test_a_head_is_kept_as_it_is(tiny_models, tmp_path):
    base = AutoModelForSequenceClassification.from_pretrained(tiny_models("bert"), num_labels=2)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    folder = made(config, tmp_path / "one", tiny_models, base=base)
    from loratory.tuning.saved import weights

    interpolate(find(folder), 0.5, tmp_path / "half")
    before, after = weights(folder), weights(tmp_path / "half")
    for key in before:
        factor = 0.5 if "lora_B" in key else 1.0
        assert torch.equal(after[key], before[key] * factor), key
    assert any("classifier" in key for key in before)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (peft.LoraConfig(r=2, target_modules=TARGETS, use_dora=True), "is not linear"),
        (peft.LoraConfig(r=2, target_modules=TARGETS, bias="lora_only"), "trained biases"),
        (peft.LoraConfig(r=2, target_modules=TARGETS, init_lora_weights="olora"), "its start"),
        (peft.HRAConfig(r=2, target_modules=TARGETS), "is HRA, whose update cannot be scaled"),
    ],
)
def test_updates_that_cannot_be_scaled(config, words, tiny_models, tmp_path):
    config.task_type = "CAUSAL_LM"
    saved = find(made(config, tmp_path / "one", tiny_models))
    with pytest.raises(ModelError) as caught:
        interpolate(saved, 0.5, tmp_path / "half")
    assert words in str(caught.value) and not (tmp_path / "half").exists()


def test_a_scale_that_is_no_number_and_a_place_that_is_taken(pair, tmp_path):
    saved = find(pair[0])
    with pytest.raises(ConfigError, match="--scale: got nan"):
        interpolate(saved, float("nan"), tmp_path / "half")
    (tmp_path / "half").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        interpolate(saved, 0.5, tmp_path / "half")
    interpolate(saved, 0.5, tmp_path / "half", overwrite=True)
    assert (tmp_path / "half" / "adapter_model.safetensors").is_file()
