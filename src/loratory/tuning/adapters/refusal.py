"""What an adapter says when it is asked to be merged and cannot be."""

from __future__ import annotations

from loratory.errors import ModelError

__all__ = ["CannotMergeError"]


class CannotMergeError(ModelError, ValueError):
    """No weights of the base model's shapes equal the adapter.

    A `ValueError` too, since that is what peft's own methods raise.
    """
