"""Multiple choice by one tool: `python -m benchmarks.speed.likelihood TOOL TASK ITEMS`.

`lm-eval`   lm-evaluation-harness, its model on batches of sixteen, in bfloat16.
`loratory`  as a run judges a probe.

ITEMS is a file of questions with choices. A last line of JSON has the seconds and the sums of the
options' log-likelihoods, which are the same up to rounding.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import tell
from loratory.tasks.probes import Item, load_probes

ROWS = 200


def harness(model: str, items: Sequence[Item]) -> tuple[float, list[list[float]]]:
    """Judge by lm-evaluation-harness; return seconds and log-likelihoods."""
    hf = importlib.import_module("lm_eval.models.huggingface")
    instance = importlib.import_module("lm_eval.api.instance").Instance
    asked = hf.HFLM(pretrained=model, device="cpu", dtype="bfloat16", batch_size=16)
    requests = [
        instance("loglikelihood", {}, (option.context, f" {option.text.lstrip()}"), i)
        for item in items
        for i, option in enumerate(item.options)
    ]
    began = time.perf_counter()
    answers = iter(asked.loglikelihood(requests, disable_tqdm=True))
    seconds = time.perf_counter() - began
    return seconds, [[float(next(answers)[0]) for _ in item.options] for item in items]


def loratory(model: str, items: Sequence[Item]) -> tuple[float, list[list[float]]]:
    """Judge as a run does; return seconds and log-likelihoods."""
    from loratory.config import DecodeConfig, ModelConfig
    from loratory.progress import Silent
    from loratory.tuning.judge import judge
    from loratory.tuning.model import load, resolve

    spec = resolve(ModelConfig(name=model), classify=False, progress=Silent())
    loaded = load(spec, (), 0).model
    began = time.perf_counter()
    found = judge(
        loaded,
        spec,
        items,
        batch_size=DecodeConfig().batch_size,
        max_tokens=512,
        progress=Silent(),
        title="",
    )
    return time.perf_counter() - began, [list(item.loglikelihoods) for item in found]


def main() -> None:
    """Judge once and say what it took."""
    tool, task, file = sys.argv[1:]
    model: dict[str, Any] = json.loads(Path(task).read_text(encoding="utf-8"))
    (items,) = load_probes([file], ROWS, 0).values()
    ways = {"lm-eval": harness, "loratory": loratory}
    seconds, said = ways[tool](model["model"], items)
    tell(seconds, len(items), said=said)


if __name__ == "__main__":
    main()
