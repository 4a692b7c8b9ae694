"""Answers of one tuned model, by one tool: `python -m benchmarks.speed.decoding TOOL TASK ADAPTER`.

`one by one`  transformers' `generate` in float32, a row at a time, as tutorials have it.
`eights`      `generate` in bfloat16 on batches of eight, in the order of the rows.
`loratory`    as a run answers its test rows.
`reference`   `generate` in float32 on batches of eight: what the answers are compared with.

All answer greedily, with the adapter on the model. A last line of JSON has the seconds and tokens.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import tell


def generated(task: dict[str, Any], adapter: str, *, size: int, dtype: torch.dtype) -> Any:
    """Answer by transformers' `generate`; return seconds and tokens."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    base = AutoModelForCausalLM.from_pretrained(task["model"], dtype=dtype)
    model = PeftModel.from_pretrained(base, adapter).eval()
    rows = [row["prompt_ids"] for row in task["test"]]
    said = []
    began = time.perf_counter()
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        width = max(map(len, part))
        pad = tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in part])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part])
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=task["max_new_tokens"],
            do_sample=False,
        )
        for row in out[:, width:].tolist():
            stop = row.index(task["stop"]) + 1 if task["stop"] in row else len(row)
            said.append(row[:stop])
    return time.perf_counter() - began, said


def loratory(task: dict[str, Any], adapter: str) -> Any:
    """Answer as a run does; return seconds and tokens."""
    from loratory.config import DecodeConfig, ModelConfig
    from loratory.progress import Silent
    from loratory.tuning.adapter import with_adapter
    from loratory.tuning.fused import accelerated
    from loratory.tuning.greedy import greedy
    from loratory.tuning.model import load, resolve

    spec = resolve(ModelConfig(name=task["model"]), classify=False, progress=Silent())
    model = with_adapter(load(spec, (), 0), Path(adapter))
    rows = [row["prompt_ids"] for row in task["test"]]
    began = time.perf_counter()
    with accelerated(model, "causal", training=False):
        found = greedy(
            model,
            rows,
            stops={task["stop"]},
            fill=spec.tokenizer.pad_token_id,
            max_new_tokens=task["max_new_tokens"],
            batch_size=DecodeConfig().batch_size,
        )
        said = [ids for _, ids in sorted(found)]
    return time.perf_counter() - began, said


def main() -> None:
    """Answer once and say what it took."""
    tool, task, adapter = sys.argv[1:]
    given = json.loads(Path(task).read_text(encoding="utf-8"))
    if tool == "loratory":
        seconds, said = loratory(given, adapter)
    else:
        size = 1 if tool == "one by one" else 8
        dtype = torch.bfloat16 if tool == "eights" else torch.float32
        seconds, said = generated(given, adapter, size=size, dtype=dtype)
    tell(seconds, len(said), said=said)


if __name__ == "__main__":
    main()
