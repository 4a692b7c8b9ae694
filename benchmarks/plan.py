"""How near does `loratory plan` come to what a training then takes?

    python benchmarks/plan.py [NAME …]
    python benchmarks/plan.py --heap

For each recipe below, which needs no network: `loratory plan` in one process, then the run's own
preparation and training in others, cut to so many steps that all of them take about ten minutes.
Expected and measured go to `benchmarks/results/plan.json` and `plan.md`. Memory may be measured on
a busy machine, time only on one that does nothing else.

`--heap` trains the demo's first steps under several settings of glibc's allocator instead, and
prints peak memory, processor time and the last loss of each, which must be the same.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from loratory.runs import Run
from loratory.runs.environment import hardware, versions
from loratory.tuning.heap import environment

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DEMO = "src/loratory/cli/demo.yaml"
RECIPES = {
    "demo": [DEMO, "train.max_steps=24"],
    "imdb_head": ["examples/imdb_head.yaml", "train.max_steps=30"],
    "imdb_label_words": ["examples/imdb_label_words.yaml", "train.max_steps=10"],
    "instruction": ["examples/instruction.yaml", "train.max_steps=14"],
}
"""Arguments by name."""
CACHES = "glibc.malloc.tcache_count=7:glibc.malloc.mxfast=128"
"""glibc's defaults, spelt out so that the command leaves them alone."""
HEAPS = {
    "glibc's": CACHES,
    "without caches of small blocks": environment({})["GLIBC_TUNABLES"],
    "blocks of 1 MiB and more mapped": f"{CACHES}:glibc.malloc.mmap_threshold={2**20}",
}
"""Values of `GLIBC_TUNABLES` under which `--heap` trains."""


def main() -> None:
    """Measure the recipes named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--steps", type=int, default=4, help="optimiser steps that plan takes")
    parser.add_argument("--heap", action="store_true", help="compare allocator settings instead")
    args = parser.parse_args()
    if args.heap:
        heaps()
        return
    file = RESULTS / "plan.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in args.names or RECIPES:
        results[name] = measure(RECIPES[name], args.steps)
        kept = {key: results[key] for key in RECIPES if key in results}
        file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "plan.md").write_text(table(kept), encoding="utf-8")


def measure(recipe: list[str], steps: int) -> dict[str, Any]:
    """Plan a recipe, train by it, and return both."""
    plan = json.loads(loratory("plan", *recipe, "--steps", str(steps), "--json"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = train(recipe, scratch)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        settings = Run.open(folder).config.train
        adapter = (folder / "adapter" / "adapter_model.safetensors").stat().st_size
    training = manifest["training"]
    batch = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    return {
        "recipe": recipe,
        "plan": {key: plan[key] for key in ("memory", "time")},
        "adapter_bytes": {"expected": plan["model"]["adapter_bytes"], "measured": adapter},
        "examples_per_second": {
            "expected": training["steps"] * batch / plan["time"]["training"]["expected"],
            "measured": training["examples_per_second"],
        },
        "model": manifest["model"],
        "training": training,
        "rows": manifest["data"]["rows"],
        "durations": manifest["durations"],
        "hardware": hardware(),
        "versions": versions(),
        "load": os.getloadavg(),
    }


def train(recipe: list[str], scratch: str, **variables: str) -> Path:
    """Prepare and train a run in processes of their own; return its folder."""
    made = json.loads(loratory("prepare", *recipe, f"output_dir={scratch}", "--json"))
    folder = Path(made["run"])
    loratory("train", str(folder), **variables)
    return folder


def heaps() -> None:
    """Train the demo's first steps under each allocator setting, and print a table."""
    print("| heap | peak GiB | processor s | of it in the kernel | last loss |")
    print("|---|---:|---:|---:|---:|")
    for name, tunables in HEAPS.items():
        with tempfile.TemporaryDirectory() as scratch:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            folder = train([DEMO, "train.max_steps=12"], scratch, GLIBC_TUNABLES=tunables)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            log = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
        loss = [line["loss"] for line in map(json.loads, log) if "loss" in line][-1]
        kernel = after.ru_stime - before.ru_stime
        whole = after.ru_utime - before.ru_utime + kernel
        peak = manifest["model"]["peak_memory_bytes"] / 2**30
        print(f"| {name} | {peak:.2f} | {whole:.0f} | {kernel:.0f} | {loss!r} |", flush=True)


def loratory(*arguments: str, **variables: str) -> str:
    """Run the command line in a process of its own and return what it printed."""
    command = Path(sys.executable).with_name("loratory")
    made = subprocess.run(
        [command, *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return made.stdout


def table(results: dict[str, Any]) -> str:
    """Return the results as a page."""
    lines = [
        "# Plan and run",
        "",
        "Written by `benchmarks/plan.py`. Expected by measured; 1 is right. The rate is in",
        "examples a second of training, validation included. The load is that of the machine when",
        "the run had ended; where it is well above the cores in use, the rates say nothing.",
        "",
        "| recipe | steps | expected GiB | measured GiB | ratio | heap, measured share "
        "| expected rate | measured rate | ratio | load |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        expected, peak = result["model"]["expected_memory"], result["model"]["peak_memory_bytes"]
        sum_ = result["model"]["expected_memory_bytes"]
        # What was held beyond the other parts; below 0 these were counted too high.
        step = expected["activations"] + expected["logits"]
        share = (peak - (training(expected) - expected["heap"])) / step
        rate = result["examples_per_second"]
        lines.append(
            f"| {name} | {result['training']['steps']} | {sum_ / 2**30:.2f} | {peak / 2**30:.2f} "
            f"| {sum_ / peak:.2f} | {share:.2f} | {rate['expected']:.2f} | {rate['measured']:.2f} "
            f"| {rate['expected'] / rate['measured']:.2f} | {result['load'][0]:.1f} |"
        )
    return "\n".join(lines) + "\n"


def training(expected: dict[str, int]) -> int:
    """Return the sum of the parts of an expected memory, as `Memory.training` does."""
    return sum(value for part, value in expected.items() if part != "loading")


if __name__ == "__main__":
    main()
