"""The figures of the speed benchmark, written as JSON and read out as tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
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
    if result.get("limit"):
        lines[-1] += f" oneDNN was held to {result['limit']} (`ONEDNN_MAX_CPU_ISA`)."
    for name, part in result["training"].items():
        lines += [
            "",
            f"## Training, {name}",
            "",
            f"{part['tokens'] / result['rows']:.0f} tokens a row"
            f"{_rounds(part['tools']['loratory']['runs'], rounds)}.",
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
    if "longer" in result:
        part = result["longer"]
        seconds = statistics.median(run["seconds"] for run in part["runs"])
        lines += [
            "",
            f"Of {part['rows']} docstrings Loratory trains {part['rows'] / seconds:.2f} a second, "
            f"at {part['operations'] / seconds / peak:.1%} of the peak: what is done once weighs "
            f"less{_rounds(part['runs'], rounds)}.",
        ]
    for name, part in result["decoding"].items():
        worth = part["worth"].values()
        said = (
            "The tuned model answers held-out rows. Beside: how many, how many of the answers are "
            "those of float32, token by token (bfloat16 rounds otherwise in each tool), and their "
            "mean F of ROUGE-L."
        )
        beside = {
            "rows": [str(tool["rows"]) for tool in worth],
            "as in float32": [f"{tool['same']:.0%}" for tool in worth],
            "ROUGE-L": [f"{tool['rouge_l']:.1f}" for tool in worth],
        }
        lines += _section(f"Answers, {name}", said, "rows", part["tools"], rounds, beside)
    for name, part in result["likelihood"].items():
        said = (
            "The base model judges the options of questions. The tools' log-likelihoods are "
            f"{part['apart']:.3f} nats apart at the median, {part['furthest']:.2f} at most: both "
            "compute in bfloat16."
        )
        lines += _section(f"Multiple choice, {name}", said, "questions", part["tools"], rounds)
    for name, part in result["classification"].items():
        said = (
            f"MiniLM, LoRA of rank 8, {part['rows']['train']} reviews cut at 512 tokens, batches "
            f"of 8, one epoch; loss and accuracy on {part['rows']['test']} others."
        )
        once = [runs[0] for runs in part["tools"].values()]
        beside = {
            "loss": [f"{run['held_out_loss']:.3f}" for run in once],
            "accuracy": [f"{100 * run['accuracy']:.1f}" for run in once],
        }
        title = f"Classification with a head, {name}"
        lines += _section(title, said, "rows", part["tools"], rounds, beside)
    if "first_steps" in result:
        lines += _starting(result)
    lines += ["", f"{hardware_['cpu']}, {hardware_['cores']} cores."]
    return "\n".join(lines) + "\n"


def _starting(result: Mapping[str, Any]) -> list[str]:
    times = {name: statistics.median(taken) for name, taken in result["starts"].items()}
    share = times["loratory"] / times["trl"]
    new, *warm = result["first_steps"]
    known = {part: statistics.median(one[part] for one in warm) for part in new}
    return [
        "",
        "## Starting",
        "",
        f"`loratory --help` takes {times['loratory']:.3f} s, `trl --help` {times['trl']:.3f} s: "
        f"{share:.2f} of it.",
        "",
        f"The demo's first step begins {known['libraries'] + known['rest']:.1f} s after its "
        f"process: {known['libraries']:.1f} s of importing libraries, {known['rest']:.1f} s of its "
        f"own. With an empty cache, these are {new['rest']:.1f} s.",
    ]


def _rounds(runs: Sequence[Any], usual: int) -> str:
    """Return how many rounds there were, where that is not what the table says."""
    if len(runs) == usual:
        return ""
    return f"; {len(runs)} round{'s' if len(runs) > 1 else ''}"


def _section(
    title: str,
    said: str,
    unit: str,
    tools: Mapping[str, Sequence[Mapping[str, Any]]],
    usual: int,
    beside: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[str]:
    """Return a heading, a sentence, and a line a tool, with further columns where there are any."""
    heads = ["tool", f"{unit} a second", "times the first", "peak memory", *beside]
    rates = [statistics.median(run["rows"] / run["seconds"] for run in x) for x in tools.values()]
    told = _rounds(next(iter(tools.values())), usual).removeprefix("; ")
    said = f"{said} {told.capitalize()}." if told else said
    lines = ["", f"## {title}", "", said, "", f"| {' | '.join(heads)} |"]
    lines.append(f"|---|{'--:|' * (len(heads) - 1)}")
    for i, (tool, runs) in enumerate(tools.items()):
        memory = statistics.median(run["peak_bytes"] for run in runs) / 2**30
        cells = [tool, f"{rates[i]:.2f}", f"{rates[i] / rates[0]:.1f}", f"{memory:.2f} GiB"]
        lines.append(f"| {' | '.join([*cells, *(values[i] for values in beside.values())])} |")
    return lines
