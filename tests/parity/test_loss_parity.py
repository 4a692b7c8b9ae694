"""The supervised loss against transformers' own, over every family, in float32.

`expected` is what `model(labels=…)` returns when it is given whole rows: prompt masked by
-100, shift done by the model, a mean over the supervised tokens.
"""

from __future__ import annotations

import pytest
import torch

import tiny
from loratory.tuning.batch import IGNORE, pad
from loratory.tuning.loss import head_on, loss_sum
from loratory.tuning.model import load

FAMILIES = ["llama", "gpt2", "t5", "bart", "bert", "distilbert", "llama with head"]


def prepared(name, tiny_models, n=5):
    """Return the model and n encoded rows of unequal length."""
    folder = tiny_models(name.split()[0])
    classify = name in ("bert", "distilbert", "llama with head")
    spec = tiny.spec(folder, classify=classify, family="classifier" if classify else "auto")
    model = load(spec, ("negative", "positive"), 0).model
    rows = tiny.rows(spec, n)
    assert len({row.length for row in rows}) > 1
    return spec, model, rows


def own_loss(spec, model, rows):
    """Transformers' mean loss of whole rows."""
    fill = spec.tokenizer.pad_token_id
    if spec.family == "causal":
        whole = [row.prompt + row.answer for row in rows]
        labels = pad([[IGNORE] * len(row.prompt) + row.answer for row in rows], IGNORE)
        return model(
            input_ids=pad(whole, fill),
            attention_mask=pad([[1] * len(ids) for ids in whole], 0),
            labels=labels,
        ).loss
    batch = tiny.collated(spec, model, rows)
    batch.pop("decoder_input_ids", None)  # left to the model
    return model(**batch).loss


@pytest.mark.parametrize("name", FAMILIES)
def test_loss_and_gradients_are_transformers_own(name, tiny_models):
    spec, model, rows = prepared(name, tiny_models)
    total, count = loss_sum(model, tiny.collated(spec, model, rows))
    assert count == sum(len(row.answer) or 1 for row in rows)
    (total / count).backward()
    ours = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected = own_loss(spec, model, rows)
    expected.backward()
    theirs = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}

    torch.testing.assert_close(total / count, expected, atol=1e-6, rtol=1e-6)
    assert ours.keys() == theirs.keys()
    for key, grad in ours.items():
        torch.testing.assert_close(grad, theirs[key], atol=1e-6, rtol=1e-4, msg=key)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_padded_batch_is_the_sum_of_its_rows(name, tiny_models):
    """Above all for decoders, whose padded rows are given no attention mask."""
    spec, model, rows = prepared(name, tiny_models)
    with torch.no_grad():
        together, count = loss_sum(model, tiny.collated(spec, model, rows))
        alone = [loss_sum(model, tiny.collated(spec, model, [row])) for row in rows]
    torch.testing.assert_close(together, sum(loss for loss, _ in alone), atol=1e-5, rtol=1e-6)
    assert count == sum(n for _, n in alone)


def test_the_batch_is_left_as_it_was(tiny_models):
    spec, model, rows = prepared("llama", tiny_models)
    batch = tiny.collated(spec, model, rows)
    before = {key: value.clone() for key, value in batch.items()}
    loss_sum(model, batch)
    assert batch.keys() == before.keys()
    assert all(torch.equal(batch[key], before[key]) for key in batch)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_head_sees_supervised_positions_only(name, tiny_models):
    """The tiny Llama's head is its embedding, tied: the hook must not touch the latter."""
    spec, model, rows = prepared(name, tiny_models)
    batch = tiny.collated(spec, model, rows)
    keep = batch["labels"] != IGNORE
    seen = []
    head = model.get_output_embeddings()
    assert head.weight is model.get_input_embeddings().weight
    spy = head.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    with torch.no_grad():
        whole = model(batch["input_ids"]).logits
        with head_on(head, keep):
            kept = model(batch["input_ids"]).logits
        after = model(batch["input_ids"]).logits
    spy.remove()
    assert [shape[-2] for shape in seen] == [whole.shape[1], int(keep.sum()), whole.shape[1]]
    torch.testing.assert_close(kept[0], whole[keep], atol=1e-6, rtol=1e-5)
    assert torch.equal(whole, after)


def test_the_hook_is_taken_off_when_the_model_fails(tiny_models):
    _, model, _ = prepared("llama", tiny_models)
    head = model.get_output_embeddings()
    with pytest.raises(RuntimeError, match="out of memory"), head_on(head, torch.ones(1, 1).bool()):
        raise RuntimeError("out of memory")
    assert not head._forward_pre_hooks


def test_without_supervised_tokens_the_sum_is_zero(tiny_models):
    spec, model, rows = prepared("llama", tiny_models)
    batch = tiny.collated(spec, model, rows)
    batch["labels"] = torch.full_like(batch["labels"], IGNORE)
    with torch.no_grad():
        total, count = loss_sum(model, batch)
    assert (float(total), int(count)) == (0.0, 0)
