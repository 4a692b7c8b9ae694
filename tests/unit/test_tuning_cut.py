"""What does not fit: the source is cut, the instruction and the answer are not; all is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

import tiny
from loratory.errors import DataError
from loratory.records import Example, Message
from loratory.tasks.instruction import Instruction
from loratory.tuning.audit import count_cut

LONG = "the quick brown fox jumps over the lazy dog. " * 40
FAMILIES = ["llama", "gpt2", "t5", "bart"]
INSTRUCTION = {
    "llama": (
        "<|im_start|>user\nSummarize the following text in one sentence.\n\n",
        "<|im_end|>\n<|im_start|>assistant\n",
    ),
    "gpt2": ("", "\n\nTL;DR:"),
    "t5": ("summarize: ", "</s>"),
    "bart": ("<s>summarize: ", "</s>"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_source_is_cut_and_the_instruction_kept(name, tiny_models):
    spec = tiny.spec(tiny_models(name))
    row = Example(id="a", source=LONG, references=("a cat sat",))
    whole = tiny.encoder(spec, max_prompt=10_000).encode(row)
    cut = tiny.encoder(spec, max_prompt=100).encode(row)
    before, after = INSTRUCTION[name]
    text = spec.tokenizer.decode(cut.prompt)
    assert text.startswith(before) and text.endswith(after)
    assert LONG.startswith(text.removeprefix(before).removesuffix(after))
    # Not one token more is given up than the limit asks for, but for a blank at the seam.
    assert 98 <= len(cut.prompt) <= 100
    assert cut.cut_prompt == len(whole.prompt) - len(cut.prompt) > 0
    assert whole.cut_prompt == 0
    assert cut.answer == whole.answer and cut.cut_answer == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_a_cut_answer_loses_its_end_token_and_is_counted(name, tiny_models):
    spec = tiny.spec(tiny_models(name))
    row = Example(id="a", source="text", references=(LONG,))
    whole = tiny.encoder(spec, max_target=10_000).encode(row)
    cut = tiny.encoder(spec, max_target=20).encode(row)
    assert cut.answer == whole.answer[:20]
    assert spec.tokenizer.eos_token_id not in cut.answer
    assert cut.cut_answer == len(whole.answer) - 20
    # One token short of the end token already.
    exact = tiny.encoder(spec, max_target=len(whole.answer)).encode(row)
    short = tiny.encoder(spec, max_target=len(whole.answer) - 1).encode(row)
    assert (exact.cut_answer, short.cut_answer) == (0, 1)
    assert exact.answer[-1] == spec.tokenizer.eos_token_id != short.answer[-1]


def test_an_instruction_longer_than_the_limit_names_the_row(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    with pytest.raises(DataError, match=r"row 7: .*data\.max_prompt_tokens = 20 even without"):
        tiny.encoder(spec, max_prompt=20).encode(
            Example(id="row 7", source=LONG, references=("a",))
        )


def test_earlier_turns_of_a_conversation_are_kept(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    talk = (Message("user", "first question"), Message("assistant", "first answer"))
    row = Example(id="a", source=LONG, references=("b",), context=talk)
    encoded = tiny.encoder(spec, Instruction(), max_prompt=120).encode(row)
    text = spec.tokenizer.decode(encoded.prompt)
    assert "first question" in text and "first answer" in text
    assert encoded.cut_prompt > 0 and len(encoded.prompt) <= 120


def test_a_classifiers_source_is_cut_within_its_special_tokens(tiny_models):
    spec = tiny.spec(tiny_models("bert"), classify=True)
    encoder = tiny.encoder(spec, tiny.two_classes(), max_prompt=16)
    row = encoder.encode(Example(id="a", source=LONG, label=0))
    text = spec.tokenizer.decode(row.prompt)
    assert text.startswith("<s>the quick") and text.endswith("</s>") and len(row.prompt) <= 16


EMOJI = "👩‍👩‍👧‍👦 family 日本語 naïve — "


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("limit", range(62, 90, 3))
def test_no_character_is_cut_in_two(name, limit, tiny_models):
    """A byte-level token may end inside an emoji; the text that is kept may not."""
    spec = tiny.spec(tiny_models(name))
    source = EMOJI * 20
    row = Example(id="a", source=source, references=("a",))
    encoded = tiny.encoder(spec, max_prompt=limit).encode(row)
    text = spec.tokenizer.decode(encoded.prompt)
    before, after = INSTRUCTION[name]
    assert "\ufffd" not in text
    assert source.startswith(text.removeprefix(before).removesuffix(after))
    assert len(encoded.prompt) <= limit


@settings(max_examples=60, deadline=None)
@given(source=st.text(min_size=1, max_size=80), limit=st.integers(45, 80))
def test_cutting_holds_for_any_text(source, limit, tiny_models):
    encoder = _llama_encoder(tiny_models, limit)
    try:
        row = encoder.encode(Example(id="a", source=source, references=("a cat",)))
    except DataError:
        return
    assert len(row.prompt) <= limit
    assert encoder.tokenizer.decode(row.answer) == "a cat<|im_end|>"


def _llama_encoder(tiny_models, limit, made={}):  # noqa: B006 - one spec for all examples
    if "spec" not in made:
        made["spec"] = tiny.spec(tiny_models("llama"))
    return tiny.encoder(made["spec"], max_prompt=limit)


def test_a_tokenizer_without_offsets_is_cut_by_characters(tiny_models):
    """ByT5's tokenizer is written in Python and does not say where its tokens end."""
    spec = tiny.spec(tiny_models("t5"))
    object.__setattr__(spec, "tokenizer", ByT5Tokenizer())
    row = Example(id="a", source=LONG, references=("a cat sat",))
    encoded = tiny.encoder(spec, max_prompt=50).encode(row)
    assert len(encoded.prompt) == 50
    assert spec.tokenizer.decode(encoded.prompt).startswith("summarize: the quick brown")


def test_cuts_are_counted_in_rows_and_tokens(tiny_models):
    spec = tiny.spec(tiny_models("gpt2"))
    encoder = tiny.encoder(spec, max_prompt=40, max_target=5)
    rows = encoder.all(
        [
            Example(id="a", source="cat", references=("a",)),
            Example(id="b", source=LONG, references=("a",)),
            Example(id="c", source=LONG, references=(LONG,)),
        ]
    )
    cut = count_cut(rows)
    assert (cut.rows, cut.source_rows, cut.answer_rows) == (3, 2, 1)
    assert cut.source_tokens == sum(row.cut_prompt for row in rows) > 0
    assert cut.answer_tokens == rows[2].cut_answer > 0
    assert str(cut) == (
        f"source cut in 2 of 3 rows ({cut.source_tokens} tokens), "
        f"answer cut in 1 ({cut.answer_tokens} tokens)"
    )
