"""Training: exact losses, only what should be trained, the best state kept, repeatable."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import tiny
from crossed import few
from loratory.errors import RunError
from loratory.methods.lora import Lora
from loratory.tuning.batch import collate
from loratory.tuning.loss import loss_sum
from loratory.tuning.trainer import LikeLength
from tiny_run import Run

SLOW = pytest.mark.slow  # of each kind one or two stay among the fast tests


@pytest.fixture
def fresh(tiny_models, tmp_path):
    """Return a function: a model's name to a new `Run` of it."""
    made = iter(range(100))

    def make(name="llama", **options) -> Run:
        return Run(tiny_models(name), tmp_path / f"run{next(made)}", **options)

    return make


def losses(run: Run, key="loss") -> list[float]:
    return [line[key] for line in run.log() if key in line]


@pytest.mark.parametrize(
    ("name", "classify"),
    [
        pytest.param("llama", False, marks=SLOW),
        pytest.param("t5", False, marks=SLOW),
        ("bert", True),
        pytest.param("llama", "head", marks=SLOW),
    ],
)
def test_accumulating_eight_rows_equals_a_batch_of_eight(name, classify, fresh):
    """A mean of batch means, as older Trainers took, would weigh short answers too much."""
    runs = []
    for batch, steps in ((8, 1), (1, 8), (2, 4)):
        run = fresh(name, classify=classify)
        run.train(
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=steps,
            early_stopping_patience=None,
        )
        runs.append(run)
    first = runs[0]
    assert len(losses(first)) == 6
    for other in runs[1:]:
        assert losses(other) == pytest.approx(losses(first), abs=1e-5)
        assert losses(other, "eval_loss") == pytest.approx(losses(first, "eval_loss"), abs=1e-5)
        one, two = (
            load_file(run.folder / "adapter" / "adapter_model.safetensors")
            for run in (first, other)
        )
        for key in one:
            torch.testing.assert_close(one[key], two[key], atol=1e-4, rtol=1e-3, msg=key)


@pytest.mark.parametrize("name", few(["llama", "t5", "bert"], ["llama"]))
def test_validation_is_the_exact_token_mean_whatever_the_batch(name, fresh):
    found = []
    for size in (1, 4, 100):
        run = fresh(name, classify=name == "bert")
        run.train(per_device_eval_batch_size=size, max_steps=1, eval_steps=1, learning_rate=1e-9)
        found += losses(run, "eval_loss")
    batches = [tiny.collated(run.spec, run.model, [row]) for row in run.validation]
    with torch.no_grad():
        parts = [loss_sum(run.model, batch) for batch in batches]
    expected = sum(float(loss) for loss, _ in parts) / sum(int(n) for _, n in parts)
    assert found == pytest.approx([expected] * 3, abs=1e-6)


def test_the_logged_loss_is_the_token_mean_of_its_step(fresh):
    run = fresh()
    with torch.no_grad():
        loss, n = loss_sum(run.model, collate(run.spec)(run.rows))
    run.train(max_steps=1, eval_steps=1, per_device_train_batch_size=len(run.rows))
    assert losses(run) == [pytest.approx(float(loss / n), abs=1e-5)]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(fresh):
    one, two, other = (fresh(method=Lora(r=2, lora_dropout=0.1)) for _ in range(3))
    one.train(eval_steps=5)
    torch.rand(7)  # what ran before in this process must not matter
    two.train(eval_steps=5)
    other.train(seed=4, eval_steps=5)
    assert one.bytes() == two.bytes()
    assert one.log() == two.log()
    assert one.bytes() != other.bytes()


def test_each_epoch_has_every_row_once_in_an_order_of_its_own():
    lengths = [3, 9, 4, 1, 7, 7, 2, 5, 8, 6]
    orders = [list(LikeLength(lengths, 2, 0, lambda epoch=epoch: epoch)) for epoch in range(3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert orders[1] == list(LikeLength(lengths, 2, 0, lambda: 1))
    assert orders[1] != list(LikeLength(lengths, 2, 1, lambda: 1))


@pytest.mark.parametrize(
    "name",
    ["llama", *(pytest.param(x, marks=SLOW) for x in ("gpt2", "t5", "bart", "bert")), "distilbert"],
)
def test_only_the_adapter_and_heads_are_trained(name, fresh):
    run = fresh(name, classify=name in ("bert", "distilbert"))
    before = {key: p.detach().clone() for key, p in run.model.named_parameters()}
    trainable = {key for key, p in run.model.named_parameters() if p.requires_grad}
    assert trainable and all("lora_" in key or "modules_to_save" in key for key in trainable)
    # Of LoRA's two factors the first moves from the third step on only.
    run.train(max_steps=6, eval_steps=50)
    for key, parameter in run.model.named_parameters():
        # Byte for byte: not even a base weight that went through another dtype and back.
        assert torch.equal(parameter, before[key]) == (key not in trainable), key


def test_the_best_state_is_what_is_saved(fresh):
    """With a rate that ruins the model after some steps, the last state is not the best one."""
    run = fresh(method=Lora(r=2))
    run.rows = run.rows[:4]
    done = run.train(
        max_steps=12,
        eval_steps=1,
        learning_rate=0.3,
        lr_scheduler_type="constant",
        warmup_steps=0,
        early_stopping_patience=None,
        save_total_limit=2,
    )
    measured = [line for line in run.log() if "eval_loss" in line]
    best = min(measured, key=lambda line: line["eval_loss"])
    assert (done.best_step, done.best_eval_loss) == (best["step"], best["eval_loss"])
    assert done.best_step < done.steps == 12 and not done.stopped_early
    checkpoint = run.folder / "checkpoints" / f"checkpoint-{done.best_step}"
    kept = load_file(checkpoint / "adapter_model.safetensors")
    saved = load_file(run.folder / "adapter" / "adapter_model.safetensors")
    assert kept.keys() == saved.keys()
    assert all(torch.equal(kept[key], saved[key]) for key in kept)
    # The model in memory is in that state too: its validation loss is the best one.
    with torch.no_grad():
        loss, n = loss_sum(run.model.eval(), collate(run.spec)(run.validation))
    assert float(loss / n) == pytest.approx(done.best_eval_loss, abs=1e-5)


def test_early_stopping_stops(fresh):
    run = fresh()
    done = run.train(
        max_steps=40,
        eval_steps=1,
        learning_rate=0.2,
        lr_scheduler_type="constant",
        warmup_steps=0,
        early_stopping_patience=2,
    )
    measured = losses(run, "eval_loss")
    assert done.stopped_early and done.steps < 40
    assert len(measured) == done.steps == done.best_step + 2
    assert min(measured) == measured[-3]


@pytest.mark.parametrize("eval_steps", [50, pytest.param(2, marks=SLOW), 0.2])
def test_the_last_step_is_always_validated(eval_steps, fresh):
    run = fresh()
    done = run.train(max_steps=5, eval_steps=eval_steps)
    assert [line["step"] for line in run.log() if "eval_loss" in line][-1] == 5
    assert math.isfinite(done.best_eval_loss)


def test_a_loss_that_is_no_number_is_one_sentence(fresh):
    run = fresh()
    with torch.no_grad():
        next(p for p in run.model.parameters() if p.requires_grad).fill_(math.nan)
    with pytest.raises(RunError, match=r"the loss is nan at step 1 .*Lower train\.learning_rate"):
        run.train()
    assert not (run.folder / "adapter").exists()
    # What a reader of the log finds is JSON, in which there is no NaN.
    assert all("NaN" not in line for line in (run.folder / "train.jsonl").read_text().split("\n"))


def test_recomputing_activations_changes_no_loss(fresh):
    one, two = fresh(), fresh()
    one.train(eval_steps=10)
    two.train(eval_steps=10, activation_checkpointing=True)
    assert losses(two) == pytest.approx(losses(one), abs=1e-6)


def test_bfloat16_weights_train_a_float32_adapter(fresh):
    run = fresh(dtype="bfloat16")
    run.train(eval_steps=10)
    saved = load_file(run.folder / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    assert losses(run)[-1] < losses(run)[0]


SCRIPT = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
from tiny_run import Run
run = Run(Path({model!r}), Path(sys.argv[1]))
run.train()
"""


@pytest.mark.slow  # two new processes, each importing torch
def test_no_byte_hangs_on_the_order_of_sets(tiny_models, tmp_path):
    here = Path(__file__).resolve()
    script = SCRIPT.format(tests=str(here.parents[1]), model=str(tiny_models("llama")))
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", script, str(folder)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        names = ("adapter/adapter_model.safetensors", "adapter/adapter_config.json", "train.jsonl")
        found.append([(folder / name).read_bytes() for name in names])
    assert found[0] == found[1]
