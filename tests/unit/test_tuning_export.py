"""GGUF files: read back by transformers, every weight and token compared, or refused early."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
)

import tiny
from crossed import crossed
from loratory.errors import ConfigError, ModelError, RunError
from loratory.progress import Silent
from loratory.tuning import export as exporting
from loratory.tuning.export import export_gguf
from loratory.tuning.saved import find

TEXT = "the quick brown fox: summarize 12 lines,\n\n  and naïve café"
TARGETS = {
    "llama": ["q_proj", "k_proj", "down_proj"],
    "qwen2": ["q_proj", "k_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj"],
}


def qwen2(folder: Path) -> Path:
    tok = tiny.tokenizer(chat=True)
    model = tiny.made(
        "Qwen2ForCausalLM",
        tok,
        vocab_size=len(tok) + 3,  # more rows than tokens, as Qwen2 has
        intermediate_size=64,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        **tiny.ends(tok, "eos", "bos", "pad"),
    )
    return tiny.save(model, tok, folder)


def adapter(name, tiny_models, tmp_path: Path) -> tuple[Path, Path]:
    """A base model and an adapter whose every value was moved from its start."""
    base = qwen2(tmp_path / "qwen2") if name == "qwen2" else tiny_models(name)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=TARGETS[name])
    config.fan_in_fan_out = name == "gpt2"
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    tiny.shaken(model, 4, 0.2).save_pretrained(tmp_path / "adapter")
    return base, tmp_path / "adapter"


def tuned_logits(base: Path, folder: Path, ids) -> torch.Tensor:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder))
    with torch.no_grad():
        return model.eval()(ids).logits


@pytest.mark.parametrize("name", TARGETS)
def test_a_file_of_floats_gives_the_adapters_logits(name, tiny_models, tmp_path):
    base, folder = adapter(name, tiny_models, tmp_path)
    file = tmp_path / "tuned.gguf"
    facts = export_gguf(find(folder), file, type_="f32", progress=Silent())
    assert facts["bytes"] == file.stat().st_size and facts["largest_difference"] < 1e-4
    again = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tuned.gguf").eval()
    read = AutoTokenizer.from_pretrained(tmp_path, gguf_file="tuned.gguf")
    own = AutoTokenizer.from_pretrained(base)
    ids = own(TEXT, return_tensors="pt")["input_ids"]
    assert torch.equal(read(TEXT, return_tensors="pt")["input_ids"], ids)
    with torch.no_grad():
        found = again(ids).logits
    torch.testing.assert_close(found, tuned_logits(base, folder, ids), atol=1e-5, rtol=1e-4)
    assert read.eos_token == own.eos_token and read.chat_template == own.chat_template
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


@crossed(kind=["f16", "bf16", "q8_0"], name=["llama", "gpt2"])
def test_smaller_types_are_smaller_and_near(kind, name, tiny_models, tmp_path):
    base, folder = adapter(name, tiny_models, tmp_path)
    whole = export_gguf(find(folder), tmp_path / "a.gguf", type_="f32", progress=Silent())
    facts = export_gguf(find(folder), tmp_path / "b.gguf", type_=kind, progress=Silent())
    assert facts["type"] == kind and facts["bytes"] < whole["bytes"]
    ids = AutoTokenizer.from_pretrained(base)(TEXT, return_tensors="pt")["input_ids"]
    scale = float(tuned_logits(base, folder, ids).abs().max())
    # Models of random weights lie far apart; that each weight is right was checked on the way.
    assert 0 < facts["largest_difference"] < {"q8_0": 0.5}.get(kind, 0.2) * scale


def test_other_architectures_are_refused_with_the_list(tiny_models, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_models("gpt2"))
    config = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", target_modules=["q"])
    from transformers import AutoModelForSeq2SeqLM

    model = get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(tiny_models("t5")), config)
    model.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError) as caught:
        export_gguf(find(tmp_path / "adapter"), tmp_path / "x.gguf", progress=Silent())
    assert "is t5 (seq2seq); these can be written as GGUF: gpt2, llama, qwen2." in str(caught.value)


def test_settings_without_a_counterpart_are_named(tiny_models, tmp_path):
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(tiny_models("llama"))
    model.config.hidden_act = "gelu"
    tokenizer = AutoTokenizer.from_pretrained(tiny_models("llama"))
    base = tiny.save(model, tokenizer, tmp_path / "base")
    _, folder = adapter("llama", lambda _: base, tmp_path)
    with pytest.raises(ModelError, match="has a hidden_act that is not written"):
        export_gguf(find(folder), tmp_path / "x.gguf", progress=Silent())


def test_tokenizers_that_llama_cpp_would_split_otherwise_are_refused(tiny_models, tmp_path):
    from tokenizers import pre_tokenizers

    tokenizer = AutoTokenizer.from_pretrained(tiny_models("llama"))
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    model = AutoModelForCausalLM.from_pretrained(tiny_models("llama"))
    base = tiny.save(model, tokenizer, tmp_path / "base")
    _, folder = adapter("llama", lambda _: base, tmp_path)
    with pytest.raises(ModelError, match=r"the tokenizer of .* is not one that is written"):
        export_gguf(find(folder), tmp_path / "x.gguf", progress=Silent())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("x.bin", {}, "must end in .gguf"),
        ("x.gguf", {"type_": "q4_0"}, "--type: unknown 'q4_0'. Did you mean 'q8_0'?"),
        ("taken.gguf", {}, "is there already"),
    ],
)
def test_wrong_settings(name, options, words, tiny_models, tmp_path):
    _, folder = adapter("llama", tiny_models, tmp_path)
    (tmp_path / "taken.gguf").touch()
    with pytest.raises(ConfigError) as caught:
        export_gguf(find(folder), tmp_path / name, progress=Silent(), **options)
    assert words in str(caught.value)


def test_a_file_is_replaced_when_that_is_said(tiny_models, tmp_path):
    _, folder = adapter("llama", tiny_models, tmp_path)
    (tmp_path / "taken.gguf").touch()
    export_gguf(find(folder), tmp_path / "taken.gguf", overwrite=True, progress=Silent())
    assert (tmp_path / "taken.gguf").read_bytes()[:4] == b"GGUF"


def test_a_file_that_reads_back_otherwise_is_not_kept(tiny_models, tmp_path, monkeypatch):
    _, folder = adapter("llama", tiny_models, tmp_path)
    monkeypatch.setattr("loratory.tuning.ggufwriter._laid_out", lambda name, values, config: values)
    with pytest.raises(RunError, match=r"k_proj\.weight is not what was written"):
        export_gguf(find(folder), tmp_path / "x.gguf", progress=Silent())
    assert not list(tmp_path.glob("*.gguf")) and not list(tmp_path.glob(".*"))


def test_another_tokenizer_is_caught(tiny_models, tmp_path, monkeypatch):
    _, folder = adapter("llama", tiny_models, tmp_path)
    real = exporting._read_back

    def other(folder, name):
        model, tokenizer = real(folder, name)
        tokenizer.add_tokens(["quick"])
        return model, tokenizer

    monkeypatch.setattr(exporting, "_read_back", other)
    with pytest.raises(RunError, match="its tokenizer splits"):
        export_gguf(find(folder), tmp_path / "x.gguf", progress=Silent())


@pytest.mark.slow
def test_a_real_model_is_proved_merged_and_exported(tmp_path, fresh_process):
    from loratory.config import ModelConfig
    from loratory.errors import MissingDependencyError
    from loratory.methods.lora import Lora
    from loratory.tuning.adapter import save_adapter
    from loratory.tuning.merge import merge
    from loratory.tuning.model import load, resolve
    from loratory.tuning.proof import Frozen, observe, prove

    config = ModelConfig(name="embedded:smollm2-135m", dtype="bfloat16")
    try:
        spec = resolve(config, classify=False, progress=Silent())
    except MissingDependencyError as error:
        pytest.skip(str(error))
    loaded = load(spec, (), 0)
    frozen = Frozen(spec)
    frozen.take(loaded.model)
    model = Lora(r=8).attach(loaded.model, spec.family, 0)
    frozen.note()
    save_adapter(tiny.shaken(model, 1, 0.02), spec, tmp_path)
    seen = observe(spec, model, (), tiny.rows(spec, 4), frozen)
    proof = prove(seen, tmp_path / "adapter", config, (), merges=True)
    assert proof.passed, proof.problems
    assert proof.reload["same_bits"] and proof.merge["same_texts"] == 2
    saved = find(tmp_path / "adapter")
    facts = merge(saved, tmp_path / "merged", dtype="bfloat16", progress=Silent())
    assert facts["largest_difference"] <= facts["bound"]
    facts = export_gguf(saved, tmp_path / "tuned.gguf", type_="q8_0", progress=Silent())
    assert facts["bytes"] < 150_000_000
