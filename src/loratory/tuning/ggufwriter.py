"""A decoder-only model as one GGUF file, the format of llama.cpp.

The layout of each architecture is what llama.cpp reads: names by the gguf package's own map,
rotary weights of Llama interleaved, GPT-2's transposed. Tokenizers are byte-level BPE; a file
whose tokenizer llama.cpp would split otherwise is not written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loratory.errors import ModelError
from loratory.tuning.model import Resolved

__all__ = ["ARCHITECTURES", "TYPES", "refuse_unwritable", "write_gguf"]

ARCHITECTURES = ("gpt2", "llama", "qwen2")
TYPES = ("bf16", "f16", "f32", "q8_0")
FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7, "bf16": 32}
"""llama.cpp's numbers for what most tensors are stored as."""
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""llama.cpp's kinds of tokens."""


def refuse_unwritable(spec: Resolved) -> None:
    """Refuse a model that cannot be written, before its weights are read.

    Raises:
        ModelError: its architecture, a setting of it, or its tokenizer has no counterpart.
    """
    kind, config = spec.config.model_type, spec.config
    if kind not in ARCHITECTURES or spec.family != "causal":
        raise ModelError(
            f"--gguf: {spec.name} is {kind} ({spec.family}); these can be written as GGUF: "
            f"{', '.join(ARCHITECTURES)}."
        )
    if kind == "gpt2":
        wrong = {
            "activation_function": config.activation_function != "gelu_new",
            "scale_attn_by_inverse_layer_idx": config.scale_attn_by_inverse_layer_idx,
            "tie_word_embeddings": not config.tie_word_embeddings,
        }
    else:
        heads = config.num_attention_heads
        wrong = {
            "hidden_act": config.hidden_act != "silu",
            "head_dim": (getattr(config, "head_dim", None) or config.hidden_size // heads)
            != config.hidden_size // heads,
            "rope scaling": _rope(config).get("rope_type", "default") != "default",
            "attention_bias": kind == "llama" and config.attention_bias,
            "mlp_bias": getattr(config, "mlp_bias", False),
            "sliding window": bool(getattr(config, "use_sliding_window", False)),
        }
    if found := [name for name, differs in wrong.items() if differs]:
        raise ModelError(f"--gguf: {spec.name} has a {found[0]} that is not written as GGUF yet.")
    _pre_tokenizer(spec)


def _rope(config: Any) -> Mapping[str, Any]:
    return getattr(config, "rope_parameters", None) or {}


def _pre_tokenizer(spec: Resolved) -> str:
    """Return llama.cpp's name of the way a tokenizer splits text.

    Raises:
        ModelError: it is no byte-level BPE, or of a split without a name.
    """
    refusal = ModelError(
        f"--gguf: the tokenizer of {spec.name} is not one that is written as GGUF; these are: "
        "byte-level BPE that splits as GPT-2, SmolLM, Qwen2 or Llama 3 do."
    )
    if not spec.tokenizer.is_fast:
        raise refusal
    made = json.loads(spec.tokenizer.backend_tokenizer.to_str())
    before = made["pre_tokenizer"] or {}
    parts = before.get("pretokenizers", [before])
    *first, last = parts
    plain = made["model"]["type"] == "BPE" and last.get("type") == "ByteLevel"
    if not plain or last.get("add_prefix_space") or len(first) > 1:
        raise refusal
    if not first and last.get("use_regex", True):
        return "gpt-2"
    if first and first[0]["type"] == "Digits" and first[0]["individual_digits"]:
        return "smollm"
    if first and first[0]["type"] == "Split":
        for name, pattern in _patterns().items():
            if first[0]["pattern"].get("Regex") == pattern:
                return name
    raise refusal


def _patterns() -> dict[str, str]:
    """Return the patterns that transformers splits by for llama.cpp's names, where it has them."""
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import (
            GGUF_PRE_TOKENIZER_SPLITS as SPLITS,
        )
    except ImportError:
        return {}
    return {name: SPLITS[name] for name in ("qwen2", "llama-bpe") if name in SPLITS}


def write_gguf(spec: Resolved, model: Any, tokenizer: Any, file: Path, kind: str) -> None:
    """Write a model in float32 to one file.

    Args:
        spec: the model it was made from; `refuse_unwritable` has passed it.
        model: on the CPU, without adapter.
        tokenizer: the base model's own.
        file: where to.
        kind: how matrices are stored, one of `TYPES`; vectors are float32.
    """
    import gguf

    config = model.config
    arch = config.model_type
    writer = gguf.GGUFWriter(file, arch)
    writer.add_name(spec.name.rpartition("/")[2])
    writer.add_file_type(FILE_TYPES[kind])
    _add_config(writer, config)
    _add_tokenizer(writer, spec, tokenizer, int(config.vocab_size))
    ids = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)
    names = gguf.get_tensor_name_map(ids, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, name
        values = _laid_out(name, tensor.detach().float().cpu().numpy(), config)
        _add_tensor(writer, target, values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_config(writer: Any, config: Any) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(_rope(config).get("rope_theta", 10_000.0)))
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)


def _add_tokenizer(writer: Any, spec: Resolved, tokenizer: Any, rows: int) -> None:
    made = json.loads(tokenizer.backend_tokenizer.to_str())
    words = {i: word for word, i in tokenizer.get_vocab().items()}
    added = {int(i): token for i, token in tokenizer.added_tokens_decoder.items()}
    tokens, kinds = [], []
    for i in range(rows):
        # The embedding may have more rows than there are tokens.
        tokens.append(words.get(i, f"[PAD{i}]"))
        if i in added:
            kinds.append(CONTROL if added[i].special else USER_DEFINED)
        else:
            kinds.append(NORMAL if i in words else UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(spec))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = made["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    special = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }
    for name, add in special.items():
        if (value := getattr(tokenizer, f"{name}_token_id")) is not None:
            add(value)
    first = tokenizer("a")["input_ids"][0]
    writer.add_add_bos_token(first == tokenizer.bos_token_id)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _laid_out(name: str, values: Any, config: Any) -> Any:
    """Return a weight as llama.cpp lays it out."""
    if config.model_type == "gpt2" and values.ndim == 2 and ".c_" in name:
        return np.ascontiguousarray(values.T)  # Conv1D keeps (in, out)
    if config.model_type == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = config.num_attention_heads
        if name.endswith("k_proj.weight"):
            heads = config.num_key_value_heads
        # (heads, halves, pairs, in): transformers rotates halves, llama.cpp neighbours.
        apart = values.reshape(heads, 2, values.shape[0] // heads // 2, values.shape[1])
        return np.ascontiguousarray(apart.swapaxes(1, 2).reshape(values.shape))
    return values


def _add_tensor(writer: Any, name: str, values: Any, kind: str) -> None:
    import gguf

    if values.ndim == 1 or kind == "f32" or name.startswith("position_embd"):
        writer.add_tensor(name, values.astype(np.float32))
    elif kind == "f16" or (kind == "q8_0" and values.shape[-1] % 32):
        writer.add_tensor(name, values.astype(np.float16))
    else:
        stored = getattr(gguf.GGMLQuantizationType, kind.upper())
        writer.add_tensor(name, gguf.quants.quantize(values, stored), raw_dtype=stored)
