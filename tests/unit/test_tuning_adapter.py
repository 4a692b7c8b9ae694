"""The adapter on disk: any user of peft gets exactly the model that was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

import tiny
from crossed import crossed, few
from loratory.errors import ModelError
from loratory.methods.lora import Lora
from loratory.tuning.adapter import save_adapter, with_adapter
from loratory.tuning.model import load
from tiny_run import Run

FAST = ("llama", "t5", "bert")
CLASSIFIERS = ("bert", "distilbert", "llama with head")
AUTO = {
    "llama": AutoModelForCausalLM,
    "gpt2": AutoModelForCausalLM,
    "t5": AutoModelForSeq2SeqLM,
    "bart": AutoModelForSeq2SeqLM,
}


def trained(name, tiny_models, folder: Path, method=None) -> Run:
    """A run whose every trainable value was moved by training, and then some."""
    classify = {"llama with head": "head"}.get(name, name in CLASSIFIERS)
    run = Run(tiny_models(name.split()[0]), folder / "run", classify=classify, method=method)
    save_adapter(tiny.shaken(run.model, 11, 0.1), run.spec, run.folder)
    run.model.eval()
    return run


def logits(model, run: Run) -> torch.Tensor:
    batch = tiny.collated(run.spec, run.model, run.validation)
    with torch.no_grad():
        return model(**tiny.inputs(batch)).logits


@pytest.mark.parametrize("name", few([*AUTO, "bert", "distilbert"], FAST))
def test_plain_peft_gives_exactly_the_trained_models_logits(name, tiny_models, tmp_path):
    run = trained(name, tiny_models, tmp_path)
    expected = logits(run.model, run)
    folder = tiny_models(name)
    if name in AUTO:
        base = AUTO[name].from_pretrained(folder, dtype=torch.float32)
    else:
        torch.manual_seed(5)  # the new head of this base is another one, and is replaced
        base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    untrained = logits(base.eval(), run)
    again = PeftModel.from_pretrained(base, str(run.folder / "adapter")).eval()
    assert torch.equal(logits(again, run), expected)
    assert not torch.allclose(untrained, expected, atol=1e-3)


@pytest.mark.parametrize("name", few([*AUTO, *CLASSIFIERS], FAST))
def test_ours_gives_the_same_on_a_base_loaded_anew(name, tiny_models, tmp_path):
    run = trained(name, tiny_models, tmp_path)
    expected = logits(run.model, run)
    loaded = load(run.spec, ("negative", "positive"), 99)
    assert torch.equal(logits(with_adapter(loaded, run.folder / "adapter"), run), expected)


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("bert", ["classifier"]),
        ("distilbert", ["classifier", "pre_classifier"]),
        ("llama with head", ["score"]),
    ],
)
def test_every_new_module_of_a_classifier_is_saved(name, heads, tiny_models, tmp_path):
    run = trained(name, tiny_models, tmp_path)
    saved = load_file(run.folder / "adapter" / "adapter_model.safetensors")
    config = json.loads((run.folder / "adapter" / "adapter_config.json").read_text())
    for head in heads:
        assert f"base_model.model.{head}.weight" in saved
        assert head in config["modules_to_save"]


@crossed(
    method=[Lora(r=3, use_dora=True), Lora(r=3, use_rslora=True)], name=["llama", "gpt2", "t5"]
)
def test_dora_and_rslora_come_back(method, name, tiny_models, tmp_path):
    run = trained(name, tiny_models, tmp_path, method)
    config = json.loads((run.folder / "adapter" / "adapter_config.json").read_text())
    assert (config["use_dora"], config["use_rslora"]) == (method.use_dora, method.use_rslora)
    base = AUTO[name].from_pretrained(tiny_models(name), dtype=torch.float32)
    again = PeftModel.from_pretrained(base, str(run.folder / "adapter")).eval()
    assert torch.equal(logits(again, run), logits(run.model, run))


def test_merging_into_float32_changes_the_model_as_the_adapter_does(tiny_models, tmp_path):
    run = trained("llama", tiny_models, tmp_path)
    expected = logits(run.model, run)
    base = AutoModelForCausalLM.from_pretrained(tiny_models("llama"), dtype=torch.float32)
    untouched = logits(base.eval(), run)
    merged = PeftModel.from_pretrained(base, str(run.folder / "adapter")).merge_and_unload()
    torch.testing.assert_close(logits(merged.eval(), run), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(untouched, expected, atol=1e-3)


def test_a_local_base_is_named_by_its_absolute_path(tiny_models, tmp_path, monkeypatch):
    """Given relative to one working directory, it must be found from another."""
    shutil.copytree(tiny_models("llama"), tmp_path / "models" / "mine")
    monkeypatch.chdir(tmp_path)
    run = Run("models/mine", tmp_path / "run")
    save_adapter(run.model, run.spec, run.folder)
    config = json.loads((run.folder / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "models" / "mine")
    assert config["revision"] is None
    monkeypatch.chdir("/")
    again = AutoPeftModelForCausalLM.from_pretrained(run.folder / "adapter", dtype=torch.float32)
    assert torch.equal(logits(again.eval(), run), logits(run.model.eval(), run))


def test_no_other_path_of_this_machine_is_in_the_adapter(tiny_models, tmp_path):
    run = trained("llama", tiny_models, tmp_path)
    adapter = run.folder / "adapter"
    for file in adapter.iterdir():
        text = file.read_bytes().replace(str(tiny_models("llama")).encode(), b"")
        for place in (tmp_path, Path.home(), Path.cwd()):
            assert len(str(place)) < 3 or str(place).encode() not in text, file


def test_an_adapter_of_another_model_is_one_sentence(tiny_models, tmp_path):
    run = trained("llama", tiny_models, tmp_path)
    other = load(tiny.spec(tiny_models("gpt2")), (), 0)
    with pytest.raises(ModelError, match="cannot be put on"):
        with_adapter(other, run.folder / "adapter")


def test_a_damaged_adapter_is_one_sentence(tiny_models, tmp_path):
    run = trained("llama", tiny_models, tmp_path)
    file = run.folder / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    loaded = load(run.spec, (), 0)
    with pytest.raises(ModelError, match="cannot be put on"):
        with_adapter(loaded, run.folder / "adapter")


def test_an_older_adapter_is_replaced_whole(tiny_models, tmp_path):
    run = trained("llama", tiny_models, tmp_path)
    (run.folder / "adapter" / "left over").touch()
    save_adapter(run.model, run.spec, run.folder)
    assert not (run.folder / "adapter" / "left over").exists()
    assert not (run.folder / ".adapter").exists()
