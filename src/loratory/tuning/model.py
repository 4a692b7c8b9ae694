"""A model's name to a model: found, checked, loaded, of one of three families.

`resolve` looks at configuration and tokenizer only and is cheap; `load` brings the weights.
Weights are read from safetensors alone, and code that comes with a model is never run
unless the recipe asks for it by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from loratory.config import ModelConfig
from loratory.errors import ModelError
from loratory.methods.base import Family
from loratory.progress import Progress
from loratory.tasks.base import PromptStyle
from loratory.tuning.device import device
from loratory.tuning.locate import commit, locate
from loratory.tuning.quantize import check_machine, kept_precise, quantization_config, settle

__all__ = [
    "Loaded",
    "Resolved",
    "check_labels",
    "empty",
    "fingerprint",
    "heads_of",
    "load",
    "resolve",
]

AUTO_CLASSES: dict[Family, Any] = {
    "causal": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "classifier": AutoModelForSequenceClassification,
}


@dataclass(frozen=True)
class Resolved:
    """A model that was found, its weights not yet read."""

    name: str
    """As the recipe has it."""
    path: str
    """Local folder, or Hub name."""
    revision: str | None
    family: Family
    dtype: torch.dtype
    style: PromptStyle
    config: Any
    tokenizer: Any
    remote_code: bool
    quantization: str = "none"
    """How the frozen weights are stored: `none`, `8bit` or `4bit`."""

    @property
    def positions(self) -> int | None:
        """Return the longest input the model has positions for, in tokens, if it says so."""
        text = self.config.get_text_config()
        if self.family == "seq2seq" and getattr(text, "relative_attention_num_buckets", None):
            return None  # T5's relative positions reach any length
        value = getattr(text, "max_position_embeddings", None)
        # RoBERTa counts positions from its padding index on, so two of them are never used.
        offset = 2 if self.config.model_type in {"roberta", "xlm-roberta", "camembert"} else 0
        return None if value is None else value - offset


@dataclass
class Loaded:
    """A model in memory."""

    spec: Resolved
    model: Any
    heads: tuple[str, ...] = field(default=())
    """Modules that, whatever the method, are trained and saved whole: a classification head,
    and what else the checkpoint had no weights for and so starts at random."""
    new_head: bool = False
    """Whether the checkpoint had no weights for the head."""


def resolve(config: ModelConfig, *, classify: bool, progress: Progress) -> Resolved:
    """Find a model and read its configuration and tokenizer.

    Args:
        config: the recipe's model section.
        classify: the task has classes; an encoder is then given a head.
        progress: hears of slow steps.

    Raises:
        ModelError: not there, not reachable, without safetensors, in need of remote code, or
            of a family that cannot do the task.
    """
    # Its own bars and load reports would break the progress display; errors still raise.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    path = locate(config, progress)
    revision = config.revision if not Path(path).exists() else None
    options = {"revision": revision, "trust_remote_code": config.trust_remote_code}
    try:
        model_config = AutoConfig.from_pretrained(path, **options)
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
    except Exception as error:
        raise _unusable(config, error) from None
    check_machine(config, model_config)
    family = config.family if config.family != "auto" else _family(model_config)
    if not classify and family == "classifier":
        raise ModelError(
            f"model.name: {config.name} is an encoder ({model_config.model_type}) and cannot "
            "write text. Take a decoder-only or encoder-decoder model, or a classification task."
        )
    if tokenizer.eos_token_id is None and family != "classifier":
        raise ModelError(
            f"model.name: the tokenizer of {config.name} has no end token, so an answer could "
            "never be taught to end. Set eos_token in its tokenizer_config.json."
        )
    _padded(config, tokenizer, model_config)
    style: PromptStyle = "bare" if family == "classifier" else "prefix"
    if family == "causal":
        style = "chat" if tokenizer.chat_template else "plain"
    return Resolved(
        name=config.name,
        path=path,
        revision=revision,
        family=family,
        dtype=_dtype(config.dtype),
        style=style,
        config=model_config,
        tokenizer=tokenizer,
        remote_code=config.trust_remote_code,
        quantization=config.quantization,
    )


def _padded(config: ModelConfig, tokenizer: Any, model_config: Any) -> None:
    """See to a pad token that the model has an embedding for."""
    known = getattr(model_config.get_text_config(), "vocab_size", None) or len(tokenizer)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= known:
        # GPT-2 has none. Labels are masked by position, so the end token may serve.
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"model.name: the tokenizer of {config.name} has neither a pad nor an end token. "
            "Set pad_token in its tokenizer_config.json."
        )


def _unusable(config: ModelConfig, error: Exception) -> ModelError:
    text = " ".join(str(error).split())
    if "trust_remote_code" in text or "remote code" in text:
        return ModelError(
            f"model.name: {config.name} comes with Python code of its own, which Loratory does "
            "not run unless the recipe says model.trust_remote_code: true. Read that code first."
        )
    return ModelError(f"model.name: {config.name} cannot be read: {text[:300]}")


def _family(config: Any) -> Family:
    if config.is_encoder_decoder:
        return "seq2seq"
    # The architecture decides: BERT's type, too, is among those with a causal head.
    names = config.architectures or []
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return "causal"
    return "classifier"


def _dtype(name: str) -> torch.dtype:
    if name != "auto":
        return torch.bfloat16 if name == "bfloat16" else torch.float32
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def load(spec: Resolved, labels: Sequence[str], seed: int) -> Loaded:
    """Read the weights.

    Args:
        spec: what `resolve` found.
        labels: class names for a head; unused for the other families.
        seed: of a new head's random start.

    Raises:
        ModelError: the weights are missing, corrupt or do not fit the configuration.
    """
    quantized = spec.quantization != "none"
    precise: list[str] = []
    if quantized and spec.family == "classifier":
        bare = empty(spec, labels)
        precise = kept_precise(bare, heads_of(bare))
    torch.manual_seed(seed)
    try:
        model, report = AUTO_CLASSES[spec.family].from_pretrained(
            spec.path,
            config=_with_labels(spec, labels),
            dtype=spec.dtype,
            revision=spec.revision,
            trust_remote_code=spec.remote_code,
            use_safetensors=True,
            output_loading_info=True,
            quantization_config=quantization_config(spec.quantization, spec.dtype, precise),
        )
    except Exception as error:
        raise ModelError(
            f"model.name: the weights of {spec.name} cannot be read: {str(error)[:300]}"
        ) from None
    missing = set(report["missing_keys"])
    if missing and spec.family != "classifier":
        raise ModelError(
            f"model.name: {spec.name} lacks weights for {', '.join(sorted(missing)[:3])}; they "
            "would stay random. Take a complete checkpoint, or another model.family."
        )
    heads: tuple[str, ...] = ()
    new_head = False
    if spec.family == "classifier":
        # Inside the body a pooler, say, may be new as well.
        fresh = {key.rpartition(".")[0] for key in missing if key.startswith(_body(model))}
        new_head = any(key.rpartition(".")[0] in heads_of(model) for key in missing)
        heads = (*heads_of(model), *sorted(fresh))
        keep_precise(model, heads)
    if quantized:
        settle(model)  # it is on its device already
    else:
        model = model.to(device())
    return Loaded(spec, model.eval(), heads, new_head)


def base_of(model: Any) -> Any:
    """Return transformers' model within peft's, or the model itself where it has no adapter."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def heads_of(model: Any) -> tuple[str, ...]:
    """Return what a classifier has beside its body: DistilBERT's `pre_classifier`, `classifier`."""
    return tuple(
        name
        for name, module in model.named_children()
        if f"{name}." != _body(model) and any(True for _ in module.parameters())
    )


def _body(model: Any) -> str:
    return f"{model.base_model_prefix}."


def keep_precise(model: Any, heads: Sequence[str]) -> None:
    """Hold heads in float32: they are small, trained, and give the confidences.

    A head's input is cast on the way in, so the body may stay bfloat16. Copies that peft makes
    of the module keep the hook.
    """

    def cast(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        dtype = next(module.parameters()).dtype
        return (args[0].to(dtype), *args[1:])

    for name in heads:
        head = model.get_submodule(name)
        head.float()
        if model.dtype != torch.float32:
            head.register_forward_pre_hook(cast)


def empty(spec: Resolved, labels: Sequence[str]) -> Any:
    """Return the model without storage, to count parameters and try a method on."""
    with torch.device("meta"):
        return AUTO_CLASSES[spec.family].from_config(
            _with_labels(spec, labels), dtype=spec.dtype, trust_remote_code=spec.remote_code
        )


def _with_labels(spec: Resolved, labels: Sequence[str]) -> Any:
    if spec.family != "classifier":
        return spec.config
    config = type(spec.config).from_dict(spec.config.to_dict())
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: i for i, name in enumerate(labels)}
    config.problem_type = "single_label_classification"
    config.pad_token_id = spec.tokenizer.pad_token_id  # a decoder's head finds the last token by it
    return config


def check_labels(spec: Resolved, labels: Sequence[str]) -> None:
    """Refuse a head that was trained for other classes, or for these in another order.

    Raises:
        ModelError: the sentence names the head's own classes.
    """
    trained = any("SequenceClassification" in name for name in spec.config.architectures or [])
    if spec.family != "classifier" or not trained:
        return
    own = [str(name) for _, name in sorted(spec.config.id2label.items())]
    listed = ", ".join(own[:10])
    if len(own) != len(labels):
        raise ModelError(
            f"model.name: the head of {spec.name} tells {len(own)} classes apart ({listed}), the "
            f"data has {len(labels)}. Take a model without a head, or data with its classes."
        )
    ours, theirs = ([name.casefold() for name in names] for names in (labels, own))
    if ours != theirs and set(ours) == set(theirs):
        raise ModelError(
            f"task.labels: the head of {spec.name} has these classes in another order. Set "
            f"task.labels: [{listed}]."
        )


def fingerprint(spec: Resolved) -> str:
    """Return a sha256 over a model's weights, configuration and tokenizer, or its Hub commit."""
    if not Path(spec.path).is_dir():
        return f"hub:{commit(spec.path, spec.revision) or f'{spec.path}@{spec.revision}'}"
    total = hashlib.sha256()
    for file in sorted(Path(spec.path).iterdir()):
        if file.suffix in {".safetensors", ".json", ".jinja", ".txt", ".model"}:
            with file.open("rb") as stream:
                total.update(f"{file.name}\0".encode())
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{total.hexdigest()}"
