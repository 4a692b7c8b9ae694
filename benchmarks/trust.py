"""Does a run say when its model overfitted, forgot, or grew a bias, and what do remedies cost?

    python -m benchmarks.trust DATA [NAME …] [--rows 160] [--test 100] [--items 100]

DATA is a folder with `summarization/scitldr_*.jsonl`, `sentiment/sst5_*.jsonl`,
`forgetting/*.jsonl` and `bias/crows_pairs.jsonl`. SmolLM2-135M-Instruct is trained on both tasks
by whole runs, each one `loratory run`: as one would; overfitted on purpose; forgetful on purpose,
at a high rate and for many epochs; the same with each remedy; and from CorDA's start. The
forgetful adapters are then swept over their scale. All runs of a task have the same test rows and
probes. Writes `benchmarks/results/trust.json` and `trust.md`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import loratory
from benchmarks.facts import facts
from loratory import pipeline
from loratory.cli.console import progress
from loratory.codec import from_dict, to_dict
from loratory.config import from_mapping
from loratory.records import Comparison, Finding
from loratory.report import wording

RESULTS = Path(__file__).parent / "results"
METRIC = {"sst5": "accuracy", "scitldr": "rougeL"}
LABELS = ["very negative", "negative", "neutral", "positive", "very positive"]
PROBES = ("arc_easy", "piqa", "openbook_qa", "lambada_openai")
QUESTIONS = ("leakage", "overfitting", "forgetting", "bias")
USUAL = {
    "num_train_epochs": 2,
    "learning_rate": 5e-4,
    "eval_steps": 0.25,
    "early_stopping_patience": 2,
}
OVERFITTED = {
    "num_train_epochs": 12,
    "learning_rate": 1e-3,
    "eval_steps": 0.125,
    "early_stopping_patience": None,
}
FORGETFUL = {
    "num_train_epochs": 5,
    "learning_rate": 3e-3,
    "lr_scheduler_type": "constant",
    "eval_steps": 1000,
    "early_stopping_patience": None,
}
"""Six times the rate that suits this task; only the last state is validated, and so it is kept."""
SCALED = "forgetful"


def recipes(data: Path, rows: int, test: int, items: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Return every recipe by task and name."""
    shared = {
        "model": "embedded:smollm2-135m",
        "method": {"name": "lora", "r": 8},
        "forgetting": {
            "probes": [
                "embedded:text",
                "embedded:choices",
                *(str(data / f"forgetting/{name}.jsonl") for name in PROBES),
            ],
            "rows": items,
        },
        "bias": {
            "probes": ["embedded:pairs", str(data / "bias/crows_pairs.jsonl")],
            "rows": items,
        },
    }
    tasks: dict[str, dict[str, Any]] = {
        "sst5": {
            **shared,
            "data": _splits(data / "sentiment/sst5", 4 * rows, 3 * test, 128, 16),
            "task": {"name": "classification", "labels": LABELS},
        },
        "scitldr": {
            **shared,
            "data": _splits(data / "summarization/scitldr", rows, test, 256, 48),
            "task": "summarization",
        },
    }
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task, recipe in tasks.items():
        kept = recipe["data"]["train_rows"]
        few = {**recipe["data"], "train_rows": kept // 5}

        changes: dict[str, dict[str, Any]] = {
            "as one would": {"train": USUAL, "data": recipe["data"]},
            "overfitted": {"train": OVERFITTED},
            "forgetful": {"train": FORGETFUL},
            "with KL": {"train": FORGETFUL, "remedy": {"kl_weight": 1.0}},
            "with replay": {"train": FORGETFUL, "remedy": {"replay_share": 0.5}},
        }
        if task == "scitldr":
            changes["with L2"] = {"train": FORGETFUL, "remedy": {"l2_weight": 0.01}}
            changes["lower rate"] = {"train": {**FORGETFUL, "learning_rate": 5e-4}}
            changes["from CorDA"] = {
                "train": {**FORGETFUL, "learning_rate": 5e-5},
                "method": {"name": "lora", "r": 8, "lora_alpha": 8, "init_lora_weights": "corda"},
            }
        found[task] = {
            name: {**recipe, "data": few, "name": f"{task}-{name.replace(' ', '-')}", **change}
            for name, change in changes.items()
        }
    return found


def _splits(stem: Path, rows: int, test: int, prompt: int, target: int) -> dict[str, Any]:
    train, dev, held_out = (f"{stem}_{split}.jsonl" for split in ("train", "dev", "test"))
    return {
        "name": train,
        "validation": dev,
        "test": held_out,
        "train_rows": rows,
        "validation_rows": 60,
        "test_rows": test,
        "max_prompt_tokens": prompt,
        "max_target_tokens": target,
        "seed": 0,
    }


def main() -> None:
    """Run what is named, or all, and write the tables after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", help="as sst5 or 'sst5/with KL'; default: all")
    parser.add_argument(
        "--rows", type=int, default=160, help="SciTLDR; SST-5 has four times as many"
    )
    parser.add_argument(
        "--test", type=int, default=100, help="SciTLDR; SST-5 has three times as many"
    )
    parser.add_argument("--items", type=int, default=100, help="of each probe")
    parser.add_argument("--runs", type=Path, help="where run folders go; default: thrown away")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the files go")
    args = parser.parse_args()
    data = args.data.absolute()
    known = recipes(data, args.rows, args.test, args.items)
    with tempfile.TemporaryDirectory() as scratch:
        asked = {
            key: from_mapping({**known[key[0]][key[1]], "output_dir": str(args.runs or scratch)})
            for key in _wanted(known, args.names)
        }
        for (task, name), config in asked.items():
            with progress() as shown:
                run = loratory.run(config, shown)
                if name == SCALED:
                    pipeline.scale(run, progress=shown)
            _keep(task, name, run, data, args.results)


def _wanted(known: Mapping[str, Mapping[str, Any]], names: list[str]) -> Iterator[tuple[str, str]]:
    for task, runs in known.items():
        for name in runs:
            if not names or task in names or f"{task}/{name}" in names:
                yield task, name


def _keep(task: str, name: str, run: loratory.Run, data: Path, folder: Path) -> None:
    """Add one run to the results file, and write the tables anew."""
    file = folder / "trust.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    findings = {key: to_dict(item) for key, item in run.findings().items()}
    results.setdefault(task, {})[name] = {**facts(run, data), "findings": findings}
    folder.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False).replace(str(data), "DATA")
    file.write_text(text + "\n", encoding="utf-8")
    (folder / "trust.md").write_text(_page(json.loads(text)), encoding="utf-8")


def _page(results: Mapping[str, Any]) -> str:
    lines = [
        "# What runs say of their models",
        "",
        "Written by `python -m benchmarks.trust DATA`. SmolLM2-135M-Instruct, LoRA of rank 8. Base",
        "and tuned answer the same test rows and the same items of every probe; 95% intervals in",
        "brackets. Perplexity is of `embedded:text` and rises by a share of the base model's.",
    ]
    for task, runs in results.items():
        first = next(iter(runs.values()))
        test = first["rows"]["test"]
        lines += [
            "",
            f"## {task}",
            "",
            f"| training | rows | {wording.metric_name(METRIC[task])} "
            f"| difference, {test} test rows | verdict | text perplexity "
            "| leakage | overfitting | forgetting | bias |",
            "|---|--:|--:|---|---|---|---|---|---|---|",
        ]
        lines += [_line(task, name, run) for name, run in runs.items()]
    for task, runs in results.items():
        for name, run in runs.items():
            lines += ["", f"## {task}, {name}"]
            for question, item in run["findings"].items():
                finding = from_dict(Finding, item, name)
                lines += ["", f"**{question}: {finding.verdict}**", ""]
                lines += [f"- {sentence}" for sentence in finding.sentences]
            lines += _scales(run["findings"]["forgetting"]["facts"])
    hardware = first["hardware"]
    return "\n".join([*lines, "", f"Machine: {hardware['cpu']}, {hardware['cores']} cores."]) + "\n"


def _line(task: str, name: str, run: Mapping[str, Any]) -> str:
    items = [from_dict(Comparison, item, name) for item in run["comparison"]]
    item = next(item for item in items if item.metric == METRIC[task])
    change, ends = wording.difference(item)
    losses = run["findings"]["forgetting"]["facts"]["losses"]
    text = next(x for x in losses if x["probe"] == "text" and x["metric"] == "perplexity")
    value, low, high = (100 * text[key] for key in ("loss", "low", "high"))
    cells = (
        name,
        str(run["rows"]["train"]),
        f"{wording.score(item.base, item.metric)} → {wording.score(item.tuned, item.metric)}",
        f"{change} [{ends}]",
        str(item.verdict),
        f"{value:+.1f}% [{low:+.1f}, {high:+.1f}]",
        *(run["findings"][question]["verdict"] for question in QUESTIONS),
    )
    return f"| {' | '.join(cells)} |"


def _scales(facts: Mapping[str, Any]) -> list[str]:
    if "scales" not in facts:
        return []
    lines = [
        "",
        f"In nats a token; the knee is at {facts['knee']}.",
        "",
        "| scale | gain | forgetting |",
        "|---:|---:|---:|",
    ]
    return lines + [
        f"| {point['scale']} | {point['gain']:.3f} | {point['forgetting']:.3f} |"
        for point in facts["scales"]
    ]


if __name__ == "__main__":
    main()
