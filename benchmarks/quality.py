"""Does fine-tuning improve real tasks, over the base model and over trivial baselines?

    python -m benchmarks.quality DATA [NAME …]

DATA is a folder with `summarization/scitldr_*.jsonl`, `sentiment/sst5_*.jsonl` and
`sentiment/amazon_alexa_stars.jsonl`. Runs each recipe below and writes its scores, its
comparison, and the machine to `benchmarks/results/quality.json` and `quality.md`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import loratory
from benchmarks.facts import facts
from loratory.cli.console import progress
from loratory.codec import from_dict, to_dict
from loratory.config import from_mapping
from loratory.evaluation.baseline import best_baselines
from loratory.records import Comparison, Score
from loratory.report import wording

RESULTS = Path(__file__).parent / "results"


def recipes(data: Path) -> dict[str, dict[str, Any]]:
    """Return every recipe by name."""
    scitldr = {
        "name": "scitldr",
        "model": "embedded:smollm2-135m",
        "data": {
            "name": str(data / "summarization/scitldr_train.jsonl"),
            "validation": str(data / "summarization/scitldr_dev.jsonl"),
            "test": str(data / "summarization/scitldr_test.jsonl"),
            "train_rows": 300,
            "validation_rows": 40,
            "test_rows": 200,
            "max_prompt_tokens": 400,
            "max_target_tokens": 64,
        },
        "task": "summarization",
        "method": {"name": "lora", "r": 8},
        "train": {"num_train_epochs": 2, "learning_rate": 5e-4, "eval_steps": 0.25},
    }
    sst5 = {
        "train": str(data / "sentiment/sst5_train.jsonl"),
        "validation": str(data / "sentiment/sst5_dev.jsonl"),
        "test": str(data / "sentiment/sst5_test.jsonl"),
        "max_prompt_tokens": 128,
    }
    names = ["very negative", "negative", "neutral", "positive", "very positive"]
    head = {
        "num_train_epochs": 3,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 32,
        "eval_steps": 0.1,
    }
    return {
        "scitldr": scitldr,
        "sst5_head": {
            "name": "sst5-head",
            "model": "embedded:minilm",
            "data": {"name": sst5["train"], **sst5},
            "task": {"name": "classification", "labels": names},
            "method": {"name": "lora", "r": 16, "lora_alpha": 32.0},
            "train": head,
        },
        "sst5_label_words": {
            "name": "sst5-label-words",
            "model": "embedded:smollm2-135m",
            "data": {
                "name": sst5["train"],
                **sst5,
                "train_rows": 1500,
                "validation_rows": 100,
                "test_rows": 500,
            },
            "task": {"name": "classification", "labels": names},
            "method": {"name": "lora", "r": 8},
            "train": {"num_train_epochs": 1, "learning_rate": 5e-4, "eval_steps": 0.25},
        },
        "amazon_stars_head": {
            "name": "amazon-stars-head",
            "model": "embedded:minilm",
            "data": {
                "name": str(data / "sentiment/amazon_alexa_stars.jsonl"),
                "columns": {"label": "stars"},
                "test_size": 600,
                "validation_size": 300,
                "max_prompt_tokens": 256,
            },
            "task": "classification",
            "method": {"name": "lora", "r": 16, "lora_alpha": 32.0},
            "train": {**head, "num_train_epochs": 6},
        },
        "amazon_stars_label_words": {
            "name": "amazon-stars-label-words",
            "model": "embedded:smollm2-135m",
            "data": {
                "name": str(data / "sentiment/amazon_alexa_stars.jsonl"),
                "columns": {"label": "stars"},
                "test_size": 600,
                "validation_size": 300,
                "validation_rows": 100,
                "max_prompt_tokens": 160,
            },
            "task": {
                "name": "classification",
                "template": "How many stars, from 1 to 5, does this review give?\n\n{text}",
            },
            "method": {"name": "lora", "r": 8},
            "train": {"num_train_epochs": 1, "learning_rate": 5e-4, "eval_steps": 0.25},
        },
    }


def main() -> None:
    """Run the recipes named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--runs", type=Path, help="where run folders go; default: thrown away")
    args = parser.parse_args()
    known = recipes(args.data.absolute())
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.names or known:
            config = from_mapping({**known[name], "output_dir": str(args.runs or scratch)})
            with progress() as shown:
                run = loratory.run(config, shown)
            _keep(name, run, args.data.absolute())


def _keep(name: str, run: loratory.Run, data: Path) -> None:
    """Add one run to the results file, and write the table anew."""
    file = RESULTS / "quality.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    scores = {k: [to_dict(x) for x in items] for k, items in run.scores().items()}
    results[name] = {**facts(run, data), "scores": scores}
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (RESULTS / "quality.md").write_text(_table(results), encoding="utf-8")


def _table(results: dict[str, Any]) -> str:
    lines = [
        "# Quality on real sets",
        "",
        "Written by `benchmarks/quality.py`. Scores times 100; the interval is of the paired",
        "difference, tuned minus base; beside it the best trivial baseline.",
        "",
        "| recipe | metric | base | tuned | difference | 95% interval | n | best baseline |",
        "|---|---|---:|---:|---:|---|---:|---|",
    ]
    for name, result in results.items():
        scores = {
            system: [from_dict(Score, item, name) for item in items]
            for system, items in result["scores"].items()
        }
        best = best_baselines(scores)
        for entry in result["comparison"]:
            item = from_dict(Comparison, entry, name)
            if item.descriptive:
                continue
            system, score = best[item.metric]
            cells = (
                name,
                wording.metric_name(item.metric),
                wording.score(item.base, item.metric),
                wording.score(item.tuned, item.metric),
                *wording.difference(item),
                str(item.n),
                f"{wording.score(score.value, item.metric)} {system}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
