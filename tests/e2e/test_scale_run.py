"""The command `scale` on a finished run: what it measures, shows and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from loratory.runs import Run


def test_the_scales_reach_finding_report_and_screen(cli, finished) -> None:
    run = finished()
    before = Run.open(run)
    adapter = load_file(run / "adapter" / "adapter_model.safetensors")
    told = before.findings()["forgetting"]
    answer = cli("scale", run, "--scales", "0.5,2")
    assert answer.code == 0, answer.err
    points = {point.scale: point for point in before.scales()}
    assert list(points) == [0, 0.5, 1, 2]
    assert points[0].gain == points[0].forgetting == 0
    # A tiny model after four steps: small changes, but changes.
    assert points[2].gain != points[1].gain != points[0.5].gain != 0
    finding = before.findings()["forgetting"]
    assert finding.sentences[:-1] == told.sentences and finding.verdict == told.verdict
    assert [item["scale"] for item in finding.facts["scales"]] == [0, 0.5, 1, 2]
    assert finding.sentences[-1] in answer.out
    assert [line.split()[0] for line in answer.out.splitlines()[2:6]] == ["0", "0.5", "1", "2"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Gain on the task against forgetting" in page and "The scales as a table" in page
    assert before.manifest()["status"] == "complete"
    # The adapter in the folder is the one that was trained.
    after = load_file(run / "adapter" / "adapter_model.safetensors")
    assert all((after[name] == tensor).all() for name, tensor in adapter.items())


def test_a_second_sweep_takes_the_place_of_the_first_and_compare_keeps_it(cli, finished) -> None:
    run = finished()
    assert cli("scale", run, "--scales", "0.5,2").code == 0
    assert cli("scale", run, "--scales", "0.5", "--json").code == 0
    once = Run.open(run).findings()["forgetting"]
    assert [item["scale"] for item in once.facts["scales"]] == [0, 0.5, 1]
    assert cli("compare", run).code == 0
    assert Run.open(run).findings()["forgetting"] == once


def test_json_has_every_point_and_the_knee(cli, finished) -> None:
    run = finished()
    found = json.loads(cli("scale", run, "--scales", "0.5", "--json").out)
    assert set(found) == {"scales", "knee"} and len(found["scales"]) == 3
    assert all({"scale", "gain", "forgetting"} <= set(point) for point in found["scales"])


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        ("1", "0 and 1 are always taken; give one more"),
        ("0.5,-1", "got -1; give numbers from 0"),
        ("nan", "got nan; give numbers from 0"),
        ("half", "'half' is no list of numbers"),
    ],
)
def test_scales_that_are_none(cli, finished, scales: str, said: str) -> None:
    answer = cli("scale", finished(), "--scales", scales)
    assert answer.code == 2 and said in answer.err


def test_a_head_has_no_scale_and_the_run_stays_whole(cli, finished) -> None:
    run = finished("classification")
    answer = cli("scale", run)
    assert answer.code == 2 and "modules trained whole, such as a head" in answer.err
    assert Run.open(run).manifest()["status"] == "complete"


def test_a_run_that_was_not_probed(cli, recipe) -> None:
    run = Path(json.loads(cli("prepare", recipe(), "--json").out)["run"])
    answer = cli("scale", run)
    assert answer.code == 2 and f"loratory train {run}" in answer.err
