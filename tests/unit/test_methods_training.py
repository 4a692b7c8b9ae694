"""What methods ask of the training loop: moving ranks, learning rates, states."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from loratory.errors import ConfigError, ModelError
from loratory.methods.adalora import AdaLora
from loratory.methods.base import EXPECTED
from loratory.methods.lora import Lora
from loratory.methods.p_tuning import PTuning
from loratory.methods.prefix_tuning import PrefixTuning
from loratory.methods.prompt_tuning import PromptTuning
from loratory.tuning.adapter import with_adapter
from loratory.tuning.batch import collate
from loratory.tuning.checkpoint import seal
from loratory.tuning.loss import loss_sum
from loratory.tuning.model import load
from loratory.tuning.trainer import scale_rates
from tiny_run import Run

pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in EXPECTED]
ADALORA = AdaLora(init_r=4, target_r=2, target_modules=("q_proj", "down_proj"))


def ranks(model):
    return [int((p != 0).sum()) for name, p in model.named_parameters() if ".lora_E." in name]


def test_adaloras_ranks_move_to_their_budget(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path / "run", method=ADALORA)
    seen = []
    hooks = ADALORA.training(run.model)

    def watched(step):
        hooks.after_step(step)
        seen.append(ranks(run.model))

    watching = dataclasses.replace(hooks, after_step=watched)
    run.method = type("Watched", (), {"training": lambda self, model: watching})()
    run.train(max_steps=10, eval_steps=10, warmup_steps=0)
    assert seen[0] == [4, 4, 4, 4]  # the first tenth of the steps: nothing is moved yet
    budgets = [sum(now) for now in seen]
    assert budgets == sorted(budgets, reverse=True) and budgets[6] == 2 * 4
    assert seen[6] == seen[9] == ranks(run.model)  # the last three tenths
    assert len(set(seen[9])) > 1, "every layer kept the same rank"
    assert run.model.peft_config["default"].total_step == 10


def test_adaloras_saved_adapter_has_the_ranks_that_were_trained(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path / "run", method=ADALORA)
    run.train(max_steps=6, eval_steps=6)
    again = with_adapter(load(run.spec, (), 5), run.folder / "adapter")
    assert ranks(again) == ranks(run.model) and sum(ranks(again)) == 8
    batch = collate(run.spec)(run.rows[:4])
    with torch.no_grad():
        assert torch.equal(loss_sum(run.model.eval(), batch)[0], loss_sum(again, batch)[0])


def test_adaloras_penalty_is_pefts(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path / "run", method=ADALORA)
    batch = collate(run.spec)(run.rows[:4])
    with torch.no_grad():
        plain = run.model.base_model.model(input_ids=batch["input_ids"], labels=batch["input_ids"])
        theirs = run.model(input_ids=batch["input_ids"], labels=batch["input_ids"])
        ours = ADALORA.training(run.model).penalty()
    torch.testing.assert_close(theirs.loss - plain.loss, ours, rtol=1e-5, atol=1e-5)


def test_adalora_with_too_few_steps_says_so(tiny_models, tmp_path):
    method = AdaLora(init_r=4, target_r=2, tinit=3, tfinal=2)
    run = Run(tiny_models("llama"), tmp_path / "run", method=method)
    with pytest.raises(ConfigError, match=r"^method.tfinal: 2 steps, with tinit 3, leave none of"):
        run.train(max_steps=5)


@pytest.mark.parametrize(
    "method",
    [
        ADALORA,
        PTuning(num_virtual_tokens=2, encoder_hidden_size=8),
        PromptTuning(num_virtual_tokens=2),
        PrefixTuning(num_virtual_tokens=2),
        Lora(r=2, loraplus_lr_ratio=8.0),
    ],
    ids=lambda method: method.name,
)
def test_a_resumed_training_ends_as_an_undisturbed_one(method, tiny_models, tmp_path):
    settings = {"max_steps": 8, "eval_steps": 4, "early_stopping_patience": None}
    whole = Run(tiny_models("llama"), tmp_path / "whole", method=method)
    whole.train(**settings)
    half = Run(tiny_models("llama"), tmp_path / "half", method=method)
    shutil.copytree(
        whole.folder / "checkpoints" / "checkpoint-4", half.folder / "checkpoints" / "checkpoint-4"
    )
    half.train(**settings)
    one, two = (
        load_file(run.folder / "adapter" / "adapter_model.safetensors") for run in (whole, half)
    )
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=0, atol=0, msg=key)


@pytest.mark.parametrize(
    "method",
    [PTuning(num_virtual_tokens=2, encoder_hidden_size=8), ADALORA, PrefixTuning(2)],
    ids=lambda method: method.name,
)
def test_what_is_saved_is_the_best_checkpoint(method, tiny_models, tmp_path):
    """A training that has ended, with the first of two checkpoints called the best one."""
    settings = {"max_steps": 4, "eval_steps": 2, "early_stopping_patience": None}
    settings |= {"learning_rate": 0.05, "warmup_steps": 0}
    first = Run(tiny_models("llama"), tmp_path / "run", method=method)
    first.train(**settings)
    losses = [line["eval_loss"] for line in first.log() if "eval_loss" in line]
    state = tmp_path / "run" / "checkpoints" / "checkpoint-4" / "trainer_state.json"
    facts = json.loads(state.read_text(encoding="utf-8"))
    state.write_text(json.dumps({**facts, "best_global_step": 2}), encoding="utf-8")
    seal(state.parent)

    run = Run(tiny_models("llama"), tmp_path / "run", method=method)
    run.train(**settings)
    again = with_adapter(load(run.spec, (), 5), run.folder / "adapter")
    batch = collate(run.spec)(run.validation)
    with torch.no_grad():
        total, count = loss_sum(again.eval(), batch)
    assert losses[0] != pytest.approx(losses[1], rel=1e-5)
    assert float(total / count) == pytest.approx(losses[0], rel=1e-6)


def test_lora_plus_trains_b_faster(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path / "run", method=Lora(r=2, loraplus_lr_ratio=16.0))
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    rates = {"learning_rate": 1e-4, "warmup_steps": 0, "lr_scheduler_type": "constant"}
    run.train(max_steps=1, eval_steps=1, **rates)
    moves = {"A": 0.0, "B": 0.0}
    for name, p in run.model.named_parameters():
        if ".lora_B." in name or ".lora_A." in name:
            part = name.split(".lora_")[1][0]
            moves[part] = max(moves[part], float((p.detach() - before[name]).abs().max()))
    # Adam's first step is the learning rate. A does not move at first: its gradient is B's 0.
    assert moves["B"] == pytest.approx(16e-4, rel=1e-2) and moves["A"] < 1e-5


def test_rates_are_scaled_by_name_and_groups_split():
    parameters = {name: torch.nn.Parameter(torch.zeros(1)) for name in ("x.a", "x.b", "y.b")}
    optimiser = torch.optim.AdamW(
        [
            {"params": [parameters["x.a"], parameters["x.b"]], "weight_decay": 0.1},
            {"params": [parameters["y.b"]], "weight_decay": 0.0},
        ],
        lr=1e-3,
    )
    scale_rates(optimiser, parameters, {".b": 4.0})
    found = [(len(g["params"]), g["lr"], g["weight_decay"]) for g in optimiser.param_groups]
    assert found == [(1, 1e-3, 0.1), (1, 4e-3, 0.1), (1, 4e-3, 0.0)]


def test_eva_starts_a_at_the_main_directions_of_the_rows(tiny_models, tmp_path):
    method = Lora(r=2, init_lora_weights="eva", target_modules=("q_proj", "down_proj"))
    run = Run(tiny_models("llama"), tmp_path / "run", method=method)
    batch = collate(run.spec)(run.rows)
    seen = {}
    layer = run.model.base_model.model.model.layers[0].self_attn.q_proj

    def note(_, args):
        seen["inputs"] = args[0][batch["labels"] != -100].double()

    handle = layer.register_forward_pre_hook(note)
    with torch.no_grad():
        base, _ = loss_sum(run.model.eval(), batch)
    handle.remove()
    method.training(run.model).start(iter([batch]))
    a = layer.lora_A["default"].weight.detach().double()
    torch.testing.assert_close(a @ a.T, torch.eye(2, dtype=torch.float64), atol=1e-4, rtol=0)
    centred = seen["inputs"] - seen["inputs"].mean(0)
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    overlap = torch.linalg.svdvals(a @ directions[:2].T)
    assert sizes[1] > sizes[2] * 1.01 and overlap.min() > 0.99
    with torch.no_grad():
        torch.testing.assert_close(loss_sum(run.model, batch)[0], base, atol=1e-4, rtol=1e-6)
    assert run.model.peft_config["default"].init_lora_weights is True
    run.train(max_steps=2, eval_steps=2)
    again = with_adapter(load(run.spec, (), 5), run.folder / "adapter")
    with torch.no_grad():
        assert torch.equal(loss_sum(run.model.eval(), batch)[0], loss_sum(again, batch)[0])


@pytest.mark.parametrize("start", ["gaussian", "orthogonal"])
def test_the_other_starts_begin_at_the_base_model_too(start, tiny_models, tmp_path):
    plain = Run(tiny_models("llama"), tmp_path / "plain")
    other = Run(tiny_models("llama"), tmp_path / start, method=Lora(r=2, init_lora_weights=start))
    batch = collate(plain.spec)(plain.rows)
    with torch.no_grad():
        one, two = (loss_sum(run.model.eval(), batch)[0] for run in (plain, other))
    torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-5)
    weights = [run.model.state_dict() for run in (plain, other)]
    assert any(not torch.equal(weights[0][k], weights[1][k]) for k in weights[0] if "lora_A" in k)


def test_eva_on_another_family_is_refused(tiny_models, tmp_path):
    with pytest.raises(ModelError, match=r"^method.init_lora_weights: eva starts decoder-only"):
        Run(tiny_models("t5"), tmp_path / "run", method=Lora(r=2, init_lora_weights="eva"))
