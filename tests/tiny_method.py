"""A tiny model with a method on it, and a batch for it."""

from __future__ import annotations

import torch

import tiny
from loratory.tuning.model import load


class On:
    """A method on a tiny model.

    Args:
        method: what is attached.
        folder: of the model; one whose name has "bert" in it is given a head.
        dtype: of the base model's weights.
        seed: of the method's start.
    """

    def __init__(self, method, folder, dtype="float32", seed=0):
        self.spec = tiny.spec(folder, classify="bert" in folder.name, dtype=dtype)
        loaded = load(self.spec, ("negative", "positive"), 0)
        self.heads = loaded.heads
        self.weights = {k: p.detach().clone() for k, p in loaded.model.named_parameters()}
        self.body = {
            key: tuple(weight.shape)
            for key, weight in self.weights.items()
            if not key.startswith(tuple(f"{head}." for head in loaded.heads))
        }
        batch = tiny.collated(self.spec, loaded.model, tiny.rows(self.spec, 4))
        self.batch = tiny.inputs(batch)
        self.base = self.logits(loaded.model)
        self.model = method.attach(loaded.model, self.spec.family, seed, loaded.heads)

    def logits(self, model=None):
        with torch.no_grad():
            return (model or self.model).eval()(**self.batch).logits

    def move(self, size=0.1):
        tiny.shaken(self.model, 5, size)
        return self

    def trained(self):
        return {k: p for k, p in self.model.named_parameters() if p.requires_grad}

    def of_the_method(self):
        """What is trained, heads apart."""
        return {k: p for k, p in self.trained().items() if "modules_to_save" not in k}

    def count(self):
        return sum(p.numel() for p in self.of_the_method().values())
