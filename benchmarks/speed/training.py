"""One training, by one tool: `python -m benchmarks.speed.training TOOL TASK OUT`.

TASK is a JSON file with the model's folder and rows of prompt and completion; a last line of JSON
says what the training took. The tools:

`slides`    transformers' Trainer as tutorials have it: float32, every row padded to 512 tokens,
            the loss over the whole text.
`trl`       TRL's SFTTrainer at its best settings here: bfloat16 weights, rows of like length
            together, no activation checkpointing, the loss on completions.
`plain`     Loratory's training with `fused: false`: peft's layers and torch's attention.
`loratory`  Loratory's training as it is by default.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import tell

RATE = 5e-4
BATCH = 8
ARGUMENTS: dict[str, Any] = {
    "num_train_epochs": 1,
    "per_device_train_batch_size": BATCH,
    "learning_rate": RATE,
    "warmup_steps": 0.05,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "seed": 0,
}
"""Of transformers' Trainer and of TRL's alike."""
LORA: dict[str, Any] = {
    "r": 8,
    "lora_alpha": 16,
    "target_modules": "all-linear",
    "task_type": "CAUSAL_LM",
}


def timed(trainer: Any, out: Path) -> float:
    """Train and save the adapter; return the seconds of training."""
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    trainer.model.save_pretrained(out / "adapter")
    return seconds


def slides(task: dict[str, Any], out: Path) -> float:
    """Train as tutorials do; return the seconds of training."""
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    model = AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32)
    rows = [
        tokenizer(
            row["prompt"] + row["completion"],
            padding="max_length",
            truncation=True,
            max_length=512,
            add_special_tokens=False,
        )
        for row in task["train"]
    ]
    trainer = Trainer(
        model=get_peft_model(model, LoraConfig(**LORA)),
        args=TrainingArguments(output_dir=str(out / "slides"), **ARGUMENTS),
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    return timed(trainer, out)


def trl(task: dict[str, Any], out: Path) -> float:
    """Train by TRL; return the seconds of training."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    library = importlib.import_module("trl")  # it is no dependency, not even of the developers
    keep = [{k: row[k] for k in ("prompt", "completion")} for row in task["train"]]
    trainer = library.SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.bfloat16),
        processing_class=AutoTokenizer.from_pretrained(task["model"]),
        args=library.SFTConfig(
            output_dir=str(out / "trl"),
            **ARGUMENTS,
            bf16=False,  # the weights are bfloat16; autocast on top of it only costs
            gradient_checkpointing=False,
            completion_only_loss=True,
            train_sampling_strategy="group_by_length",
            max_length=512,
        ),
        train_dataset=Dataset.from_list(keep),
        peft_config=LoraConfig(**LORA),
    )
    return timed(trainer, out)


def plain(task: dict[str, Any], out: Path) -> float:
    """Train by Loratory without its fused parts."""
    return loratory(task, out, fused=False)


def loratory(task: dict[str, Any], out: Path, fused: bool = True) -> float:
    """Train by Loratory; return the seconds of training."""
    from loratory.config import ModelConfig, TrainConfig
    from loratory.methods.lora import Lora
    from loratory.progress import Silent
    from loratory.tuning.encode import Encoded
    from loratory.tuning.model import load, resolve
    from loratory.tuning.train import train

    spec = resolve(ModelConfig(name=task["model"]), classify=False, progress=Silent())
    method = Lora(r=8, lora_alpha=16.0)
    model = method.attach(load(spec, (), 0).model, "causal", 0)
    rows, few = (
        [
            Encoded(row["id"], row["prompt_ids"], row["completion_ids"], None, 0, 0)
            for row in task[split]
        ]
        for split in ("train", "few")
    )
    config = TrainConfig(
        num_train_epochs=1.0,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        eval_steps=10**6,
        fused=fused,
    )
    began = time.perf_counter()
    train(
        spec,
        model,
        rows,
        few,
        config,
        seed=0,
        folder=out,
        progress=Silent(),
        hooks=method.training(model),
    )
    # With the last validation, two rows, and the checkpoint, which the others do not have.
    return time.perf_counter() - began


TOOLS: dict[str, Callable[[dict[str, Any], Path], float]] = {
    "slides": slides,
    "trl": trl,
    "plain": plain,
    "loratory": loratory,
}


def main() -> None:
    """Train once and say what it took."""
    tool, task, out = sys.argv[1:]
    out_path = Path(out)
    out_path.mkdir(parents=True, exist_ok=True)
    given = json.loads(Path(task).read_text(encoding="utf-8"))
    seconds = TOOLS[tool](given, out_path)
    tell(seconds, len(given["train"]))


if __name__ == "__main__":
    main()
