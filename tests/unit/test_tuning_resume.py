"""Going on: a run that was killed ends with the bytes of one that never was."""

from __future__ import annotations

import json
import shutil

import pytest

import loratory.tuning.train as training
from loratory.methods.lora import Lora
from tiny_run import KillAt, Killed, Run

SLOW = pytest.mark.slow  # of each kind one stays among the fast tests


METHOD = Lora(r=2, lora_dropout=0.1)  # dropout: the random state must be taken up as well


@pytest.fixture
def fresh(tiny_models, tmp_path):
    """Return a function: a name to a `Run` in a folder of that name, its model as at first."""

    def make(name="run", model="llama", **options) -> Run:
        return Run(tiny_models(model), tmp_path / name, method=METHOD, **options)

    return make


@pytest.fixture(scope="module")
def undisturbed(tiny_models, tmp_path_factory):
    """Return a function: settings to a run trained by them without a break, and its result."""
    made = {}

    def trained(model="llama", classify=False, **settings):
        key = (model, *sorted(settings.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("whole")
            run = Run(tiny_models(model), folder, classify, METHOD)
            made[key] = run, run.train(**settings)
        return made[key]

    return trained


def kill(run: Run, step: int, **changes) -> None:
    with pytest.raises(Killed):
        run.train(progress=KillAt(step), **changes)


SETTINGS = {"num_train_epochs": 3.0, "eval_steps": 2, "early_stopping_patience": None}


# 18 rows in batches of 4: an epoch has five steps. Killed in the first epoch, at the end of
# the second, in the middle of the third, and before there was any checkpoint.
@pytest.mark.parametrize("step", [pytest.param(step, marks=SLOW) for step in (1, 4, 11)] + [13])
def test_a_killed_run_ends_as_an_undisturbed_one(step, fresh, undisturbed):
    whole, expected = undisturbed(**SETTINGS)
    kill(fresh(), step, **SETTINGS)
    again = fresh()
    found = again.train(**SETTINGS)
    assert again.log() == whole.log()
    assert again.bytes() == whole.bytes()
    assert found.steps == expected.steps == 15
    assert (found.best_step, found.best_eval_loss) == (expected.best_step, expected.best_eval_loss)


@SLOW
@pytest.mark.parametrize(
    "settings",
    [{"eval_steps": 5}, {"logging_steps": 4, "eval_steps": 3}],
)
def test_at_an_epochs_end_and_between_two_logged_steps(settings, fresh, undisturbed):
    settings = {**SETTINGS, **settings}
    whole, _ = undisturbed(**settings)
    kill(fresh(), 8, **settings)
    again = fresh()
    again.train(**settings)
    assert again.log() == whole.log()
    assert again.bytes() == whole.bytes()


@SLOW
def test_accumulated_steps_and_a_head_go_on_as_well(fresh, undisturbed):
    settings = {**SETTINGS, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    whole, _ = undisturbed("distilbert", classify=True, **settings)
    kill(fresh(model="distilbert", classify=True), 8, **settings)
    again = fresh(model="distilbert", classify=True)
    again.train(**settings)
    assert again.log() == whole.log()
    assert again.bytes() == whole.bytes()


STOPPING = {
    "max_steps": 120,  # on some processors it stops late
    "eval_steps": 1,
    "learning_rate": 0.05,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "early_stopping_patience": 3,
}


def test_early_stopping_goes_on_counting(fresh, undisturbed):
    whole, expected = undisturbed(**STOPPING)
    assert expected.stopped_early
    # Killed with two of three validations without gain behind it.
    kill(fresh(), expected.best_step + 3, **STOPPING)
    again = fresh()
    found = again.train(**STOPPING)
    assert found.steps == expected.steps and found.stopped_early
    assert again.log() == whole.log()
    assert again.bytes() == whole.bytes()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(SETTINGS, marks=SLOW),
        STOPPING,
        pytest.param({**SETTINGS, "max_steps": 7}, marks=SLOW),
    ],
)
def test_killed_between_the_last_checkpoint_and_the_adapter(
    settings, fresh, monkeypatch, undisturbed
):
    whole, expected = undisturbed(**settings)

    def die(*args):
        raise Killed

    run = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(training, "save_adapter", die)
        with pytest.raises(Killed):
            run.train(**settings)
    again = fresh()
    found = again.train(**settings)
    assert again.bytes() == whole.bytes()
    assert again.log() == whole.log()
    assert (found.steps, found.best_step, found.stopped_early) == (
        expected.steps,
        expected.best_step,
        expected.stopped_early,
    )


@SLOW
def test_a_finished_training_trained_again_is_the_same(fresh):
    one = fresh()
    one.train(**SETTINGS)
    before = one.bytes()
    again = fresh()
    again.train(**SETTINGS)
    assert again.bytes() == before


@pytest.mark.parametrize(
    "damage",
    [pytest.param("absent", marks=SLOW), "cut short", pytest.param("empty", marks=SLOW)],
)
def test_a_half_written_checkpoint_is_passed_over(damage, fresh, undisturbed):
    whole, _ = undisturbed(**SETTINGS)
    kill(fresh(), 9, **SETTINGS)
    again = fresh()
    last = again.folder / "checkpoints" / "checkpoint-8"
    state = last / "trainer_state.json"
    text = state.read_text()
    if damage == "absent":
        state.unlink()
    else:
        state.write_text(text[: len(text) // 2] if damage == "cut short" else "")
    (last / "adapter_model.safetensors").write_bytes(b"half")
    again.train(**SETTINGS)
    assert again.log() == whole.log()
    assert again.bytes() == whole.bytes()


@SLOW
def test_half_a_line_in_the_log_is_dropped(fresh, undisturbed):
    whole, _ = undisturbed(**SETTINGS)
    kill(fresh(), 9, **SETTINGS)
    again = fresh()
    with (again.folder / "train.jsonl").open("a") as stream:
        stream.write('{"step": 9, "lo')
    again.train(**SETTINGS)
    assert again.log() == whole.log()


@SLOW
def test_a_run_folder_may_be_moved_before_it_goes_on(fresh, tmp_path, undisturbed):
    """The best checkpoint may lie before the move; its old path is written in the state."""
    settings = {**STOPPING, "early_stopping_patience": 8}
    whole, expected = undisturbed(**settings)
    kill(fresh("old"), expected.best_step + 5, **settings)
    shutil.move(tmp_path / "old", tmp_path / "new")
    again = fresh("new")
    found = again.train(**settings)
    assert found.best_step == expected.best_step
    assert again.bytes() == whole.bytes()


def test_half_an_adapter_is_not_taken_for_one(fresh, monkeypatch):
    """Killed while the adapter is written: there is none, and the next training leaves one."""
    run = fresh()

    def half(folder, **options):
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(json.dumps({"half": True}))
        raise Killed

    run.train(max_steps=1, eval_steps=1)
    shutil.rmtree(run.folder / "adapter")
    again = fresh()
    monkeypatch.setattr(again.model, "save_pretrained", half)
    with pytest.raises(Killed):
        again.train(max_steps=1, eval_steps=1)
    assert (run.folder / ".adapter").is_dir()
    assert not (run.folder / "adapter").exists()
    last = fresh()
    last.train(max_steps=1, eval_steps=1)
    assert not (run.folder / ".adapter").exists()
    assert json.loads((run.folder / "adapter" / "adapter_config.json").read_text())["r"] == 2
