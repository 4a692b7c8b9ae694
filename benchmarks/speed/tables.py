"""The figures of the speed benchmark, written as JSON and read out as tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "keep", "table"]

RESULTS = Path(__file__).parent.parent / "results"


def keep(result: Mapping[str, Any], folder: Path) -> None:
    """Write what there is so far."""
    folder.mkdir(exist_ok=True)
    (folder / "speed.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / "speed.md").write_text(table(result), encoding="utf-8")


def table(result: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    peak = statistics.median(result["gemm_peak"])
    hardware_, rounds = result["hardware"], result["rounds"]
    lines = [
        "# Speed and memory",
        "",
        "Written by `python -m benchmarks.speed DATA`. SmolLM2-135M-Instruct, LoRA of rank 8 on",
        f"all linear layers, {result['rows']} rows, batches of 8, one epoch. Medians of {rounds}",
        "rounds in which the tools took turns. Held-out loss is of a supervised token, in nats,",
        "measured in the same way for all. The most a bfloat16 product reached here is "
        f"{peak / 1e9:,.0f} GFLOP/s.",
    ]
    for name, part in result["training"].items():
        lines += [
            "",
            f"## Training, {name}",
            "",
            f"{part['tokens'] / result['rows']:.0f} tokens a row.",
            "",
            "| tool | rows a second | times the first | peak memory | of the first | "
            "held-out loss | useful share of the peak |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        medians = {
            tool: (
                statistics.median(run["seconds"] for run in item["runs"]),
                statistics.median(run["peak_bytes"] for run in item["runs"]),
            )
            for tool, item in part["tools"].items()
        }
        first = next(iter(medians.values()))
        for tool, (seconds, memory) in medians.items():
            lines.append(
                f"| {tool} | {result['rows'] / seconds:.2f} | {first[0] / seconds:.1f} | "
                f"{memory / 2**30:.2f} GiB | {memory / first[1]:.2f} | "
                f"{part['tools'][tool]['held_out_loss']:.3f} | "
                f"{part['operations'] / seconds / peak:.1%} |"
            )
    for name, part in result["decoding"].items():
        lines += [
            "",
            f"## Answers, {name}",
            "",
            f"The tuned model answers held-out rows. {part['same']:.0%} of Loratory's answers are "
            "those of batches of eight, token by token; bfloat16 rounds differently in each.",
            "",
            "| tool | rows a second | times the first | peak memory |",
            "|---|--:|--:|--:|",
        ]
        lines += _rates(part["tools"])
    for name, part in result["likelihood"].items():
        lines += [
            "",
            f"## Multiple choice, {name}",
            "",
            "The base model judges the options of questions. The tools' log-likelihoods are "
            f"{part['apart']:.3f} nats apart at the median, {part['furthest']:.2f} at most: both "
            "compute in bfloat16.",
            "",
            "| tool | questions a second | times the first | peak memory |",
            "|---|--:|--:|--:|",
        ]
        lines += _rates(part["tools"])
    for name, part in result["classification"].items():
        lines += [
            "",
            f"## Classification with a head, {name}",
            "",
            f"MiniLM, LoRA of rank 8, {part['rows']['train']} reviews cut at 512 tokens, batches "
            f"of 8, one epoch; loss and accuracy on {part['rows']['test']} others.",
            "",
            "| tool | rows a second | times the first | peak memory | loss | accuracy |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for line, runs in zip(_rates(part["tools"]), part["tools"].values(), strict=True):
            lines.append(
                f"{line} {runs[0]['held_out_loss']:.3f} | {100 * runs[0]['accuracy']:.1f} |"
            )
    times = {name: statistics.median(taken) for name, taken in result["starts"].items()}
    share = times["loratory"] / times["trl"]
    lines += [
        "",
        "## Starting",
        "",
        f"`loratory --help` takes {times['loratory']:.2f} s, `trl --help` {times['trl']:.2f} s: "
        f"{share:.2f} of it.",
        "",
        f"{hardware_['cpu']}, {hardware_['cores']} cores.",
    ]
    return "\n".join(lines) + "\n"


def _rates(tools: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    rates = {
        tool: statistics.median(run["rows"] / run["seconds"] for run in runs)
        for tool, runs in tools.items()
    }
    lines = []
    for tool, rate in rates.items():
        memory = statistics.median(run["peak_bytes"] for run in tools[tool])
        lines.append(
            f"| {tool} | {rate:.2f} | {rate / next(iter(rates.values())):.1f} | "
            f"{memory / 2**30:.2f} GiB |"
        )
    return lines
