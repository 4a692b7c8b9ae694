"""Every number ROUGE-1.5.5 printed, to its five places.

Three sets, all obtained by running the script: the shared vectors (37 real cases), cases with
generated texts and options (`rouge155_printed.json`) and the words it takes for equal
(`rouge155_stems.txt`: one class a line, told apart within each first letter).
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from loratory.metrics.rouge.rouge155 import Rouge155Options, Rouge155Result, rouge155
from loratory.metrics.rouge.rouge155.stem import stem
from realdata import real_data

HERE = Path(__file__).parent
PRINTED = json.loads((HERE / "rouge155_printed.json").read_text(encoding="utf-8"))["cases"]
CASES = 37


@cache
def vectors() -> list[dict[str, Any]]:
    path = real_data("rouge/rouge155_vectors.json")
    cases: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return cases


def readable(case: dict[str, Any]) -> dict[str, Any]:
    """Return the script's letters as the names of `Rouge155Options`."""
    letters = case["options"]
    weight = letters["w"]
    if weight is not None and "." not in case["args"][case["args"].index("-w") + 1]:
        weight = int(weight)  # the script names the score as the argument was written
    return {
        "max_n": letters["n"] or 0,
        "lcs": not letters["x"],
        "weight": weight,
        "skip_gap": letters["skip"],
        "skip_units": "both" if letters["U"] else "pairs_and_words" if letters["u"] else "pairs",
        "basic_elements": letters["be"],
        "stem": letters["m"],
        "remove_stop_words": letters["s"],
        "max_words": letters["l"] or 0,
        "max_bytes": letters["b"] or 0,
        "alpha": letters["p"],
        "references": {"A": "average", "B": "best"}[letters["f"]],
        "average_over": ("evaluations", "words", "counts")[letters["t"]],
        "confidence": letters["c"],
        "samples": letters["r"],
    }


def printed(result: Rouge155Result) -> dict[str, dict[str, Any]]:
    """Return the averages as the vectors write them."""
    shown: dict[str, dict[str, Any]] = {}
    for name, average in result.averages.items():
        shown[name] = {}
        for letter, value in zip("RPF", average, strict=True):
            shown[name][letter] = float(f"{value.mean:.5f}")
            ends = (value.low, value.high)
            shown[name][f"{letter}_ci"] = [float(f"{end:.5f}") for end in ends]
    return shown


def totals(result: Rouge155Result) -> dict[str, dict[str, int]]:
    keys = ("M_count", "P_count", "H_count")
    return {
        name: dict(
            zip(keys, (int(sum(column)) for column in zip(*counts, strict=True)), strict=True)
        )
        for name, counts in result.counts.items()
    }


@pytest.mark.parametrize("number", range(CASES))
def test_vector(number: int) -> None:
    assert len(vectors()) == CASES
    case = vectors()[number]
    evaluations = [(item["peer"], item["models"]) for item in case["evals"]]
    chosen = readable(case)
    result = rouge155(evaluations, Rouge155Options(**chosen))
    show = totals if chosen["average_over"] == "counts" else printed
    assert show(result) == case["expected"], case["id"]
    rows = result.scores if chosen["average_over"] == "evaluations" else result.counts
    for name, each in case["expected_per_eval"].items():
        shown = [[float(f"{value:.15g}") for value in row] for row in rows[name]]
        found = dict(zip(result.ids, shown, strict=True))
        assert found == each, (case["id"], name)
    if without := case.get("expected_with_empty_wordnet_db"):
        plain = rouge155(evaluations, Rouge155Options(**chosen, irregular_forms=False))
        assert show(plain) == without, case["id"]


@pytest.mark.parametrize("case", PRINTED, ids=lambda case: " ".join(case["args"]))
def test_printed_lines(case: dict[str, Any]) -> None:
    evaluations = [(prediction, references) for prediction, references in case["evaluations"]]
    result = rouge155(evaluations, Rouge155Options(**case["options"]))
    assert result.text(each=True).splitlines() == case["printed"]


def test_stems_fall_into_the_scripts_classes() -> None:
    lines = (HERE / "rouge155_stems.txt").read_text(encoding="ascii").splitlines()
    found = defaultdict(list)
    for word in " ".join(lines).split():
        found[word[0], stem(word)].append(word)
    assert sorted(map(sorted, found.values())) == sorted(sorted(line.split()) for line in lines)
