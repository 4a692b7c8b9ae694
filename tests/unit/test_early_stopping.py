"""Choosing the best state by the task's own metric: direction, patience, and going on."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file

import tiny
from loratory.codec import read_jsonl
from loratory.config import DataConfig, DecodeConfig, ModelConfig, RunConfig, TrainConfig
from loratory.errors import ConfigError, RunError
from loratory.evaluation.overfitting import LOSSES, RowLosses
from loratory.methods.lora import Lora
from loratory.metrics.base import METRICS
from loratory.tasks.summarization import Summarization
from loratory.tuning.batch import collate
from loratory.tuning.loss import loss_sum
from loratory.tuning.validation import goal_for, row_losses, sampled
from tiny_run import KillAt, Killed, Run

SLOW = pytest.mark.slow
RUINOUS = {
    "max_steps": 30,
    "eval_steps": 1,
    "learning_rate": 0.2,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "early_stopping_patience": 3,
}


class GoalRun(Run):
    """A tiny run whose best state is the best by a metric."""

    def __init__(self, *args, metrics=("rouge", "chrf"), classify=False, **options):
        super().__init__(*args, classify=classify, **options)
        self.task = tiny.two_classes() if classify else Summarization()
        self.metrics = tuple(METRICS.get(name)() for name in metrics)
        self.examples = tiny.examples(24, labels=bool(classify))[18:]

    def goal(self, **changes):
        config = RunConfig(
            model=ModelConfig(name="tiny"),
            data=DataConfig(name="tiny"),
            task=self.task,
            method=self.method,
            train=TrainConfig(**{**self.SETTINGS, **changes}),
            decode=DecodeConfig(max_new_tokens=6),
            metrics=self.metrics,
        )
        return goal_for(config, tiny.encoder(self.spec, self.task), self.examples)

    def train(self, seed=3, progress=None, **changes):
        self.asked = self.goal(**changes)
        return super().train(seed, progress, goal=self.asked, **changes)


@pytest.fixture
def fresh(tiny_models, tmp_path):
    """Return a function: a name to a `GoalRun` in a folder of that name, its model as at first."""

    def make(name="run", model="llama", **options) -> GoalRun:
        options.setdefault("method", Lora(r=2, lora_dropout=0.1))
        return GoalRun(tiny_models(model), tmp_path / name, **options)

    return make


@pytest.mark.parametrize(
    ("model", "classify", "name", "better"),
    [
        ("llama", False, "chrf", max),
        pytest.param("t5", False, "chrf", max, marks=SLOW),
        ("bert", True, "ece", min),  # lower is better
        pytest.param("llama", True, "ece", min, marks=SLOW),  # by the likelihood of label words
    ],
)
def test_the_best_state_is_best_by_the_metric(model, classify, name, better, fresh):
    run = fresh(
        model=model, classify=classify, metrics=("classification",) if classify else ("chrf",)
    )
    done = run.train(**{**RUINOUS, "max_steps": 8}, metric_for_best_model=name)
    key = f"eval_{name}"
    measured = [line for line in run.log() if key in line]
    assert len(measured) == done.steps
    best = better(measured, key=lambda line: line[key])  # the first of equals
    assert (done.metric, done.best_step, done.best_value) == (name, best["step"], best[key])
    assert done.best_eval_loss == best["eval_loss"]
    assert 0 < done.generate_seconds < done.validation_seconds
    assert 0 < done.validation_share < 1
    # What is saved is that state, and it is the state of the model in memory.
    kept = run.folder / "checkpoints" / f"checkpoint-{done.best_step}"
    saved = load_file(run.folder / "adapter" / "adapter_model.safetensors")
    for key, value in load_file(kept / "adapter_model.safetensors").items():
        assert torch.equal(saved[key], value)
    assert run.asked.measure(run.model) == pytest.approx(done.best_value, abs=1e-6)


def test_patience_and_minimum_change_count_in_the_metrics_direction(fresh):
    """Gains no larger than the threshold are no gains: with one of 2, nothing ever gains."""
    run = fresh(metrics=("chrf",))
    settings = {**RUINOUS, "metric_for_best_model": "chrf"}
    done = run.train(**settings, early_stopping_threshold=2.0)
    # The first is better than nothing at all; then three without gain.
    assert done.stopped_early and done.steps == 4


def test_a_killed_run_by_a_metric_ends_as_an_undisturbed_one(fresh):
    settings = {**RUINOUS, "metric_for_best_model": "chrf", "early_stopping_threshold": 2.0}
    whole = fresh("whole", metrics=("chrf",))
    expected = whole.train(**settings)
    assert expected.stopped_early
    with pytest.raises(Killed):
        fresh(metrics=("chrf",)).train(progress=KillAt(expected.steps - 1), **settings)
    again = fresh(metrics=("chrf",))
    found = again.train(**settings)
    assert (found.steps, found.best_step, found.best_value, found.stopped_early) == (
        expected.steps,
        expected.best_step,
        expected.best_value,
        True,
    )
    assert again.log() == whole.log()
    assert again.bytes() == whole.bytes()
    lines = [(run.folder / LOSSES).read_text() for run in (whole, again)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("model", "classify"),
    [
        ("llama", False),
        pytest.param("t5", False, marks=SLOW),
        pytest.param("bert", True, marks=SLOW),
    ],
)
def test_asking_for_answers_changes_no_step_of_training(model, classify, fresh):
    """Answering in the midst of training leaves weights, dropout and settings as they were."""
    metrics = ("classification",) if classify else ("chrf",)
    settings = {"max_steps": 6, "eval_steps": 2, "activation_checkpointing": True}
    runs = []
    for number, name in enumerate(("loss", "ece" if classify else "chrf")):
        run = fresh(f"run{number}", model, classify=classify, metrics=metrics)
        before = getattr(run.model.get_base_model(), "generation_config", None)
        run.train(**settings, metric_for_best_model=name, early_stopping_patience=None)
        assert getattr(run.model.get_base_model(), "generation_config", None) is before
        runs.append([(line.get("loss"), line.get("eval_loss")) for line in run.log()])
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rougel", r"unknown 'rougel'\. Did you mean 'rougeL'\? Available: .*loss, rouge1"),
        ("words", "neither better when larger nor when smaller"),
    ],
)
def test_a_value_that_cannot_decide_is_refused(name, says, fresh):
    run = fresh(metrics=("rouge", "length"))
    with pytest.raises(ConfigError, match=rf"train\.metric_for_best_model: .*{says}"):
        run.goal(metric_for_best_model=name)
    assert run.goal(metric_for_best_model="loss") is None


def test_an_undefined_value_is_one_sentence(fresh, monkeypatch):
    run = fresh(metrics=("bleu",))
    goal = run.goal(metric_for_best_model="bleu")
    monkeypatch.setattr(type(goal.metric), "reduce", lambda self, totals: {"bleu": math.nan})
    with pytest.raises(RunError, match=r"bleu is undefined on the 6 validation rows"):
        goal.measure(run.model)


def test_no_more_rows_are_answered_than_asked_for(fresh):
    run = fresh(metrics=("chrf",))
    goal = run.goal(metric_for_best_model="chrf", eval_generate_rows=3)
    assert len(goal.examples) == 3
    head = fresh("head", "bert", classify=True, metrics=("classification",))
    asked = head.goal(metric_for_best_model="accuracy", eval_generate_rows=3)
    assert len(asked.examples) == 6  # a head answers all, at the price of the loss


def test_samples_are_seeded_and_ascending():
    assert sampled(5, 9, 0) == [0, 1, 2, 3, 4]
    drawn = sampled(1000, 10, 0)
    assert drawn == sorted(set(drawn)) == sampled(1000, 10, 0) != sampled(1000, 10, 1)
    assert len(drawn) == 10


@pytest.mark.parametrize(
    ("name", "classify"), [("llama", False), ("t5", False), ("bert", True), ("llama", "head")]
)
def test_losses_of_rows_add_up_to_the_loss(name, classify, fresh):
    run = fresh("z", name, classify=classify, metrics=())
    shift = getattr(run.model, "prepare_decoder_input_ids_from_labels", None)
    batcher = collate(run.spec, shift)
    run.model.eval()
    with torch.no_grad():
        found = row_losses(run.model, batcher(run.rows))
        total, count = loss_sum(run.model, batcher(run.rows))
        for row, losses in zip(run.rows, found.tolist(), strict=True):
            alone = loss_sum(run.model, batcher([row]))
            assert losses == pytest.approx([float(x) for x in alone], rel=1e-5)
    assert found.sum(dim=0).tolist() == pytest.approx([float(total), float(count)], rel=1e-6)


def test_every_validation_leaves_the_losses_of_both_kinds_of_rows(fresh):
    run = fresh()
    run.train(max_steps=4, eval_steps=2)
    left = read_jsonl(run.folder / LOSSES, RowLosses)
    logged = [line for line in run.log() if "eval_loss" in line]
    assert [x.step for x in left] == [line["step"] for line in logged] == [2, 4]
    for losses, line in zip(left, logged, strict=True):
        assert len(losses.validation) == len(losses.training) == 6
        mean = sum(losses.validation) / sum(losses.validation_tokens)
        assert mean == pytest.approx(line["eval_loss"], abs=1e-12)
        trained = sum(losses.training) / sum(losses.training_tokens)
        assert trained == pytest.approx(line["eval_train_loss"], abs=1e-12)
    assert json.loads((run.folder / LOSSES).read_text().splitlines()[0])["v"] == 1
