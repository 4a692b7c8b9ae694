"""A short training of a tiny Llama, step by step; README.md explains tolerance and upkeep."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest

if __name__ == "__main__":  # prints the numbers to pin
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tiny
from loratory.config import TrainConfig
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.tuning.model import load
from loratory.tuning.train import train

EXPECTED: dict[str, list[float]] = {
    "loss": [5.98398, 5.99381, 5.94582, 5.89982, 5.89026, 5.89392, 5.8729, 5.93394],
    "eval_loss": [5.88009, 5.88578],
}
TOLERANCE = 5e-4


def trajectory(model_folder: Path, folder: Path) -> dict[str, list[float]]:
    """Train eight steps of four rows, over two epochs, and return the logged losses."""
    spec = tiny.spec(model_folder)
    loaded = load(spec, (), 0)
    model = Lora(r=4).attach(loaded.model, spec.family, 1)
    rows = tiny.encoder(spec).all(tiny.examples(20))
    train(
        spec,
        model,
        rows[:16],
        rows[16:],
        TrainConfig(
            num_train_epochs=2.0,
            learning_rate=3e-2,
            max_grad_norm=0.2,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            eval_steps=4,
        ),
        seed=2,
        folder=folder,
        progress=Silent(),
    )
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return {key: [line[key] for line in lines if key in line] for key in EXPECTED}


def test_the_losses_are_the_pinned_ones(tiny_models, tmp_path):
    found = trajectory(tiny_models("llama"), tmp_path)
    for key, values in EXPECTED.items():
        assert found[key] == pytest.approx(values, abs=TOLERANCE), key


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        where = Path(place)
        for name, losses in trajectory(tiny.llama(where / "model"), where).items():
            print(name, [round(loss, 5) for loss in losses])  # noqa: T201
