"""One training of a classifier: `python -m benchmarks.speed.classification TOOL TASK OUT`.

MiniLM (22 million weights) is given a head and LoRA on all linear layers. The tools:

`slides`    transformers' Trainer as tutorials have it: float32, every row padded to 512 tokens.
`loratory`  Loratory's training as it is by default.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed import tell
from benchmarks.speed.training import ARGUMENTS, BATCH, LORA

LABELS = ("negative", "positive")
RATE = 1e-3
Found = tuple[float, float, float]
"""Seconds of training, and the loss and accuracy on held-out rows."""


def slides(task: dict[str, Any], out: Path) -> Found:
    """Train and evaluate as tutorials do."""
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        task["model"], num_labels=len(LABELS), dtype=torch.float32
    )
    sets = {
        split: [
            {
                **tokenizer(row["text"], padding="max_length", truncation=True, max_length=512),
                "label": row["label"],
            }
            for row in task[split]
        ]
        for split in ("train", "test")
    }
    trainer = Trainer(
        model=get_peft_model(model, LoraConfig(**{**LORA, "task_type": "SEQ_CLS"})),
        args=TrainingArguments(
            output_dir=str(out / "slides"), **{**ARGUMENTS, "learning_rate": RATE}
        ),
        train_dataset=sets["train"],
    )
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    said = trainer.predict(sets["test"])
    right = float((np.argmax(said.predictions, axis=1) == said.label_ids).mean())
    return seconds, float(said.metrics["test_loss"]), right


def loratory(task: dict[str, Any], out: Path) -> Found:
    """Train and evaluate as a run does."""
    from loratory.config import ModelConfig, TrainConfig
    from loratory.methods.lora import Lora
    from loratory.progress import Silent
    from loratory.tuning.batch import collate
    from loratory.tuning.encode import Encoded
    from loratory.tuning.loss import supervised_logits
    from loratory.tuning.model import load, resolve
    from loratory.tuning.train import train
    from loratory.tuning.validation import mean_loss

    spec = resolve(ModelConfig(name=task["model"]), classify=True, progress=Silent())
    loaded = load(spec, LABELS, 0)
    method = Lora(r=8, lora_alpha=16.0)
    model = method.attach(loaded.model, spec.family, 0, loaded.heads)
    rows, few, held = (
        [Encoded(row["id"], row["ids"], [], row["label"], 0, 0) for row in task[split]]
        for split in ("train", "few", "test")
    )
    config = TrainConfig(
        num_train_epochs=1.0,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        eval_steps=10**6,
    )
    began = time.perf_counter()
    hooks = method.training(model)
    train(spec, model, rows, few, config, seed=0, folder=out, progress=Silent(), hooks=hooks)
    seconds = time.perf_counter() - began
    lost = mean_loss(model, spec, held, 16)
    right = 0
    for start in range(0, len(held), 16):
        with torch.inference_mode():
            logits, targets = supervised_logits(model, collate(spec)(held[start : start + 16]))
        right += int((logits.argmax(dim=-1) == targets).sum())
    return seconds, lost, right / len(held)


TOOLS: dict[str, Callable[[dict[str, Any], Path], Found]] = {"slides": slides, "loratory": loratory}


def main() -> None:
    """Train once and say what it took."""
    tool, task, out = sys.argv[1:]
    out_path = Path(out)
    out_path.mkdir(parents=True, exist_ok=True)
    given = json.loads(Path(task).read_text(encoding="utf-8"))
    seconds, lost, right = TOOLS[tool](given, out_path)
    tell(seconds, len(given["train"]), held_out_loss=lost, accuracy=right)


if __name__ == "__main__":
    main()
