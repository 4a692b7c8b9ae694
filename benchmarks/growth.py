"""How time and memory of a training grow: `python -m benchmarks.growth [--results FOLDER]`.

SmolLM2-135M-Instruct, LoRA on all linear layers, bfloat16, batches of 4. Each point is a training
of its own process on rows of random tokens, an eighth of them supervised, with nothing in common.

- length: 128 to 4,096 tokens a row, rank 8.
- rank: 2 to 128, rows of 256 tokens.
- rows: trainings of 16, 32 and 64 rows of 256 tokens. A line through their seconds gives those of
  1,000 to 100,000 rows; beside it seconds and memory of preparing as many, from measured ones.

Writes `growth.json`, `growth.md` and a chart for each as SVG.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import tell
from loratory.report.chart import Series, line_chart
from loratory.runs.environment import hardware, versions

RESULTS = Path(__file__).parent / "results"
BATCH = 4
LENGTHS = (128, 256, 512, 1024, 2048, 4096)
RANKS = (2, 8, 32, 128)
ROWS = (16, 32, 64)
TOLD = (1_000, 10_000, 100_000)
SHORT = 256
STYLE = """<style>
svg { color: #444; background: #fff; font-family: sans-serif; }
.s0 { color: #1f5fa8; } .s1 { color: #b3541e; }
.line { stroke-width: 2; } .dot, .key { fill: currentColor; stroke: none; }
</style>
"""
"""What a chart in a report takes from its page."""


def trained(rows: int, length: int, rank: int) -> None:
    """Train once; say how long it took as a whole and by step, and at which peak of memory."""
    from loratory.config import ModelConfig, TrainConfig
    from loratory.methods.lora import Lora
    from loratory.progress import Silent
    from loratory.tuning.encode import Encoded
    from loratory.tuning.model import load, resolve
    from loratory.tuning.train import train

    class Steps(Silent):
        """Notes when each step ended."""

        def __init__(self) -> None:
            self.ends = [time.perf_counter()]

        def advance(self, done: int = 1, detail: str = "") -> None:  # noqa: ARG002
            if done:
                self.ends.append(time.perf_counter())

    spec = resolve(ModelConfig(name="embedded:smollm2-135m"), classify=False, progress=Silent())
    method = Lora(r=rank, lora_alpha=2.0 * rank)
    model = method.attach(load(spec, (), 0).model, "causal", 0)
    generator = np.random.Generator(np.random.PCG64(0))
    answer = length // 8

    def row(i: int) -> Encoded:
        ids = generator.integers(100, spec.config.vocab_size, length + 1).tolist()
        return Encoded(str(i), ids[:-answer], ids[-answer:], None, 0, 0)

    steps = Steps()
    config = TrainConfig(
        num_train_epochs=1.0,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-4,
        eval_steps=10**6,
        logging_steps=1,
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(
            spec,
            model,
            [row(i) for i in range(rows)],
            [row(-1)],
            config,
            seed=0,
            folder=Path(folder),
            progress=steps,
            hooks=method.training(model),
        )
    seconds = time.perf_counter() - began
    between = [b - a for a, b in zip(steps.ends[1:], steps.ends[2:], strict=False)]
    # The first step also touches its memory for the first time; the last end is after validation.
    tell(seconds, rows, step=statistics.median(between[:-1] or between))


def prepared(rows: int) -> None:
    """Encode made-up texts of the short length; say how long it took."""
    from loratory.config import ModelConfig
    from loratory.progress import Silent
    from loratory.records import Example
    from loratory.tasks.base import TASKS
    from loratory.tuning.encode import Encoder
    from loratory.tuning.model import resolve

    spec = resolve(ModelConfig(name="embedded:smollm2-135m"), classify=False, progress=Silent())
    sentence = "the team writes a short note about what the run of last night has shown"
    words = sentence.split(" ")
    text = " ".join(words[i % len(words)] for i in range(SHORT - 60))
    examples = [Example(str(i), text, (text[:60],)) for i in range(rows)]
    encoder = Encoder(spec, TASKS.get("summarization")(), SHORT, 40)
    began = time.perf_counter()
    encoder.all(examples)
    tell(time.perf_counter() - began, rows)


def once(*arguments: Any) -> dict[str, Any]:
    """Measure one point in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--point", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(arguments, found, flush=True)
    return found


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return what a straight line through the points has at 0, and how it rises."""
    x, y = np.asarray(points, dtype=float).T
    slope, start = np.polyfit(x, y, 1)
    return float(start), float(slope)


def keep(result: dict[str, Any], folder: Path) -> None:
    """Write the figures, the table and the charts."""
    folder.mkdir(exist_ok=True)
    (folder / "growth.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# How cost grows",
        "",
        "Written by `python -m benchmarks.growth`. SmolLM2-135M-Instruct, LoRA, bfloat16, batches",
        f"of {BATCH}; rows of random tokens with nothing in common.",
        "",
        "| tokens a row | rank | seconds a step | tokens a second | peak memory |",
        "|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {one['tokens']:,} | {one['rank']} | {one['step']:.2f} | "
        f"{BATCH * one['tokens'] / one['step']:,.0f} | {one['peak_bytes'] / 2**30:.2f} GiB |"
        for one in [*result["length"], *result["rank"]]
    ]
    measured = [(one["rows"], one["seconds"]) for one in result["rows"]]
    encoded = [(one["rows"], one["seconds"]) for one in result["prepared"]]
    trains, encodes = line(measured), line(encoded)
    lines += [
        "",
        f"Rows of {SHORT} tokens, rank 8. Training was measured on "
        f"{', '.join(str(n) for n, _ in measured)} rows and preparing on "
        f"{', '.join(f'{n:,}' for n, _ in encoded)}; what stands in italics is on a straight line "
        "through them.",
        "",
        "| rows | training | its peak memory | preparing | its peak memory |",
        "|--:|--:|--:|--:|--:|",
    ]
    for one in result["rows"]:
        lines.append(f"| {one['rows']:,} | {one['seconds']:.0f} s | {gib(one)} | | |")
    grown = line([(one["rows"], one["peak_bytes"]) for one in result["prepared"]])
    known = {one["rows"]: one for one in result["prepared"]}
    told = []
    for rows in TOLD:
        hours = (trains[0] + trains[1] * rows) / 3600
        seconds, most = (start + slope * rows for start, slope in (encodes, grown))
        told.append((rows, hours, most / 2**30))
        cells = (
            (f"{known[rows]['seconds']:.0f} s", gib(known[rows]))
            if rows in known
            else (f"*{seconds:.0f} s*", f"*{most / 2**30:.2f} GiB*")
        )
        lines.append(f"| {rows:,} | *{hours:.1f} h* | | {' | '.join(cells)} |")
    machine = result["hardware"]
    lines += ["", f"{machine['cpu']}, {machine['cores']} cores.", ""]
    (folder / "growth.md").write_text("\n".join(lines), encoding="utf-8")
    for name, label in (("length", "tokens"), ("rank", "rank")):
        at = [one["tokens" if name == "length" else "rank"] for one in result[name]]
        times = [one["step"] for one in result[name]]
        sizes = [one["peak_bytes"] / 2**30 for one in result[name]]
        draw(folder, f"{name}-time", "seconds a step", label, {"": (at, times)})
        draw(folder, f"{name}-memory", "peak memory, GiB", label, {"": (at, sizes)})
    at, long, high = ([one[i] for one in told] for i in range(3))
    few = [n for n, _ in measured], [seconds / 3600 for _, seconds in measured]
    draw(
        folder,
        "rows-time",
        "hours of training",
        "rows",
        {"hours, measured": few, "on a line through them": (at, long)},
    )
    few = (
        [one["rows"] for one in known.values()],
        [one["peak_bytes"] / 2**30 for one in known.values()],
    )
    draw(
        folder,
        "rows-memory",
        "peak memory of preparing, GiB",
        "rows",
        {"GiB, measured": few, "on a line through them": (at, high)},
    )


def gib(one: Mapping[str, Any]) -> str:
    """Return a point's peak of memory, written."""
    return f"{one['peak_bytes'] / 2**30:.2f} GiB"


def draw(
    folder: Path,
    name: str,
    unit: str,
    label: str,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> None:
    """Write a chart as a file of its own; a line without a name is called by its unit."""
    chart = line_chart(
        [
            Series(title or unit, list(zip(x, y, strict=True)), dots=True)
            for title, (x, y) in lines.items()
        ],
        id=name,
        title=f"{unit} by {label}",
        description="; ".join(
            ", ".join(f"{a}: {b:.2f}" for a, b in zip(x, y, strict=True)) for x, y in lines.values()
        ),
        x_label=label,
    )
    alone = str(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    alone = alone.replace("<title", f"{STYLE}<title", 1)
    (folder / f"growth-{name}.svg").write_text(alone + "\n", encoding="utf-8")


def main() -> None:
    """Measure every point, each in its own process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--point", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.point:
        kind, *numbers = given.point
        if kind == "train":
            trained(*map(int, numbers))
        else:
            prepared(*map(int, numbers))
        return
    result: dict[str, Any] = {"hardware": hardware(), "versions": versions()}
    few = 4 * BATCH
    result["length"] = [
        {"tokens": n, "rank": 8, **once("train", few if n <= 1024 else 2 * BATCH, n, 8)}
        for n in LENGTHS
    ]
    result["rank"] = [{"tokens": SHORT, "rank": r, **once("train", few, SHORT, r)} for r in RANKS]
    result["rows"] = [{"tokens": SHORT, **once("train", n, SHORT, 8)} for n in ROWS]
    result["prepared"] = [once("prepare", n) for n in TOLD[:2]]
    keep(result, given.results)
    print((given.results / "growth.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
