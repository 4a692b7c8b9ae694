"""A training of seconds: a tiny model, an adapter, rows, and a folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import load_file

import tiny
from loratory.config import TrainConfig
from loratory.config.remedy import RemedyConfig
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.tuning.model import load
from loratory.tuning.train import train


class Killed(BaseException):
    """What a signal would do, at a chosen step."""


class KillAt(Silent):
    """A progress that dies when training has come to a step."""

    def __init__(self, step: int) -> None:
        self.left = step

    def advance(self, done: int, detail: str = "") -> None:
        self.left -= done
        if self.left <= 0:
            raise Killed


class Stopping(Silent):
    """A progress that breaks a training off after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, done: int = 1, detail: str = "") -> None:
        self.left -= done
        if self.left < 0:
            raise RuntimeError("stop here")


class Run:
    """A tiny model with an adapter, its rows, and the folder in which it is trained.

    Its settings are two epochs of five steps. `classify` may be "head", for a decoder's.
    """

    SETTINGS = MappingProxyType(
        {
            "num_train_epochs": 2.0,
            "learning_rate": 5e-3,
            "per_device_train_batch_size": 4,
            "eval_steps": 2,
        }
    )

    def __init__(self, model, folder: Path, classify=False, method=None, **fields):
        family = "classifier" if classify == "head" else "auto"
        self.spec = tiny.spec(model, classify=bool(classify), family=family, **fields)
        for key in vars(self.spec.config):
            # Dropout hangs on the shape of the batch, and tests compare shapes.
            if "dropout" in key or key.endswith("_pdrop"):
                setattr(self.spec.config, key, 0.0)
        loaded = load(self.spec, ("negative", "positive"), 0)
        self.method = method or Lora(r=2)
        self.model = self.method.attach(loaded.model, self.spec.family, 7, loaded.heads)
        rows = tiny.rows(self.spec, 24)
        self.rows, self.validation = rows[:18], rows[18:]
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def train(self, seed=3, progress=None, remedy=None, texts=(), goal=None, **changes):
        return train(
            self.spec,
            self.model,
            self.rows,
            self.validation,
            TrainConfig(**{**self.SETTINGS, **changes}),
            seed=seed,
            folder=self.folder,
            progress=progress or Silent(),
            hooks=self.method.training(self.model),
            remedy=remedy or RemedyConfig(),
            texts=texts,
            goal=goal,
        )

    def log(self) -> list[dict]:
        text = (self.folder / "train.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def bytes(self) -> dict[str, bytes]:
        names = ("adapter_model.safetensors", "adapter_config.json")
        return {name: (self.folder / "adapter" / name).read_bytes() for name in names}


def assert_same_adapter(one: Run, other: Run) -> None:
    """Assert that two runs have saved the same tensors, to the last bit."""
    left, right = (
        load_file(run.folder / "adapter" / "adapter_model.safetensors") for run in (one, other)
    )
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)
