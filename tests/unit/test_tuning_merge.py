"""Merged models: loaded by transformers alone, with the adapter's logits, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

import tiny
from crossed import few
from loratory.errors import ConfigError, ModelError, RunError
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.tuning.adapter import save_adapter
from loratory.tuning.merge import merge
from loratory.tuning.saved import WEIGHTS, base_model, find, put_on
from tiny_adapter import CLASSIFIERS, adapter, head_moved
from tiny_run import Run

AUTO = {
    "llama": AutoModelForCausalLM,
    "gpt2": AutoModelForCausalLM,
    "t5": AutoModelForSeq2SeqLM,
    "bart": AutoModelForSeq2SeqLM,
    "bert": AutoModelForSequenceClassification,
    "distilbert": AutoModelForSequenceClassification,
}


@pytest.fixture(scope="module")
def made_once(tiny_models, tmp_path_factory) -> Path:
    return adapter("llama", tiny_models, tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def copied(made_once, tmp_path):
    """Return a function to an adapter of the tiny Llama: a copy, which may be changed."""
    return lambda: Path(shutil.copytree(made_once, tmp_path / "adapter"))


def logits_of(model, tokenizer) -> torch.Tensor:
    ids = tokenizer("the quick brown fox jumps", return_tensors="pt")["input_ids"]
    extra = {"decoder_input_ids": ids[:, :2]} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model.eval()(input_ids=ids, **extra).logits.float()


@pytest.mark.parametrize("name", few(AUTO, ("llama", "t5", "bert")))
def test_a_merged_model_loads_without_peft_and_gives_the_adapters_logits(
    name, tiny_models, tmp_path
):
    folder = adapter(name, tiny_models, tmp_path)
    before = {f.name: f.read_bytes() for f in tiny_models(name).iterdir()}
    facts = merge(find(folder), tmp_path / "merged", progress=Silent())
    again = AUTO[name].from_pretrained(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    if name in CLASSIFIERS:
        base = AUTO[name].from_pretrained(tiny_models(name), num_labels=2)
        assert again.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    else:
        base = AUTO[name].from_pretrained(tiny_models(name))
    untouched = logits_of(base, tokenizer)
    tuned = logits_of(PeftModel.from_pretrained(base, str(folder)), tokenizer)
    torch.testing.assert_close(logits_of(again, tokenizer), tuned, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(untouched, tuned, atol=1e-2)
    assert facts["dtype"] == "float32" and facts["largest_difference"] <= facts["bound"]
    assert facts["bytes"] == sum(f.stat().st_size for f in (tmp_path / "merged").iterdir())
    assert {f.name: f.read_bytes() for f in tiny_models(name).iterdir()} == before


def test_tokenizer_template_and_generation_settings_come_along(copied, tiny_models, tmp_path):
    folder = copied()
    merge(find(folder), tmp_path / "merged", progress=Silent())
    old, new = (
        AutoTokenizer.from_pretrained(f) for f in (tiny_models("llama"), tmp_path / "merged")
    )
    chat = [{"role": "user", "content": "hello"}]
    shown = [
        t.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for t in (old, new)
    ]
    assert shown[0] == shown[1] and "<|im_start|>" in shown[0]
    assert old.get_vocab() == new.get_vocab() and old.pad_token == new.pad_token
    left, right = (
        json.loads((f / "generation_config.json").read_text())
        for f in (tiny_models("llama"), tmp_path / "merged")
    )
    assert left["eos_token_id"] == right["eos_token_id"]
    card = (tmp_path / "merged" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n") and "LORA (peft)" in card
    for place in (str(tmp_path), str(tiny_models("llama"))):
        assert place not in card
    config = (tmp_path / "merged" / "config.json").read_text()
    assert str(tmp_path) not in config


def test_the_tokenizer_is_the_bases_own(tiny_models, tmp_path):
    """GPT-2 has no pad token: the one it is trained with must not be written into it."""
    merge(find(adapter("gpt2", tiny_models, tmp_path)), tmp_path / "merged", progress=Silent())
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").pad_token is None


@pytest.mark.parametrize("dtype", few(["float32", "bfloat16", "float16"], ["bfloat16"]))
def test_the_precision_that_is_asked_for(copied, dtype, tiny_models, tmp_path):
    folder = copied()
    facts = merge(find(folder), tmp_path / "merged", dtype=dtype, progress=Silent())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    assert facts["dtype"] == dtype
    exact = AutoModelForCausalLM.from_pretrained(tiny_models("llama"), dtype=torch.float32)
    exact = PeftModel.from_pretrained(exact, str(folder)).merge_and_unload()
    for name, value in model.named_parameters():  # rounded once, from the float32 sum
        assert torch.equal(value, exact.get_parameter(name).to(getattr(torch, dtype))), name


def test_auto_keeps_the_bases_own_precision(tiny_models, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny_models("llama"), dtype=torch.bfloat16)
    base.save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(tiny_models("llama")).save_pretrained(tmp_path / "base")
    folder = adapter("llama", lambda _: tmp_path / "base", tmp_path)
    assert merge(find(folder), tmp_path / "merged", progress=Silent())["dtype"] == "bfloat16"
    saved = load_file(tmp_path / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}


def test_large_models_are_split_into_shards(copied, tmp_path):
    folder = copied()
    merge(find(folder), tmp_path / "merged", max_shard_size="40KB", progress=Silent())
    assert len(list((tmp_path / "merged").glob("model-*-of-*.safetensors"))) > 1
    assert (tmp_path / "merged" / "model.safetensors.index.json").is_file()
    AutoModelForCausalLM.from_pretrained(tmp_path / "merged")


@pytest.mark.parametrize("method", [Lora(r=2, use_dora=True), Lora(r=4, use_rslora=True)])
def test_decomposed_and_scaled_updates_merge(method, tiny_models, tmp_path):
    folder = adapter("llama", tiny_models, tmp_path, method)
    facts = merge(find(folder), tmp_path / "merged", progress=Silent())
    assert facts["largest_difference"] <= facts["bound"]


def test_what_is_there_is_not_overwritten_unasked(copied, tmp_path):
    saved = find(copied())
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine").touch()
    with pytest.raises(ConfigError, match="is there already"):
        merge(saved, tmp_path / "merged", progress=Silent())
    assert [f.name for f in (tmp_path / "merged").iterdir()] == ["mine"]
    merge(saved, tmp_path / "merged", overwrite=True, progress=Silent())
    assert not (tmp_path / "merged" / "mine").exists()
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


def test_a_merge_that_gives_other_logits_is_refused(copied, tmp_path, monkeypatch):
    from peft.tuners.lora import Linear

    saved = find(copied())
    whole = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, name: whole(self, name) / 2)
    with pytest.raises(ModelError, match="merged, it gives other logits than the adapter"):
        merge(saved, tmp_path / "merged", progress=Silent())
    assert not (tmp_path / "merged").exists()


def test_a_file_that_does_not_give_back_what_was_written_is_refused(copied, tmp_path, monkeypatch):
    saved = find(copied())
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "old").touch()
    write = LlamaForCausalLM.save_pretrained

    def spoil(self, folder, **options):
        write(self, folder, **options)
        tensors = load_file(Path(folder) / "model.safetensors")
        tensors["model.norm.weight"][0] += 1
        save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", spoil)
    with pytest.raises(RunError, match=r"model\.norm\.weight is not what was written"):
        merge(saved, tmp_path / "merged", overwrite=True, progress=Silent())
    assert [f.name for f in (tmp_path / "merged").iterdir()] == ["old"]
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


def test_a_merge_that_changes_nothing_is_refused(copied, tmp_path, monkeypatch):
    saved = find(copied())
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self, **_: self.unload(), False)
    with pytest.raises(ModelError, match="still the base model's"):
        merge(saved, tmp_path / "merged", progress=Silent())
    assert not (tmp_path / "merged").exists()


def test_a_head_trained_beside_an_adapter_without_effect_is_merged(tiny_models, tmp_path):
    """No weight of the base model changes then, and that is right."""
    run = head_moved(Run(tiny_models("bert"), tmp_path / "run", True))
    save_adapter(run.model, run.spec, run.folder)
    merge(find(run.folder / "adapter"), tmp_path / "merged", progress=Silent())
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    base = load_file(tiny_models("bert") / "model.safetensors")
    head = run.model.get_base_model().classifier.modules_to_save["default"].weight
    assert torch.equal(merged["classifier.weight"], head)
    assert base and all(torch.equal(merged[f"bert.{key}"], base[key]) for key in base)


def test_wrong_settings(copied, tmp_path):
    saved = find(copied())
    with pytest.raises(ConfigError, match="--dtype: got 'int8'; allowed are auto, float32"):
        merge(saved, tmp_path / "merged", dtype="int8", progress=Silent())
    with pytest.raises(ConfigError, match="--max-shard-size: got 'big'"):
        merge(saved, tmp_path / "merged", max_shard_size="big", progress=Silent())


def test_virtual_tokens_cannot_be_merged(tiny_models, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny_models("llama"))
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match="PROMPT_TUNING cannot be merged"):
        merge(find(tmp_path / "adapter"), tmp_path / "merged", progress=Silent())


def test_neither_run_nor_adapter(tmp_path):
    with pytest.raises(ModelError, match=r"neither a run folder .* nor an adapter"):
        find(tmp_path)
    with pytest.raises(ModelError, match="neither a run folder"):
        find(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_file_cut_short(copied, keep):
    folder = copied()
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:keep])
    with pytest.raises(ModelError, match="damaged or cut short") as caught:
        find(folder)
    assert "\n" not in str(caught.value)


def test_values_that_are_no_numbers(copied):
    folder = copied()
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ModelError, match="holds values that are not finite"):
        find(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "damaged, not JSON"),
        ("[]", "it has no 'peft_type'"),
        ('{"peft_type": "LORA", "task_type": "TEXT"}', "task_type is 'TEXT'; allowed are"),
        ('{"peft_type": "LORA", "task_type": "CAUSAL_LM"}', "Give it with --base"),
    ],
)
def test_a_damaged_configuration(copied, text, words):
    folder = copied()
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError) as caught:
        find(folder)
    assert words in str(caught.value)


def test_a_base_model_that_is_elsewhere(tiny_models, tmp_path):
    copy = shutil.copytree(tiny_models("llama"), tmp_path / "base")
    folder = adapter("llama", lambda _: copy, tmp_path)
    copy.rename(tmp_path / "moved")
    with pytest.raises(ModelError, match=r"which is not on this machine\. Say with --base"):
        find(folder)
    facts = merge(find(folder, str(tmp_path / "moved")), tmp_path / "merged", progress=Silent())
    assert facts["largest_difference"] <= facts["bound"]


@pytest.mark.parametrize("other", ["gpt2", "wide"])
def test_an_adapter_of_another_base_is_one_sentence(copied, other, tiny_models, tmp_path):
    folder = copied()
    if other == "wide":
        config = LlamaConfig.from_pretrained(tiny_models("llama"))
        config.intermediate_size = 96
        model = LlamaForCausalLM(config)
        tiny.save(model, AutoTokenizer.from_pretrained(tiny_models("llama")), tmp_path / "wide")
        path = tmp_path / "wide"
    else:
        path = tiny_models(other)
    saved = find(folder, str(path))
    with pytest.raises(ModelError, match="cannot be put on") as caught:
        merge(saved, tmp_path / "merged", progress=Silent())
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600 and text.count("base_model.model") < 3


@pytest.mark.parametrize("case", ["missing", "strange"])
def test_an_incomplete_adapter_is_refused(copied, case):
    folder = copied()
    tensors = load_file(folder / WEIGHTS)
    first = sorted(tensors)[0]
    value = tensors.pop(first)
    if case == "strange":
        tensors |= {first: value, first.replace("layers.0", "layers.9"): value.clone()}
    save_file(tensors, folder / WEIGHTS)
    saved = find(folder)
    with pytest.raises(ModelError) as caught:
        put_on(base_model(saved, Silent(), dtype="float32"), folder)
    words = {"missing": "it lacks weights for", "strange": "has weights for layers that are not"}
    assert words[case] in str(caught.value) and "layers." in str(caught.value)


def test_a_classifiers_adapter_without_its_head(tiny_models, tmp_path):
    folder = adapter("bert", tiny_models, tmp_path)
    tensors = load_file(folder / WEIGHTS)
    save_file({k: v for k, v in tensors.items() if "classifier" not in k}, folder / WEIGHTS)
    with pytest.raises(ModelError, match="without its classification head"):
        find(folder)


def test_pickled_weights_are_not_read(copied):
    folder = copied()
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="Only safetensors are read"):
        find(folder)


def test_lora_of_peft_itself_merges(tiny_models, tmp_path):
    """An adapter that Loratory did not write."""
    base = AutoModelForCausalLM.from_pretrained(tiny_models("gpt2"))
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], fan_in_fan_out=True)
    model = get_peft_model(base, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    model.save_pretrained(tmp_path / "adapter")
    merge(find(tmp_path / "adapter"), tmp_path / "merged", progress=Silent())
