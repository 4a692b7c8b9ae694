"""Is forgetting found where it is, and what do the remedies cost?

    python benchmarks/forgetting.py DATA [--rows N] [--items N] [--steps N] [NAME …]

DATA is a folder with `summarization/scitldr_*.jsonl` and `forgetting/*.jsonl`. One model is trained
to forget on purpose, at a high rate and for many epochs on few rows; then with each remedy, and as
one would train it. Each is measured against the base model on the same probes and the same test
rows, and the adapter of the forgetful run is swept over its scale. Writes
`benchmarks/results/forgetting.json` and `forgetting.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from loratory.codec import to_dict
from loratory.config import ModelConfig, TrainConfig
from loratory.config.remedy import RemedyConfig
from loratory.evaluation.forgetting import forgetting
from loratory.evaluation.forgetting.knee import knee
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.records import Example, Judgement
from loratory.tasks.probes import Item, load_probes, replay_texts
from loratory.tasks.summarization import Summarization
from loratory.tuning.encode import Encoded, Encoder, collate
from loratory.tuning.generate import sorted_batches
from loratory.tuning.judge import judge
from loratory.tuning.loss import loss_sum
from loratory.tuning.model import Resolved, load, resolve
from loratory.tuning.scale import sweep_scales
from loratory.tuning.train import train

RESULTS = Path(__file__).parent / "results"
SEED = 0
VALIDATION = 8
FORGETFUL = {"learning_rate": 3e-3, "lr_scheduler_type": "constant"}
"""About ten times the rate that suits LoRA on this model."""
CASES: dict[str, tuple[dict[str, Any], RemedyConfig]] = {
    "as one would": ({"learning_rate": 2e-4, "lr_scheduler_type": "linear"}, RemedyConfig()),
    "forgetful": (FORGETFUL, RemedyConfig()),
    "with replay": (FORGETFUL, RemedyConfig(replay_share=0.5)),
    "with KL": (FORGETFUL, RemedyConfig(kl_weight=1.0)),
    "with L2": (FORGETFUL, RemedyConfig(l2_weight=0.01)),
}
PROBES = ("arc_easy", "piqa", "lambada_openai")


def examples(path: Path, rows: int) -> list[Example]:
    """Return the first rows of a file of SciTLDR."""
    lines = path.read_text(encoding="utf-8").split("\n")[:rows]
    found = [json.loads(line) for line in lines if line.strip()]
    return [Example(row["id"], row["document"], (row["summary"],)) for row in found]


def judgements(
    model: Any, spec: Resolved, probes: Mapping[str, list[Item]]
) -> dict[str, list[Judgement]]:
    """Return what a model makes of every probe."""
    return {
        name: judge(
            model, spec, items, batch_size=16, max_tokens=128, progress=Silent(), title=name
        )
        for name, items in probes.items()
    }


def task_loss(model: Any, spec: Resolved, rows: list[Encoded]) -> float:
    """Return the mean loss of a supervised token of the test rows, in nats."""
    model.eval()
    batcher, sums = collate(spec), torch.zeros(2, dtype=torch.float64)
    for batch in sorted_batches([row.length for row in rows], 8):
        inputs = {k: v.to(model.device) for k, v in batcher([rows[i] for i in batch]).items()}
        with torch.inference_mode():
            sums += torch.stack([x.double().cpu() for x in loss_sum(model, inputs)])
    return float(sums[0] / sums[1])


def main() -> None:
    """Train each case, judge it, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", choices=[[], *CASES])
    parser.add_argument("--rows", type=int, default=64, help="training rows")
    parser.add_argument("--items", type=int, default=100, help="items of each probe")
    parser.add_argument("--steps", type=int, default=48, help="optimiser steps of 4 rows")
    parser.add_argument("--test", type=int, default=60, help="test rows for the gain")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the files go")
    parser.add_argument("--no-sets", action="store_true", help="embedded probes alone")
    args = parser.parse_args()
    spec = resolve(ModelConfig(name="embedded:smollm2-135m"), classify=False, progress=Silent())
    names = ["embedded:text", "embedded:choices"]
    if not args.no_sets:
        names += [str(args.data / f"forgetting/{name}.jsonl") for name in PROBES]
    probes = load_probes(names, args.items, SEED)
    texts = replay_texts("embedded:replay", [item for items in probes.values() for item in items])
    encoder = Encoder(spec, Summarization(), 192, 48)
    folder = args.data / "summarization"
    rows = encoder.all(examples(folder / "scitldr_train.jsonl", args.rows))
    validation = encoder.all(examples(folder / "scitldr_dev.jsonl", VALIDATION))
    test = encoder.all(examples(folder / "scitldr_test.jsonl", args.test))
    base_model = load(spec, (), SEED).model
    base, base_loss = judgements(base_model, spec, probes), task_loss(base_model, spec, test)
    del base_model
    results: dict[str, Any] = {
        "settings": {name: getattr(args, name) for name in ("rows", "items", "steps", "test")},
        "base": {"task_loss": base_loss},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {spec.dtype}",
        "cases": {},
    }
    for name in args.names or CASES:
        settings, remedy = CASES[name]
        began = time.monotonic()
        method = Lora(r=16, lora_alpha=32.0)
        model: Any = method.attach(load(spec, (), SEED).model, "causal", SEED)
        with tempfile.TemporaryDirectory() as scratch:
            train(
                spec,
                model,
                rows,
                validation,
                TrainConfig(
                    **settings,
                    max_steps=args.steps,
                    per_device_train_batch_size=4,
                    eval_steps=args.steps,
                    early_stopping_patience=None,
                ),
                seed=SEED,
                folder=Path(scratch),
                progress=Silent(),
                hooks=method.training(model),
                remedy=remedy,
                texts=texts,
            )
        trained = time.monotonic() - began
        tuned = judgements(model, spec, probes)
        finding = forgetting({probe: (base[probe], tuned[probe]) for probe in probes}, seed=SEED)
        results["cases"][name] = {
            "train": settings,
            "remedy": remedy.model_dump(),
            "task_loss": task_loss(model, spec, test),
            "train_seconds": trained,
            "finding": to_dict(finding),
        }
        if name == "forgetful":
            points = sweep_scales(model, spec, validation, probes["text"], max_tokens=128)
            best = knee(points)
            results["scales"] = [dataclasses.asdict(point) for point in points]
            results["knee"] = None if best is None else best.scale
        _write(results, args.results)
        print(name, finding.verdict, *finding.sentences, sep="\n  ", flush=True)


def _write(results: Mapping[str, Any], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / "forgetting.json").write_text(text + "\n", encoding="utf-8")
    (folder / "forgetting.md").write_text(_table(results), encoding="utf-8")


def _table(results: Mapping[str, Any]) -> str:
    base, settings = results["base"]["task_loss"], results["settings"]
    lines = [
        "# Forgetting, and what holds it back",
        "",
        "Written by `benchmarks/forgetting.py`. SmolLM2-135M-Instruct and LoRA of rank 16 on",
        f"SciTLDR: {settings['rows']} training rows, {settings['steps']} steps of 4 rows; at most "
        f"{settings['items']} items a probe.",
        f"Gain is how much the loss of a supervised token of {settings['test']} test rows fell, "
        f"from {base:.2f} nats.",
        "Perplexity of `embedded:text` rises by a share of the base model's; accuracies fall by",
        "points. 95% intervals in brackets.",
        "",
    ]
    losses = {
        name: {
            f"{item['probe']} {item['metric']}": item for item in case["finding"]["facts"]["losses"]
        }
        for name, case in results["cases"].items()
    }
    shown = [key for key in next(iter(losses.values())) if not key.endswith("_norm")]
    lines += [
        f"| training | gain, nats | {' | '.join(shown)} | verdict | seconds |",
        f"|---|---:|{'---:|' * len(shown)}---|---:|",
    ]
    for name, case in results["cases"].items():
        cells = [_cell(losses[name][key]) for key in shown]
        lines.append(
            f"| {name} | {base - case['task_loss']:.2f} | {' | '.join(cells)} | "
            f"{case['finding']['verdict']} | {case['train_seconds']:.0f} |"
        )
    if "scales" in results:
        lines += [
            "",
            "The forgetful adapter at other scales, on validation rows and the texts; in nats a",
            f"token. The knee is at {results['knee']}.",
            "",
            "| scale | gain | forgetting |",
            "|---:|---:|---:|",
        ]
        lines += [
            f"| {point['scale']} | {point['gain']:.3f} | {point['forgetting']:.3f} |"
            for point in results["scales"]
        ]
    return "\n".join([*lines, "", results["machine"]]) + "\n"


def _cell(item: Mapping[str, Any]) -> str:
    unit = "%" if item["metric"] == "perplexity" else ""
    value, low, high = (100 * item[key] for key in ("loss", "low", "high"))
    return f"{value:+.1f}{unit} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
