"""Which parameter-efficient method suits a task, under one budget and beyond seed noise?

    python -m benchmarks.sweep DATA [--methods A,B,…] [--seeds 3] [--steps 60] [--resume FOLDER]

DATA is a folder with `sentiment/sst5_{train,dev,test}.jsonl`. Fine-tunes MiniLM with a
classification head on five classes of sentiment by every method, each with the learning rate that
validates best of four, and writes the table and all trials to `benchmarks/results/sweep.{json,md}`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from loratory.cli.console import progress
from loratory.config import from_mapping
from loratory.runs.environment import hardware, versions
from loratory.sweep import Budget, Sweep, plan, summary, sweep

RESULTS = Path(__file__).parent / "results"
METHODS = "lora,adalora,vera,ia3,loha,oft,bitfit,houlsby,full"
RATES = (3e-4, 1e-3, 3e-3, 1e-2)


def recipe(data: Path, output: str) -> dict[str, Any]:
    """Return what all trials have in common."""
    rows = {split: str(data / f"sentiment/sst5_{split}.jsonl") for split in ("train", "test")}
    return {
        "name": "sst5",
        "model": "embedded:minilm",
        "data": {
            "name": rows["train"],
            "train": rows["train"],
            "validation": str(data / "sentiment/sst5_dev.jsonl"),
            "test": rows["test"],
            "validation_rows": 300,
            "test_rows": 1000,
            "max_prompt_tokens": 128,
        },
        "task": {
            "name": "classification",
            "labels": ["very negative", "negative", "neutral", "positive", "very positive"],
        },
        "train": {"per_device_train_batch_size": 32, "eval_steps": 0.5},
        "evaluate": {"examples": 0},
        "output_dir": output,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--output", default="runs")
    parser.add_argument("--resume", type=Path)
    given = parser.parse_args()
    if given.resume:
        folder = Sweep.open(given.resume)
    else:
        common = from_mapping(recipe(given.data.resolve(), given.output))
        trials = plan(common, given.methods.split(","), given.seeds, Budget(steps=given.steps))
        facts = {"budget": {"steps": given.steps}, "seeds": given.seeds}
        folder = Sweep.create(trials, common, facts, RATES)
        print(folder.folder)
    with progress() as shown:
        sweep(folder, shown)
    found = summary(folder)
    result = {
        "facts": {key: value for key, value in folder.facts.items() if key != "recipe"},
        "trials": json.loads((folder.folder / "sweep.json").read_text("utf-8"))["trials"],
        "hardware": hardware(),
        "versions": versions(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sweep.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    machine = result["hardware"]
    text = (
        "# Methods under one budget\n\n"
        "Written by `benchmarks/sweep.py`: SST-5 with a classification head on MiniLM, "
        f"{given.steps} steps of 32 rows, {given.seeds} seeds, for each method the learning rate "
        f"with the lowest validation loss of {', '.join(f'{rate:g}' for rate in RATES)}, 1,000 "
        f"test rows.\n\n{found.markdown()}\n{machine['cpu']}, {machine['cores']} cores.\n"
    )
    (RESULTS / "sweep.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
