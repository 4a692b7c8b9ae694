"""Sub-layers are found by structure in the architectures that people fine-tune."""

from __future__ import annotations

import pytest
import torch
import transformers

import tiny
from loratory.errors import ModelError
from loratory.methods.compacter import Compacter
from loratory.methods.full import Full
from loratory.methods.houlsby import Houlsby
from loratory.tuning.adapters.structure import (
    attention_outputs,
    blocks,
    feed_forward,
    last_norm,
    width_of,
)
from loratory.tuning.model import load

CAUSAL, SEQ2SEQ, HEAD = (
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSequenceClassification",
)
SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
T5 = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4}


def bare(name, auto, **fields):
    """A small model without storage."""
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **fields})
    with torch.device("meta"):
        return getattr(transformers, auto).from_config(config)


# Read off the classes of transformers: attention outputs; feed-forward's first and last layer;
# whether sums are normalised, and the norm that ends the layer where they are.
FOUND = [
    ("Qwen2", CAUSAL, {}, "self_attn.o_proj", "mlp.gate_proj mlp.down_proj", None),
    ("Gemma2", CAUSAL, {"head_dim": 8}, "self_attn.o_proj", "mlp.gate_proj mlp.down_proj", None),
    ("Phi3", CAUSAL, {}, "self_attn.o_proj", "mlp.gate_up_proj mlp.down_proj", None),
    (
        "GPTNeoX",
        CAUSAL,
        {},
        "attention.dense",
        "mlp.dense_h_to_4h mlp.dense_4h_to_h",
        None,
    ),
    (
        "GPTNeo",
        CAUSAL,
        {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "num_heads": 4},
        "attn.attention.out_proj",
        "mlp.c_fc mlp.c_proj",
        None,
    ),
    (
        "OPT",
        CAUSAL,
        {"ffn_dim": 64, "word_embed_proj_dim": 32},
        "self_attn.out_proj",
        "fc1 fc2",
        None,
    ),
    (
        "OPT",
        CAUSAL,
        {"ffn_dim": 64, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
        "self_attn.out_proj",
        "fc1 fc2",
        "final_layer_norm",
    ),
    ("ModernBert", HEAD, {}, "attn.Wo", "mlp.Wi mlp.Wo", None),
    (
        "Roberta",
        HEAD,
        {},
        "attention.output.dense",
        "intermediate.dense output.dense",
        "output.LayerNorm",
    ),
    (
        "Albert",
        HEAD,
        {"embedding_size": 32},
        "albert_layers.0.attention.dense",
        "albert_layers.0.ffn albert_layers.0.ffn_output",
        "albert_layers.0.full_layer_layer_norm",
    ),
    ("MBart", SEQ2SEQ, BART, "self_attn.out_proj encoder_attn.out_proj", "fc1 fc2", None),
    (
        "Marian",
        SEQ2SEQ,
        BART,
        "self_attn.out_proj encoder_attn.out_proj",
        "fc1 fc2",
        "final_layer_norm",
    ),
    (
        "MT5",
        SEQ2SEQ,
        T5,
        "layer.0.SelfAttention.o layer.1.EncDecAttention.o",
        "layer.2.DenseReluDense.wi_0 layer.2.DenseReluDense.wo",
        None,
    ),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "auto", "fields", "attention", "forward", "norm"), FOUND)
def test_the_sub_layers_of_the_last_layer(name, auto, fields, attention, forward, norm):
    model = bare(name, auto, **fields)
    found = blocks(model)
    assert len(found) == {SEQ2SEQ: 4}.get(auto, 1 if name == "Albert" else 2)
    last, width = found[-1], width_of(model)
    inside = [path.removeprefix(f"{last.name}.") for path in attention_outputs(last, width)]
    assert inside == attention.split()
    ends = feed_forward(last, width)
    assert [path.removeprefix(f"{last.name}.") for path in ends] == forward.split()
    assert last.post_norm == (norm is not None)
    if norm:
        assert last_norm(last) == f"{last.name}.{norm}"


@pytest.mark.parametrize("method", [Houlsby(), Compacter()])
@pytest.mark.parametrize(
    ("name", "fields"), [("Mixtral", {"num_key_value_heads": 2}), ("Mamba", {})]
)
def test_a_model_without_such_sub_layers_is_refused_with_the_names_there_are(method, name, fields):
    model = bare(name, CAUSAL, **fields)
    with pytest.raises(ModelError, match=r"^method\.target_modules: the sub-layers .*Available: "):
        method.attach(model, "causal", 0)


def test_a_module_with_weights_beside_modules_with_weights_is_refused():
    """XLNet's body holds an embedding of masks itself, beside its layers."""
    model = bare("XLNet", HEAD, d_model=32, n_layer=2, n_head=4, d_inner=64)
    with pytest.raises(ModelError, match=r"^method\.full: the module transformer has weights of"):
        Full().attach(model, "classifier", 0, ("logits_proj",))


@pytest.mark.parametrize("name", list(tiny.BUILDERS))
def test_an_adapter_on_the_model_does_not_hide_its_layers(name, tiny_models):
    spec = tiny.spec(tiny_models(name), classify="bert" in name)
    loaded = load(spec, ("negative", "positive"), 0)
    width = width_of(loaded.model)

    def found():
        return [
            (b.name, b.post_norm, *attention_outputs(b, width), *feed_forward(b, width))
            for b in blocks(loaded.model)
        ]

    before = found()
    assert len(before) == (4 if spec.family == "seq2seq" else 2)
    Houlsby().attach(loaded.model, spec.family, 0, loaded.heads)
    assert found() == before
