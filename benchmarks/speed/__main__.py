"""`python -m benchmarks.speed DATA [--rows 64] [--rounds 3] [--parts training,decoding]`.

DATA is a folder with `summarization/scitldr_*.jsonl`, `forgetting/arc_easy.jsonl` and
`sentiment/imdb_sample.jsonl`.
SmolLM2-135M-Instruct is trained on short texts (docstrings) and on longer ones (SciTLDR) by each
tool, in turns; what each adapter makes of held-out rows is measured in the same way for all. Then
the tools answer the held-out rows, judge multiple choice, and train a classifier of film reviews.
`make bench` installs the others.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from benchmarks.speed.tables import RESULTS, keep, table
from benchmarks.speed.training import LORA
from loratory.cache import cache_dir
from loratory.config import from_mapping
from loratory.metrics.rouge import RougeScorer
from loratory.pipeline import check
from loratory.progress import Silent
from loratory.runs.environment import hardware, versions
from loratory.tuning.encode import Encoded
from loratory.tuning.model import Resolved, load
from loratory.tuning.validation import mean_loss

PARTS = ("training", "decoding", "likelihood", "classification")
START = "starting"
LIMIT = "ONEDNN_MAX_CPU_ISA"
"""What says which instructions oneDNN may use at most."""
TOOLS = ("slides", "trl", "plain", "loratory")
ANSWERERS = ("one by one", "eights", "loratory")
JUDGES = ("lm-eval", "loratory")
CLASSIFIERS = ("slides", "loratory")
COMMANDS = ("trl", "loratory")
TASKS = ("docstrings", "scitldr")
LONGER = 512
"""Rows of a training in which what is done once weighs little: docstrings."""
HELD_OUT = 60
"""Rows whose loss is measured."""
ANSWERED = 200
SPLITS = {"train": "train", "validation": "few", "test": "test"}
REVIEWS = {"train": 256, "few": 2, "test": 200}


def prepared(
    model: str, data: Mapping[str, Any], task: str | Mapping[str, Any]
) -> tuple[Resolved, Mapping[str, Sequence[Encoded]]]:
    """Return a model, and rows as a run encodes them, by split."""
    leakage = {"action": "report"}
    recipe = {"model": model, "data": data, "task": task, "leakage": leakage}
    preflight = check(from_mapping(recipe), Silent()).preflight
    return preflight.spec, preflight.rows


def tasks(
    data: Path, rows: int, folder: Path, names: Sequence[str] = TASKS
) -> dict[str, tuple[Path, Resolved, list[Encoded]]]:
    """Write what each tool is given, by task; also return the model and the held-out rows."""
    shared = {"train_rows": rows, "test_rows": ANSWERED, "validation_rows": 2, "seed": 0}
    sets = {
        "docstrings": {
            "name": "embedded:docstrings",
            "max_prompt_tokens": 256,
            "max_target_tokens": 40,
        },
        "scitldr": {
            "name": str(data / "summarization/scitldr_train.jsonl"),
            "validation": str(data / "summarization/scitldr_dev.jsonl"),
            "test": str(data / "summarization/scitldr_test.jsonl"),
            "max_prompt_tokens": 448,
            "max_target_tokens": 64,
        },
    }
    found = {}
    for name in names:
        fields = sets[name]
        spec, encoded = prepared("embedded:smollm2-135m", {**fields, **shared}, "summarization")
        decode = spec.tokenizer.decode
        given = {
            split: [
                {
                    "id": row.id,
                    "prompt": decode(row.prompt),
                    "completion": decode(row.answer),
                    "prompt_ids": row.prompt,
                    "completion_ids": row.answer,
                }
                for row in encoded[kept]
            ]
            for kept, split in SPLITS.items()
        }
        beside = {
            "model": str(spec.path),
            "max_new_tokens": fields["max_target_tokens"],
            "stop": spec.tokenizer.eos_token_id,
        }
        file = folder / f"{name}.json"
        file.write_text(json.dumps({**beside, **given}), encoding="utf-8")
        found[name] = (file, spec, list(encoded["test"])[:HELD_OUT])
    return found


def reviews(data: Path, folder: Path) -> Path:
    """Write the reviews that classifiers are trained and measured on, cut at 512 tokens."""
    counts = {f"{split}_rows": REVIEWS[key] for split, key in SPLITS.items()}
    name = str(data / "sentiment/imdb_sample.jsonl")
    fields = {"name": name, **counts, "max_prompt_tokens": 512, "seed": 0}
    task = {"name": "classification", "labels": ["negative", "positive"]}
    spec, encoded = prepared("embedded:minilm", fields, task)
    decode = spec.tokenizer.decode
    given = {
        key: [
            {
                "id": row.id,
                "text": decode(row.prompt, skip_special_tokens=True),
                "ids": row.prompt,
                "label": row.label,
            }
            for row in encoded[split]
        ]
        for split, key in SPLITS.items()
    }
    file = folder / "reviews.json"
    file.write_text(json.dumps({"model": str(spec.path), **given}), encoding="utf-8")
    return file


def held_out_loss(spec: Resolved, adapter: Path, rows: Sequence[Encoded]) -> float:
    """Return the mean loss of a supervised token under an adapter, in nats."""
    model = PeftModel.from_pretrained(load(spec, (), 0).model, str(adapter))
    return mean_loss(model, spec, rows, 8)


def gemm_peak() -> float:
    """Return the most bfloat16 operations a second that a product of matrices reaches here."""
    best = 0.0
    for shape in ((1024, 576, 1536), (1024, 576, 3072), (2048, 2048, 2048), (4096, 4096, 4096)):
        m, k, n = shape
        x, weight = torch.randn(m, k).bfloat16(), torch.randn(n, k).bfloat16()
        seconds = []
        for _ in range(12):
            began = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            seconds.append(time.perf_counter() - began)
        best = max(best, 2 * m * k * n / statistics.median(seconds))
    return best


def useful(spec: Resolved, rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the operations that one pass over the rows needs, forward and backward.

    Two for each frozen weight and token forward, and two backward; two more for each number of the
    adapter, which needs a gradient of its own; the head's only where a token is supervised; and
    attention's products, of what a token may look at (as in PaLM, arXiv 2204.02311, appendix B,
    which counts what lies ahead as well).
    """
    config = spec.config
    width, inner = config.hidden_size, config.intermediate_size
    keys = config.num_key_value_heads * width // config.num_attention_heads
    shapes = [(width, width), (width, keys), (width, keys), (width, width)]
    shapes += [(width, inner), (width, inner), (inner, width)]
    frozen = sum(wide * high for wide, high in shapes)
    trained = sum(LORA["r"] * (wide + high) for wide, high in shapes)
    lengths = [len(row["prompt_ids"]) + len(row["completion_ids"]) for row in rows]
    spoken = sum(len(row["completion_ids"]) for row in rows)
    layer = (4 * frozen + 6 * trained) * sum(lengths)
    layer += 6 * width * sum(length**2 for length in lengths)
    return float(config.num_hidden_layers * layer + 4 * spoken * width * config.vocab_size)


def once(work: str, tool: str, task: Path, out: Path) -> dict[str, Any]:
    """Let one tool train, or answer, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.speed.{work}", tool, str(task), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{tool}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def turns(
    work: str, tools: Sequence[str], rounds: int, task: Path, beside: Path
) -> tuple[dict[str, list[dict[str, Any]]], list[list[Any]]]:
    """Let tools take turns; return what each run took, and what each tool said the first time."""
    taken: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
    for turn in range(rounds):
        for tool in tools:
            # What trains needs a folder of its own: a training that is done is not done again.
            out = beside / f"{tool}-{turn}" if work == "classification" else beside
            taken[tool].append(once(work, tool, task, out))
            print(work, tool, taken[tool][-1]["seconds"], flush=True)
    said = [[run.pop("said", None) for run in runs] for runs in taken.values()]
    return taken, [rounds_[0] for rounds_ in said]


def decoded(task: Path, spec: Resolved, adapter: Path, rounds: int) -> dict[str, Any]:
    """Return what answering the test rows took, by tool, and what the answers are worth.

    These are the share that are the answers in float32, token by token, and the mean F of ROUGE-L,
    of 100, of the rows that a tool answers.
    """
    taken, said = turns("decoding", ANSWERERS, rounds, task, adapter)
    exact = once("decoding", "reference", task, adapter)["said"]
    rows = json.loads(task.read_text(encoding="utf-8"))["test"]
    text = functools.partial(spec.tokenizer.decode, skip_special_tokens=True)
    scorer, worth = RougeScorer(["rougeL"]), {}
    for tool, answers in zip(ANSWERERS, said, strict=True):
        each = zip(rows, answers, strict=True)
        scores = [scorer.score(text(row["completion_ids"]), text(ids)) for row, ids in each]
        worth[tool] = {
            "rows": len(answers),
            "same": statistics.mean(map(operator.eq, exact, answers)),
            "rouge_l": 100 * statistics.mean(score["rougeL"].fmeasure for score in scores),
        }
    return {"tools": taken, "worth": worth}


def judged(task: Path, items: Path, rounds: int) -> dict[str, Any]:
    """Return what judging multiple choice took, by tool, and how far apart their numbers are."""
    taken, said = turns("likelihood", JUDGES, rounds, task, items)
    theirs, ours = (itertools.chain.from_iterable(rows) for rows in said)
    apart = [abs(a - b) for a, b in zip(theirs, ours, strict=True)]
    return {"tools": taken, "apart": statistics.median(apart), "furthest": max(apart)}


def starts(rounds: int) -> dict[str, list[float]]:
    """Return how long each command takes to print its help, in seconds."""
    folder = Path(sys.executable).parent
    taken: dict[str, list[float]] = {}
    for _ in range(rounds + 1):  # the first fills the file system's cache
        for name in COMMANDS:
            began = time.perf_counter()
            subprocess.run([folder / name, "--help"], capture_output=True, check=True)
            taken.setdefault(name, []).append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in taken.items()}


def first_steps(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Return how long the demo takes to its first step: with a new cache, then with a warm one.

    The model's weights, dequantised, are there from the beginning.
    """
    cache = folder / "cache"
    cache.mkdir()
    (cache / "models").symlink_to(cache_dir() / "models")
    command = [sys.executable, "-m", "benchmarks.speed.first", str(folder / "first")]
    environment = {**os.environ, "LORATORY_CACHE": str(cache)}
    taken = []
    for _ in range(rounds + 1):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        taken.append(json.loads(done.stdout.splitlines()[-1]))
        print("first step", taken[-1], flush=True)
    return taken


def main() -> None:
    """Let the tools take turns, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--parts", default=",".join((*PARTS, START)))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep the parts that are there")
    given = parser.parse_args()
    kept, parts = given.results / "speed.json", given.parts.split(",")
    if given.resume and kept.is_file():
        result = json.loads(kept.read_text(encoding="utf-8"))
    else:
        result = {
            "rows": given.rows,
            "rounds": given.rounds,
            "hardware": hardware(),
            "versions": versions(),
            "limit": os.environ.get(LIMIT),
            "gemm_peak": [gemm_peak()],
            **{part: {} for part in PARTS},
        }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        known = tasks(given.data.absolute(), result["rows"], folder)
        if START in parts and "first_steps" not in result:
            result["starts"] = starts(given.rounds)
            result["first_steps"] = first_steps(folder, given.rounds)
        for name in given.tasks.split(","):
            # Answers are those of the adapters that were trained for it.
            wanted = "decoding" if "decoding" in parts else "training"
            if wanted not in parts or name in result[wanted]:
                continue
            file, spec, held = known[name]
            adapter = trained(result, name, file, spec, held, given, folder)
            if "decoding" in parts:
                result["decoding"][name] = decoded(file, spec, adapter, given.rounds)
            keep(result, given.results)
        if "training" in parts and "longer" not in result:
            result["longer"] = longer(given.data.absolute(), folder, given.rounds)
            result["gemm_peak"] += result["longer"].pop("gemm_peak")
            keep(result, given.results)
        if "likelihood" in parts and "arc_easy" not in result["likelihood"]:
            items = given.data.absolute() / "forgetting/arc_easy.jsonl"
            file, *_ = next(iter(known.values()))
            result["likelihood"]["arc_easy"] = judged(file, items, given.rounds)
            keep(result, given.results)
        if "classification" in parts and "imdb" not in result["classification"]:
            file, out = reviews(given.data.absolute(), folder), folder / "classifier"
            taken, _ = turns("classification", CLASSIFIERS, given.rounds, file, out)
            result["classification"]["imdb"] = {"tools": taken, "rows": REVIEWS}
            keep(result, given.results)
    print(table(result))


def trained(
    result: dict[str, Any],
    name: str,
    file: Path,
    spec: Resolved,
    held: Sequence[Encoded],
    given: argparse.Namespace,
    folder: Path,
) -> Path:
    """Let the tools train in turns, note it in `result`, and return Loratory's adapter."""
    train = json.loads(file.read_text(encoding="utf-8"))["train"]
    taken: dict[str, list[dict[str, Any]]] = {}
    losses: dict[str, float] = {}
    for turn in range(given.rounds):
        for tool in given.tools.split(","):
            out = folder / f"{name}-{tool}-{turn}"
            taken.setdefault(tool, []).append(once("training", tool, file, out))
            print(name, turn, tool, taken[tool][-1], flush=True)
            if not turn:
                losses[tool] = held_out_loss(spec, out / "adapter", held)
        result["gemm_peak"].append(gemm_peak())
    result["training"][name] = {
        "tokens": sum(len(r["prompt_ids"]) + len(r["completion_ids"]) for r in train),
        "operations": useful(spec, train),
        "tools": {
            tool: {"runs": runs, "held_out_loss": losses[tool]} for tool, runs in taken.items()
        },
    }
    return folder / f"{name}-loratory-0/adapter"


def longer(data: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Return what Loratory's training of more rows takes."""
    beside = folder / "longer"
    beside.mkdir()
    file, spec, _ = tasks(data, LONGER, beside, TASKS[:1])[TASKS[0]]
    train = json.loads(file.read_text(encoding="utf-8"))["train"]
    found: dict[str, Any] = {"rows": len(train), "operations": useful(spec, train)}
    found |= {"runs": [], "gemm_peak": []}
    for turn in range(rounds):
        found["runs"].append(once("training", TOOLS[-1], file, beside / str(turn)))
        found["gemm_peak"].append(gemm_peak())
        print("longer", turn, found["runs"][-1], flush=True)
    return found


if __name__ == "__main__":
    main()
