"""The audit: it stops what would teach nothing, and shows what the loss will see."""

from __future__ import annotations

import dataclasses

import pytest

import tiny
from loratory.errors import DataError, ModelError
from loratory.records import Example
from loratory.tuning.audit import audit, show

ROW = Example(id="row 1", source="A cat sat.", references=("A cat.",))
LONG = Example(id="row 2", source="A cat sat. " * 60, references=("A cat. " * 60,))


@pytest.fixture
def encoder(tiny_models):
    return tiny.encoder(tiny.spec(tiny_models("llama")), max_prompt=100, max_target=30)


def splits(rows, **other):
    return {"train": rows, "validation": rows, "test": rows, **other}


def test_sound_rows_pass_and_cuts_are_noted(encoder):
    sound, long = encoder.encode(ROW), encoder.encode(LONG)
    assert audit(splits([sound]), encoder) == []
    notes = audit(splits([sound], test=[sound, long]), encoder)
    assert len(notes) == 1
    assert notes[0].startswith("test: source cut in 1 of 2 rows (")


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_an_empty_split_is_refused(name, encoder):
    rows = [encoder.encode(ROW)]
    with pytest.raises(DataError, match=rf"data\.{name}: no rows"):
        audit(splits(rows, **{name: []}), encoder)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_no_supervised_token_is_refused(name, encoder):
    row = encoder.encode(ROW)
    silent = dataclasses.replace(row, id="row 9", answer=[])
    with pytest.raises(DataError, match=r"row 9: no supervised token"):
        audit(splits([row], **{name: [row, silent]}), encoder)


def test_an_end_token_outside_the_loss_is_refused(encoder):
    row = encoder.encode(ROW)
    endless = dataclasses.replace(row, id="row 9", answer=row.answer[:-1])
    with pytest.raises(DataError, match=r"row 9: the end token is not in the loss"):
        audit(splits([row, endless]), encoder)


def test_answers_that_are_all_cut_are_refused(encoder):
    rows = [encoder.encode(LONG)] * 2
    with pytest.raises(DataError, match=r"data\.max_target_tokens: every answer of the train"):
        audit(splits(rows), encoder)
    # One answer that ends is enough to learn the end from.
    audit(splits([*rows, encoder.encode(ROW)]), encoder)


def test_a_classifier_needs_labels_and_no_answers(tiny_models):
    spec = tiny.spec(tiny_models("bert"), classify=True)
    encoder = tiny.encoder(spec, tiny.two_classes())
    row = encoder.encode(Example(id="row 1", source="good", label=1))
    audit(splits([row]), encoder)
    with pytest.raises(DataError, match=r"row 9: no label"):
        audit(splits([row, dataclasses.replace(row, id="row 9", label=None)]), encoder)
    assert show(row, encoder, ("negative", "positive")) == "<s>good</s> ⟦positive⟧"


def test_a_token_the_model_has_no_embedding_for_is_refused(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    spec.tokenizer.add_tokens(["quokka"])
    encoder = tiny.encoder(spec)
    audit(splits([encoder.encode(ROW)]), encoder)
    rows = [encoder.encode(dataclasses.replace(ROW, source="a quokka sat"))]
    with pytest.raises(ModelError, match=r"'quokka' the number \d+, but the model has embeddings"):
        audit(splits(rows), encoder)


def test_the_supervised_part_is_shown_between_marks(encoder):
    text = show(encoder.encode(ROW), encoder, ())
    assert text == (
        "<|im_start|>user\nSummarize the following text in one sentence.\n\nA cat sat.<|im_end|>\n"
        "<|im_start|>assistant\n⟦A cat.<|im_end|>⟧"
    )


def test_a_long_prompt_is_shown_with_its_middle_left_out(encoder):
    text = show(encoder.encode(LONG), encoder, (), width=60)
    prompt = text.partition("⟦")[0]
    assert " … " in prompt and len(prompt) <= 63 and prompt.startswith("<|im_start|>user")
