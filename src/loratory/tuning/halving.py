"""A batch that is too large: in parts, for losses are sums, and then recomputed.

It is so where a recipe says how many tokens are read at once, or where memory runs out. Where not
even one row fits, activations are thrown away and computed again in the backward pass. The step is
the same either way.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch

from loratory.errors import RunError

__all__ = ["Halving", "is_out_of_memory"]

SAYS = ("can't allocate memory", "not enough memory", "out of memory")
"""Of PyTorch's allocators for the CPU and for accelerators."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(says in str(error).lower() for says in SAYS)


class Halving:
    """Takes a batch in one part, or in as many as its tokens or memory ask for.

    What has not fitted once is not tried again: batches that follow are parted as well.

    Args:
        note: is told once that batches are parted, and once that activations are recomputed.
        tokens: of a part at most, padding included; a row by itself may have more.
    """

    def __init__(self, note: Callable[[str], None], tokens: int | None = None) -> None:
        self.note = note
        self.tokens = tokens
        self.parts = 1

    def run(
        self,
        model: Any,
        batch: dict[str, Any],
        learn: Callable[[dict[str, Any]], torch.Tensor],
        *,
        alone: bool = True,
    ) -> torch.Tensor:
        """Return the sum of what `learn` gives for the batch's parts; gradients add up likewise.

        Args:
            model: whose gradients `learn` adds to.
            batch: tensors of the same number of rows.
            learn: forward and backward pass of some rows, returning their share of the loss.
            alone: no other process waits for this one's gradients.

        Raises:
            RunError: not even one row fits, recomputed, or other processes wait for parts.
        """
        trained = [p for p in model.parameters() if p.requires_grad]
        needed = self._needed(batch)
        if needed > 1 and not alone:
            raise RunError(
                "train.per_device_train_batch_tokens: several processes would wait for each other "
                "at every part. Set it to null, and lower train.per_device_train_batch_size."
            )
        while True:
            # A backward pass that broke off has left gradients behind.
            before = [None if p.grad is None else p.grad.clone() for p in trained]
            try:
                parts = _parted(batch, max(self.parts, needed))
                return torch.stack([learn(part) for part in parts]).sum()
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Here the error is gone, and with it the tensors that it held.
            for parameter, gradient in zip(trained, before, strict=True):
                parameter.grad = gradient
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._lower(model, len(batch["labels"]), alone)

    def _needed(self, batch: dict[str, Any]) -> int:
        if self.tokens is None:
            return 1
        read = (batch[key].shape for key in ("input_ids", "decoder_input_ids") if key in batch)
        rows, width = len(batch["labels"]), sum(int(shape[1]) for shape in read)
        return -(-rows // max(self.tokens // width, 1))

    def _lower(self, model: Any, rows: int, alone: bool) -> None:
        if not alone:
            raise RunError(
                "train: memory ran out on one of several processes. Lower "
                "train.per_device_train_batch_size and raise train.gradient_accumulation_steps."
            )
        if self.parts >= rows:
            if getattr(model, "is_activation_checkpointing", True):
                raise RunError(
                    "train: one row does not fit into memory. Lower data.max_prompt_tokens."
                )
            model.activation_checkpointing_enable()
            self.note(
                "Memory ran out with a row by itself: activations are computed again in the "
                "backward pass from here on, with the same result. "
                "train.activation_checkpointing: true does so from the start."
            )
            return
        if self.parts == 1:
            self.note(
                "Memory ran out: batches are taken in parts from here on, with the same result. "
                "A lower train.per_device_train_batch_size with more "
                "train.gradient_accumulation_steps does the same."
            )
        self.parts *= 2


def _parted(batch: dict[str, Any], parts: int) -> Iterator[dict[str, Any]]:
    """Yield a batch's rows in so many parts, or one by one if it has fewer."""
    rows = len(batch["labels"])
    count = min(parts, rows)
    for i in range(count):
        kept = slice(rows * i // count, rows * (i + 1) // count)
        yield {key: value[kept] for key, value in batch.items()}
