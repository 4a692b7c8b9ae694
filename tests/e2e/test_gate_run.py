"""The gate on a finished run: its exit status, and what it says."""

from __future__ import annotations

import json


def test_the_gate_exits_with_0_or_1_or_2(cli, finished) -> None:
    run = finished("classification")
    kept = json.loads((run / "findings" / "leakage.json").read_text())["finding"]
    answer = cli("gate", run, "--no-leakage", "--json")
    found = json.loads(answer.out)
    assert found["passed"] is (kept["verdict"] == "no sign")
    assert answer.code == (0 if found["passed"] else 1)
    # A classification head gives no likelihood of a text, so its forgetting is not known.
    unknown = cli("gate", run, "--max-forgetting", "100")
    assert unknown.code == 1 and unknown.out.startswith("failed  Forgetting is not known")
    assert cli("gate", run, "--min-gain", "1000").code == 1
    nothing = cli("gate", run)
    assert nothing.code == 2 and "no condition was given" in nothing.err
