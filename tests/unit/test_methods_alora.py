"""Activated LoRA: where it acts, that it generates as it was trained, and rows it refuses."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from loratory.errors import DataError
from loratory.methods.alora import ALora
from loratory.tuning.adapter import with_adapter
from loratory.tuning.batch import collate
from loratory.tuning.fresh import greedy
from loratory.tuning.model import load
from tiny_run import Run

TURN = (203, 3, 267, 350, 371, 203)
"""In the tiny Llama's tokens, the end of one turn and the beginning of the model's."""


def trained(tiny_models, folder, **fields):
    run = Run(tiny_models("llama"), folder, method=ALora(TURN, r=4), **fields)
    run.train(max_steps=4, eval_steps=4, warmup_steps=0)
    return run


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def test_before_the_invocation_the_model_is_the_base_model(tiny_models, tmp_path):
    run = trained(tiny_models, tmp_path / "run")
    base = load(run.spec, (), 0).model
    prompt = run.rows[0].prompt
    begins = len(prompt) - len(TURN)
    assert tuple(prompt[begins:]) == TURN
    ours, theirs = logits(run.model, prompt), logits(base, prompt)
    assert torch.equal(ours[:begins], theirs[:begins])
    assert not torch.isclose(ours[begins:], theirs[begins:]).all(dim=-1).any()


def test_a_batch_is_predicted_as_each_row_alone(tiny_models, tmp_path):
    run = trained(tiny_models, tmp_path / "run")
    rows = run.rows[:4]
    assert len({len(row.prompt) for row in rows}) > 1
    batch = collate(run.spec)(rows)
    with torch.no_grad():
        together = run.model.eval()(input_ids=batch["input_ids"], use_cache=False).logits
    for i, row in enumerate(rows):
        ids = batch["input_ids"][i, : row.length - 1].tolist()
        torch.testing.assert_close(
            together[i, : len(ids)], logits(run.model, ids), atol=1e-5, rtol=1e-4
        )


def test_it_generates_token_by_token_what_whole_passes_give(tiny_models, tmp_path):
    run = trained(tiny_models, tmp_path / "run")
    again = with_adapter(load(run.spec, (), 5), run.folder / "adapter")
    prompt = run.rows[0].prompt
    written, _ = greedy(again, prompt, (), run.spec.tokenizer.pad_token_id, 6)
    ids = list(prompt)
    for _ in written:
        ids.append(int(logits(run.model, ids)[-1].argmax()))
    assert written == ids[len(prompt) :]


def test_on_a_quantised_base(tiny_models, tmp_path):
    pytest.importorskip("bitsandbytes")
    run = trained(tiny_models, tmp_path / "run", quantization="4bit")
    losses = [line["loss"] for line in run.log() if "loss" in line]
    assert losses[-1] < losses[0]


def refused(run):
    with pytest.raises(DataError) as caught:
        run.train(max_steps=1)
    return str(caught.value)


def test_rows_that_it_would_not_act_on_are_refused(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path / "run", method=ALora((9, 9, 9), r=4))
    assert refused(run).startswith(
        "method.alora_invocation_tokens: [9, 9, 9] do not occur in the prompt of a training row, "
        "whose prompt ends in the tokens ["
    )


def test_rows_whose_answer_holds_the_invocation_are_refused(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path / "run", method=ALora(TURN, r=4))
    first = run.rows[0]
    run.rows = [dataclasses.replace(first, answer=[*TURN, *first.answer])]
    assert "occur in the answer of a training row" in refused(run)


@pytest.mark.parametrize(("tokens", "words"), [((), "empty"), ((5, -1), "not be below 0")])
def test_wrong_tokens_are_one_sentence(tokens, words):
    problems = ALora(tokens).problems()
    assert len(problems) == 1 and problems[0].startswith("alora_invocation_tokens: ")
    assert words in problems[0]
