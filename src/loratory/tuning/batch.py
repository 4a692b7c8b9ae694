"""Tokens to batches: which rows go together, and how they are stacked for one forward pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from loratory.tuning.encode import Encoded
from loratory.tuning.model import Resolved

__all__ = ["IGNORE", "collate", "pad", "padded", "sorted_batches"]

IGNORE = -100
"""The target of a position that is not supervised, as everywhere in transformers."""


def sorted_batches(lengths: Sequence[int], size: int, tokens: int = sys.maxsize) -> list[list[int]]:
    """Return indices in batches of like length, the longest first.

    Rows of like length waste little padding, and a batch too large for memory shows at once.

    Args:
        lengths: of the rows, in tokens.
        size: rows of a batch at most.
        tokens: of a batch at most, padding included; a row by itself may have more.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches, start = [], 0
    while start < len(order):
        many = min(size, tokens // max(lengths[order[start]], 1))
        batches.append(order[start : start + max(many, 1)])
        start += len(batches[-1])
    return batches


def pad(rows: Sequence[Sequence[int]], value: int, *, left: bool = False) -> torch.Tensor:
    """Stack rows of unequal length, shape (B, longest), filled with `value`."""
    width = max(len(row) for row in rows)
    out = torch.full((len(rows), width), value, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        out[i, place] = torch.tensor(row, dtype=torch.long)
    return out


def padded(
    rows: Sequence[Sequence[int]], fill: int, *, left: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows stacked as `pad` does, and the attention mask that leaves padding out."""
    return pad(rows, fill, left=left), pad([[1] * len(row) for row in rows], 0, left=left)


def collate(
    spec: Resolved, shift_right: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> Callable[[Sequence[Encoded]], dict[str, Any]]:
    """Return a collator: encoded examples to the tensors of one forward pass.

    `labels` stands beside the logits it judges: position t holds the token that follows
    input t, or `IGNORE`. For a classification head it has shape (B,).

    Args:
        spec: the model the batch is for.
        shift_right: an encoder-decoder's own making of decoder inputs from labels.
    """
    fill = spec.tokenizer.pad_token_id

    def causal(rows: Sequence[Encoded]) -> dict[str, Any]:
        # The end token is a target only. Rows are padded on the right: under causal attention
        # no real token sees the padding, so no attention mask is needed.
        inputs = pad([row.prompt + row.answer[:-1] for row in rows], fill)
        targets = pad([[IGNORE] * (len(row.prompt) - 1) + row.answer for row in rows], IGNORE)
        # `shift_labels` tells Trainer, which counts the supervised tokens, that the shift is done.
        return {"input_ids": inputs, "labels": targets, "shift_labels": targets}

    def seq2seq(rows: Sequence[Encoded]) -> dict[str, Any]:
        assert shift_right is not None
        labels = pad([row.answer for row in rows], IGNORE)
        return {**_masked(rows), "decoder_input_ids": shift_right(labels), "labels": labels}

    def classifier(rows: Sequence[Encoded]) -> dict[str, Any]:
        labels = torch.tensor([row.label for row in rows], dtype=torch.long)
        return {**_masked(rows), "labels": labels}

    def _masked(rows: Sequence[Encoded]) -> dict[str, Any]:
        ids, mask = padded([row.prompt for row in rows], fill)
        return {"input_ids": ids, "attention_mask": mask}

    return {"causal": causal, "seq2seq": seq2seq, "classifier": classifier}[spec.family]
