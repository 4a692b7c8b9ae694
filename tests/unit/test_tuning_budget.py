"""Training that stops by tokens read or by seconds."""

import json

import pytest

import tiny_run


def steps(run: tiny_run.Run) -> list[int]:
    return [line["step"] for line in run.log() if "loss" in line]


def test_tokens(tiny_models, tmp_path) -> None:
    run = tiny_run.Run(tiny_models("llama"), tmp_path / "whole")
    whole = run.train()
    lengths = sum(row.length for row in run.rows)
    short = tiny_run.Run(tiny_models("llama"), tmp_path / "short")
    trained = short.train(max_tokens=lengths // 2)
    assert 0 < trained.steps < whole.steps and not trained.stopped_early
    # The last state was validated and may be the best.
    assert any("eval_loss" in line and line["step"] == trained.steps for line in short.log())
    assert run.log()[0]["loss"] == short.log()[0]["loss"]


def test_seconds(tiny_models, tmp_path) -> None:
    run = tiny_run.Run(tiny_models("llama"), tmp_path / "run")
    trained = run.train(max_seconds=1e-3)
    assert trained.steps == 1 and not trained.stopped_early


@pytest.mark.parametrize("budget", [{"max_tokens": 1}, {"max_seconds": 1e-3}])
def test_a_budget_that_was_used_up_stays_so(tiny_models, tmp_path, budget) -> None:
    first = tiny_run.Run(tiny_models("llama"), tmp_path / "run")
    trained = first.train(**budget)
    again = tiny_run.Run(tiny_models("llama"), tmp_path / "run")
    assert again.train(**budget).steps == trained.steps == 1
    state = json.loads(
        (tmp_path / "run/checkpoints/checkpoint-1/trainer_state.json").read_text("utf-8")
    )
    assert state["stateful_callbacks"]["Budget"]["args"]["done"] is True
