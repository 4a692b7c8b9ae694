"""What do 8 and 4 bits cost and save, on the embedded model?

    python -m benchmarks.quantised DATA

DATA is a folder with `summarization/scitldr_test.jsonl`. The first eight rows are trained on, by
LoRA in four steps of four rows, and the next eight are held out. It needs bitsandbytes and the
embedded model, and takes some minutes. Writes `benchmarks/results/quantised.md`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from loratory.config import ModelConfig
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.tasks.summarization import Summarization
from loratory.tuning.batch import collate
from loratory.tuning.encode import Encoded, Encoder
from loratory.tuning.loss import loss_sum
from loratory.tuning.model import empty, load, resolve
from loratory.tuning.quantize import weight_bytes

RESULTS = Path(__file__).parent / "results"
MODEL = "embedded:smollm2-135m"
ROWS, BATCH, PASSES = 8, 4, 2


def mean_loss(model: Any, rows: Sequence[Encoded], batch: Any) -> float:
    """Return the mean loss of a supervised token."""
    model.eval()
    total = count = 0.0
    with torch.no_grad():
        for start in range(0, len(rows), BATCH):
            loss, n = loss_sum(model, batch(rows[start : start + BATCH]))
            total, count = total + float(loss), count + float(n)
    return total / count


def line(quantization: str, data: Sequence[dict[str, Any]]) -> str:
    """Train on one kind of base; return its line of the table."""
    config = ModelConfig(name=MODEL, dtype="bfloat16", quantization=quantization)  # type: ignore[arg-type]
    spec = resolve(config, classify=False, progress=Silent())
    task = Summarization()
    encoder = Encoder(spec, task, 192, 64)
    examples = [e for i, row in enumerate(data) for e in task.example(row, f"row {i}")]
    rows = encoder.all(examples)
    trained, held_out = rows[:ROWS], rows[ROWS : 2 * ROWS]
    batch = collate(spec, None)
    loaded = load(spec, (), 0)
    before = mean_loss(loaded.model, held_out, batch)
    model = Lora(r=8).attach(loaded.model, spec.family, 0)
    chosen = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(chosen, lr=5e-4)
    model.train()
    seconds = []
    for start in [*range(0, ROWS, BATCH)] * PASSES:
        began = time.process_time()
        loss, n = loss_sum(model, batch(trained[start : start + BATCH]))
        (loss / n).backward()
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.process_time() - began)
    after = mean_loss(model, held_out, batch)
    size = weight_bytes(empty(spec, ()), quantization) / 2**20
    return f"| `{quantization}` | {size:.1f} | {before:.3f} | {after:.3f} | {median(seconds):.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    file = parser.parse_args().data / "summarization/scitldr_test.jsonl"
    text = file.read_text("utf-8").split("\n")
    data = [
        {"document": row["document"], "summary": row["references"][0]}
        for row in map(json.loads, text[: 2 * ROWS])
    ]
    lines = [
        "# Quantised bases",
        "",
        f"Written by `benchmarks/quantised.py`: {MODEL} in bfloat16, LoRA r=8 on all linear",
        f"layers, {ROWS} rows of SciTLDR's test split trained on in {PASSES} passes and batches",
        f"of {BATCH}, and {ROWS} others held out. Losses are means over the summaries' tokens.",
        "Seconds are CPU time of one thread, the median of the steps.",
        "",
        "| `model.quantization` | weights, MiB | loss before | after | CPU seconds a step |",
        "|---|---:|---:|---:|---:|",
        *(line(quantization, data) for quantization in ("none", "8bit", "4bit")),
    ]
    found = "\n".join([*lines, ""])
    (RESULTS / "quantised.md").write_text(found, encoding="utf-8")
    print(found)


if __name__ == "__main__":
    main()
