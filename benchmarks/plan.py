"""How near does `loratory plan` come to what a run then takes?

    python benchmarks/plan.py [NAME …]

For each recipe below, which needs no network: `loratory plan` in one process, then the run's own
preparation, training and prediction in another. Ratios of expected to measured go to
`benchmarks/results/plan.json` and `plan.md`. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from loratory.runs.environment import hardware, versions

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RECIPES = {
    "demo": ["src/loratory/cli/demo.yaml"],
    "imdb_head": ["examples/imdb_head.yaml"],
    "imdb_head, 25 steps": ["examples/imdb_head.yaml", "train.max_steps=25", "data.test_rows=64"],
    "imdb_label_words": ["examples/imdb_label_words.yaml"],
    "instruction": ["examples/instruction.yaml"],
    "instruction, 14 steps": ["examples/instruction.yaml", "train.num_train_epochs=2"],
}
"""Arguments by name. A name with a comma is a shortened recipe."""


def main() -> None:
    """Measure the recipes named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    file = RESULTS / "plan.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in args.names or RECIPES:
        results[name] = measure(RECIPES[name], args.steps)
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "plan.md").write_text(table(results), encoding="utf-8")


def measure(recipe: list[str], steps: int) -> dict[str, Any]:
    """Plan a recipe, train and predict by it, and return both."""
    plan = json.loads(loratory("plan", *recipe, "--steps", str(steps), "--json"))
    with tempfile.TemporaryDirectory() as scratch:
        made = json.loads(loratory("prepare", *recipe, f"output_dir={scratch}", "--json"))
        folder = Path(made["run"])
        loratory("train", str(folder))
        began = os.times().elapsed
        loratory("predict", str(folder))
        prediction = os.times().elapsed - began
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        adapter = (folder / "adapter" / "adapter_model.safetensors").stat().st_size
    return {
        "recipe": recipe,
        "plan": {key: plan[key] for key in ("memory", "time")},
        "adapter_bytes": {"expected": plan["model"]["adapter_bytes"], "measured": adapter},
        "model": manifest["model"],
        "training": manifest["training"],
        "rows": manifest["data"]["rows"],
        "durations": manifest["durations"],
        "predict_process_seconds": prediction,
        "hardware": hardware(),
        "versions": versions(),
        "load": os.getloadavg(),
    }


def loratory(*arguments: str) -> str:
    """Run the command line in a process of its own and return what it printed."""
    command = [sys.executable, "-c", "from loratory.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def table(results: dict[str, Any]) -> str:
    """Return the results as a page."""
    lines = [
        "# Plan and run",
        "",
        "Written by `benchmarks/plan.py`. Expected by measured; 1 is right. Training's measured",
        "time is that of the whole stage, with loading the model, checkpoints and the proof.",
        "The load is that of the machine when the run had ended, of two cores.",
        "",
        "| recipe | expected GiB | measured GiB | ratio | expected s | measured s | ratio | load |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        expected = result["plan"]["memory"]["expected"]["peak"]
        peak = result["model"]["peak_memory_bytes"]
        seconds, took = result["plan"]["time"]["training"]["expected"], result["durations"]["train"]
        lines.append(
            f"| {name} | {expected / 2**30:.2f} | {peak / 2**30:.2f} | {expected / peak:.2f} "
            f"| {seconds:.0f} | {took:.0f} | {seconds / took:.2f} | {result['load'][0]:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
