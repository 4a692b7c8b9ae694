"""Frozen weights in 8 or 4 bits, through bitsandbytes, with a float32 adapter trained on top.

8 bits are LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339): each row of a weight has one
scale. Columns of the input with a value above 6 are multiplied unquantised, and which ones those
are hangs on the whole batch. 4 bits are NF4 with double quantisation, as in QLoRA (Dettmers et
al. 2023, arXiv 2305.14314): blocks of 64 weights share a scale, and the scales are themselves
kept in 8 bits. Linear layers are quantised; embeddings, norms, the output head and
classification heads stay as they are.

bitsandbytes trains both on CPU and GPU. torchao, the other candidate, trains 8 bits only: peft
refuses its 4-bit weights.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D
from transformers.utils import is_bitsandbytes_available

from loratory.config import ModelConfig
from loratory.errors import MissingDependencyError, ModelError
from loratory.tuning.device import device

__all__ = ["check_machine", "kept_precise", "quantization_config", "settle", "weight_bytes"]

THRESHOLD = 6.0
"""Above it, a value of the input is an outlier of LLM.int8(): the paper's, and the default."""
BLOCK, SCALE_BLOCK = 64, 256
"""NF4: weights to a scale, and scales to a scale of theirs (QLoRA, section 3)."""


def check_machine(config: ModelConfig, checkpoint: Any) -> None:
    """Refuse a quantisation that this machine cannot carry out, before weights are read.

    Args:
        config: the recipe's model section.
        checkpoint: the model's own configuration.

    Raises:
        MissingDependencyError: bitsandbytes is not installed, or too old.
        ModelError: it does not work on this machine, or the checkpoint is quantised already.
    """
    if config.quantization == "none":
        return
    path = f"model.quantization: {config.quantization}"
    own = getattr(checkpoint, "quantization_config", None)
    if own is not None:
        kind = own.get("quant_method") if isinstance(own, dict) else own.quant_method
        raise ModelError(
            f"{path} asks to quantise {config.name}, whose weights are quantised already "
            f"({getattr(kind, 'value', kind)}). Leave model.quantization out."
        )
    if importlib.util.find_spec("bitsandbytes") is None or not is_bitsandbytes_available():
        raise MissingDependencyError(
            f"{path} needs the package bitsandbytes, which is not installed or too old. "
            "Run: pip install 'loratory[quantize]'"
        )
    fault = _fault(device())
    if fault:
        raise ModelError(
            f"{path}: bitsandbytes does not work on this machine: {fault}. Take "
            "model.quantization: none, with model.dtype: bfloat16 to save memory."
        )


def _fault(kind: str) -> str | None:
    """Return why bitsandbytes cannot compute on a kind of device, or None."""
    try:
        bitsandbytes = importlib.import_module("bitsandbytes")
        if kind not in bitsandbytes.supported_torch_devices:
            return f"it knows no {kind} devices"
        layer = bitsandbytes.nn.Linear4bit(64, 64, bias=False, quant_type="nf4").to(kind)
        x = torch.ones(1, 64, device=kind, requires_grad=True)
        layer(x).sum().backward()
    except Exception as error:  # a library for another CUDA, a processor it was not built for
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None


def quantization_config(
    quantization: str, dtype: torch.dtype, heads: Sequence[str]
) -> BitsAndBytesConfig | None:
    """Return what `from_pretrained` wants, or None for weights as they are.

    Args:
        quantization: `none`, `8bit` or `4bit`.
        dtype: in which the 4-bit weights are multiplied.
        heads: modules that stay as they are. Empty: the output head, and what is tied to it.
    """
    skip = list(heads) or None
    if quantization == "8bit":
        return BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_threshold=THRESHOLD, llm_int8_skip_modules=skip
        )
    if quantization == "4bit":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=skip,
        )
    return None


def kept_precise(model: Any, heads: Sequence[str]) -> list[str]:
    """Return the modules of a classifier that are not quantised: its heads, and a pooler.

    Args:
        model: a classifier; it may be without storage.
        heads: what it has beside its body.
    """
    # A checkpoint may lack the pooler, which is then new, and trained as a head is.
    poolers = [name for name, _ in model.named_modules() if name.rpartition(".")[2] == "pooler"]
    return [*heads, *poolers]


def settle(model: Any) -> None:
    """Keep bitsandbytes from changing 4-bit weights when a model answers.

    On processors with AVX512-BF16, bitsandbytes 0.50 packs them anew at the first answer in
    evaluation, with scales rounded to bfloat16. The base model is then no longer the same bytes,
    and packed layers pass no gradient on to their inputs: in a Llama, the adapters of the
    query, key, value, gate and up projections get none in any step after a validation.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def weight_bytes(model: nn.Module, quantization: str, heads: Sequence[str] = ()) -> int:
    """Return how many bytes a model's weights will take once quantised.

    Args:
        model: as `tuning.model.empty` gives it, without storage and not quantised.
        quantization: `none`, `8bit` or `4bit`.
        heads: what `kept_precise` gives for a classifier.
    """
    output = getattr(model, "get_output_embeddings", lambda: None)()
    keep = (*heads, *(getattr(model, "_keep_in_fp32_modules", None) or ()))
    quantised = {
        id(module.weight): module.weight.shape[0 if isinstance(module, nn.Linear) else 1]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not output
        if not any(name == k or name.startswith(f"{k}.") or name.endswith(k) for k in keep)
    }
    total = 0
    for parameter in model.parameters():
        n = parameter.numel()
        if quantization == "none" or id(parameter) not in quantised:
            total += n * parameter.element_size()
        elif quantization == "8bit":
            total += n + 4 * quantised[id(parameter)]  # a float32 scale for each row
        else:
            scales = -(-n // BLOCK)
            total += -(-n // 2) + scales + 4 * -(-scales // SCALE_BLOCK)
    return total
