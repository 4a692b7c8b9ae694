"""What a run will hold in memory at its worst moment, estimated before it starts."""

from __future__ import annotations

import resource
import sys
from typing import Any

import torch

__all__ = ["expected_bytes", "peak_bytes"]

RUNTIME = 700 * 2**20
"""Python, torch and transformers themselves, as measured on Linux."""


def expected_bytes(model: Any, tokens: int, rows: int, supervised: int) -> int:
    """Estimate the peak of a training step, in bytes.

    Weights as stored; for each trainable parameter a float32 gradient and Adam's two
    moments; for each token what the backward pass reads again: of a layer the norms' float32
    inputs, the attention's and the feed-forward's own, and of an adapted layer its input, cast
    to float32; the logits of the supervised tokens, as computed, in float32 and as gradient.

    Args:
        model: with its adapter attached; it may be without storage.
        tokens: longest row of a batch, in tokens.
        rows: rows in a batch.
        supervised: supervised tokens of a row at most.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    config = model.config.get_text_config()
    width = _first(config, "hidden_size", "d_model", "n_embd", "dim")
    inner = _first(config, "intermediate_size", "d_ff", "ffn_dim", "hidden_dim") or 4 * width
    layers = _first(config, "num_hidden_layers", "num_layers", "n_layer", "n_layers")
    size = next(model.parameters()).element_size()
    layer = 16 * width + (6 * width + 4 * inner) * size
    adapted = 4 * sum(module.in_features for module in model.modules() if hasattr(module, "lora_A"))
    activations = tokens * rows * (layers * layer + adapted)
    logits = rows * supervised * getattr(config, "vocab_size", 0) * (size + 8)
    return int(RUNTIME + weights + 12 * trained + activations + logits)


def _first(config: Any, *names: str) -> int:
    return next((int(v) for name in names if (v := getattr(config, name, None))), 0)


def peak_bytes() -> int:
    """Return the most memory this process has held so far, or the GPU's allocator has."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
