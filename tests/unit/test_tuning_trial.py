"""The few steps of `loratory plan`: taken as in training, and scaled to what a budget allows."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

import tiny
import tiny_run
from crossed import crossed
from loratory.config import from_mapping
from loratory.errors import ConfigError
from loratory.progress import Silent
from loratory.tuning import trial as trials
from loratory.tuning.model import load
from loratory.tuning.regularise import Remedies
from loratory.tuning.steps import an_epoch, steps_for_seconds, steps_for_tokens, total_steps
from loratory.tuning.trial import _whole, try_out


def config_of(method="lora", remedy=None, **train):
    """A recipe by which `tiny_run.Run` trains: batches of 4, seed 3."""
    return from_mapping(
        {
            "model": "m",
            "seed": 3,
            "data": {"name": "d", "max_target_tokens": 8},
            "task": "summarization",
            "method": method,
            "train": {**tiny_run.Run.SETTINGS, **train},
            "decode": {"batch_size": 2},
            "remedy": remedy or {},
        }
    )


def tried(path, config, steps=3, texts=()):
    spec = tiny.spec(path)
    loaded = load(spec, (), 0)
    model = config.method.attach(loaded.model, spec.family, config.seed, loaded.heads)
    encoder, examples = tiny.encoder(spec), tiny.examples(24)
    rows = encoder.all(examples)
    split = {"train": rows[:18], "validation": rows[18:]}
    asked = {"validation": examples[18:], "test": examples[:2]}
    told = try_out(loaded, model, encoder, split, asked, config, steps, Silent(), texts)
    return told, model


class Told:
    """Writes down what a method's hooks are told, and passes it on."""

    def __init__(self, monkeypatch, config):
        self.calls = []
        cls, real = type(config.method), type(config.method).training
        monkeypatch.setattr(cls, "training", lambda method, model: self.around(real(method, model)))

    def around(self, hooks):
        changed = {}
        for name in ("begin", "after_step", "penalty", "start", "start_on_texts"):
            if (call := getattr(hooks, name)) is not None:
                changed[name] = self.noting(name, call)
        return dataclasses.replace(hooks, **changed)

    def noting(self, name, call):
        def noted(*args):
            self.calls.append((name, args))
            return call(*args)

        return noted


def test_a_penalty_and_calls_after_steps_are_those_of_training(tiny_models, monkeypatch):
    config = config_of(
        {"name": "adalora", "init_r": 3, "target_r": 2}, gradient_accumulation_steps=2
    )
    told = Told(monkeypatch, config)
    trial, model = tried(tiny_models("llama"), config)
    # Three steps of two batches; the last step of the five-batch epoch has one. Six in the whole.
    assert told.calls[0] == ("begin", (0, 6)) and trial.training_steps == 6
    steps = [args for name, args in told.calls if name == "after_step"]
    assert steps == [(1,), (2,), (3,)]
    assert 4 <= sum(name == "penalty" for name, _ in told.calls) <= 6
    assert told.calls[-1][0] == "after_step"
    assert model.base_model.rankallocator.ipt  # it saw the gradients before they were cleared


def test_too_few_steps_for_the_method_are_said_as_in_training(tiny_models):
    config = config_of({"name": "adalora", "tinit": 5, "tfinal": 5})
    with pytest.raises(ConfigError, match="none of the 10 steps"):
        tried(tiny_models("llama"), config)


def test_a_start_is_drawn_from_rows_and_belongs_to_the_time(tiny_models, monkeypatch):
    config = config_of({"name": "lora", "r": 2, "init_lora_weights": "eva"})
    told = Told(monkeypatch, config)
    trial, _ = tried(tiny_models("llama"), config)
    assert [name for name, _ in told.calls] == ["start"]
    assert 0 < trial.start < trial.training.low
    assert tried(tiny_models("llama"), config_of())[0].start == 0


def test_a_start_from_general_texts_belongs_to_the_time_too(tiny_models, monkeypatch):
    config = config_of({"name": "lora", "r": 2, "init_lora_weights": "corda"})
    told = Told(monkeypatch, config)
    trial, _ = tried(tiny_models("llama"), config, texts=["a cat sat on the mat", "good film"])
    assert [name for name, _ in told.calls] == ["start_on_texts"]
    assert 0 < trial.start < trial.training.low


def test_remedies_are_part_of_every_step(tiny_models, monkeypatch):
    seen = []
    real = Remedies.added

    def noted(remedies, model, batch, logits, step):
        seen.append((step, remedies.replay.size, remedies.config.kl_weight))
        return real(remedies, model, batch, logits, step)

    monkeypatch.setattr(Remedies, "added", noted)
    config = config_of(
        remedy={"replay_share": 0.5, "kl_weight": 0.3}, gradient_accumulation_steps=2
    )
    tried(tiny_models("llama"), config, texts=["a cat sat on the mat", "good film"])
    assert {step for step, *_ in seen} == {0, 1, 2}  # of two batches each, or one at the end
    assert {tuple(rest) for _, *rest in seen} == {(2, 0.3)}


def test_validations_answer_rows_where_a_metric_decides(tiny_models, monkeypatch):
    asked = []
    real = trials._answers

    def noted(model, encoder, rows, config):
        asked.append(len(rows))
        return real(model, encoder, rows, config)

    monkeypatch.setattr(trials, "_answers", noted)
    tried(tiny_models("llama"), config_of())
    assert asked == [2, 2]  # base and tuned model answer the test rows
    tried(tiny_models("llama"), config_of(metric_for_best_model="rouge1", eval_generate_rows=5))
    assert asked[2:] == [5, 2, 2]


def test_validation_measures_training_rows_as_well(tiny_models, monkeypatch):
    measured = []
    real = trials._validation
    monkeypatch.setattr(
        trials,
        "_validation",
        lambda model, batcher, rows, config: (
            measured.append(len(rows)) or real(model, batcher, rows, config)
        ),
    )
    tried(tiny_models("llama"), config_of())
    assert measured == [6, 6]  # six validation rows, and as many that are trained on


def test_learning_rates_are_the_method_s(tiny_models, monkeypatch):
    made = []
    real = torch.optim.AdamW

    def kept(*args, **kwargs):
        made.append(real(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr("loratory.tuning.trial.torch.optim.AdamW", kept)
    tried(tiny_models("llama"), config_of({"name": "lora", "loraplus_lr_ratio": 16}))
    rates = sorted(group["lr"] for group in made[0].param_groups)
    assert rates == pytest.approx([5e-3, 16 * 5e-3])


@crossed(name=["llama", "bert", "t5"], accumulated=[1, 2])
def test_tokens_end_a_training_where_the_plan_says(name, accumulated, tiny_models, tmp_path):
    for i, share in enumerate((0.3, 1.2)):
        run = tiny_run.Run(tiny_models(name), tmp_path / str(i), name == "bert")
        spoken = name == "llama"
        read = sum(len(r.prompt) + (len(r.answer) - 1 if spoken else 0) for r in run.rows)
        train = {"max_tokens": int(share * read), "gradient_accumulation_steps": accumulated}
        config = config_of(**train)
        planned = total_steps(len(run.rows), config)
        expected = steps_for_tokens(run.rows, run.spec.family, config, planned)
        assert 0 < expected < planned
        assert run.train(**train).steps == expected


@pytest.mark.parametrize(("name", "classify"), [("llama", False), ("bert", True)])
def test_padding_is_not_read(name, classify, tiny_models, tmp_path):
    """The default pads a decoder with its end token, and its batches have no attention mask."""
    run = tiny_run.Run(tiny_models(name), tmp_path, classify)
    run.train(max_tokens=10**9, max_steps=5)
    state = json.loads(
        (tmp_path / "checkpoints/checkpoint-5/trainer_state.json").read_text("utf-8")
    )
    read = sum(len(row.prompt) + max(len(row.answer) - 1, 0) for row in run.rows)
    assert state["num_input_tokens_seen"] == read
    batches = an_epoch(run.rows, config_of())
    assert sum(step.tokens for step in batches) > sum(row.length for row in run.rows)  # padded


def test_a_limit_beyond_the_rows_changes_nothing(tiny_models):
    rows = tiny.encoder(tiny.spec(tiny_models("llama"))).all(tiny.examples(18))
    assert steps_for_tokens(rows, "causal", config_of(), 10) == 10
    assert steps_for_tokens(rows, "causal", config_of(max_tokens=10**9), 10) == 10
    assert steps_for_tokens(rows, "causal", config_of(max_tokens=1), 10) == 1


def test_an_epoch_has_every_row_once(tiny_models):
    rows = tiny.encoder(tiny.spec(tiny_models("llama"))).all(tiny.examples(18))
    for epoch in (0, 1):
        steps = an_epoch(rows, config_of(gradient_accumulation_steps=2), epoch)
        assert [len(step.batches) for step in steps] == [2, 2, 1]
        assert sorted(i for step in steps for b in step.batches for i in b) == list(range(18))


@pytest.mark.parametrize(
    ("limit", "steps"), [(None, 10), (0.1, 1), (2.0, 1), (2.1, 2), (19.9, 10), (20.0, 10), (99, 10)]
)
def test_seconds_end_it_at_the_first_step_that_reaches_them(limit, steps):
    assert steps_for_seconds(lambda n: 2.0 * n, limit, 10) == steps


def test_validations_are_part_of_the_seconds_and_the_last_step_has_one():
    # Steps of 1 s, a validation of 2 s after every third: 1 2 5 6 7 10 …
    assert _whole(1.0, 2.0, 3, None, 10) == (10, 10.0, 8.0)
    assert _whole(1.0, 2.0, 3, 4.5, 10) == (3, 3.0, 2.0)
    assert _whole(1.0, 2.0, 3, 7.0, 10) == (5, 5.0, 4.0)


def test_a_limit_in_seconds_shortens_the_time(tiny_models):
    whole, _ = tried(tiny_models("llama"), config_of())
    short, _ = tried(tiny_models("llama"), config_of(max_seconds=1e-6))
    assert whole.training_steps == 10 and short.training_steps == 1
    assert short.training.high < whole.training.low
    assert short.validation.expected <= short.training.expected
