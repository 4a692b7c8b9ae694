"""Encoding: what is supervised is the answer and its end token, exactly, in every style."""

from __future__ import annotations

import pytest

import tiny
from loratory.errors import DataError, ModelError
from loratory.records import Example, Message
from loratory.tasks.instruction import Instruction
from loratory.tasks.summarization import Summarization
from loratory.tuning.batch import IGNORE, collate, pad
from loratory.tuning.encode import check_lengths

ANSWER = "The cat sat on the mat."
ROW = Example(id="row 1", source="A cat, black as night, sat down.", references=(ANSWER,))
FAMILIES = ["llama", "gpt2", "t5", "bart"]


def targets(labels, row: int = 0) -> list[int]:
    return [token for token in labels[row].tolist() if token != IGNORE]


@pytest.fixture
def seq2seq_shift():
    """Return a stand-in for a model's own shift of the decoder's inputs."""

    def shift(labels):
        moved = labels.new_zeros(labels.shape)
        moved[:, 1:] = labels[:, :-1].clamp(min=0)
        return moved

    return shift


@pytest.mark.parametrize("name", FAMILIES)
def test_targets_decode_to_the_answer_and_its_end_token(name, tiny_models, seq2seq_shift):
    spec = tiny.spec(tiny_models(name))
    row = tiny.encoder(spec).encode(ROW)
    end = spec.tokenizer.eos_token
    other = tiny.encoder(spec).encode(tiny.examples(3)[2])
    batch = collate(spec, seq2seq_shift)([other, row])

    said = spec.tokenizer.decode(targets(batch["labels"], 1)).strip()
    assert said.removeprefix("<s>") == ANSWER + end
    assert targets(batch["labels"], 1) == row.answer
    assert row.answer[-1] == spec.tokenizer.eos_token_id


def test_the_end_token_is_supervised_where_it_doubles_as_padding(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    assert spec.tokenizer.pad_token_id == spec.tokenizer.eos_token_id
    rows = tiny.encoder(spec).all([ROW, *tiny.examples(4)])
    labels = collate(spec)(rows)["labels"]
    for i, row in enumerate(rows):
        assert targets(labels, i)[-1] == spec.tokenizer.eos_token_id
        assert targets(labels, i) == row.answer


def test_causal_labels_stand_beside_the_token_that_predicts_them(tiny_models):
    spec = tiny.spec(tiny_models("gpt2"))
    row = tiny.encoder(spec).encode(ROW)
    batch = collate(spec)([row])
    inputs, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    whole = row.prompt + row.answer
    assert inputs == whole[:-1]
    assert [whole[i + 1] for i, label in enumerate(labels) if label != IGNORE] == row.answer
    assert labels.index(row.answer[0]) == len(row.prompt) - 1


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_prompt_in_training_is_the_prompt_when_generating(name, tiny_models):
    """The prompt that generates is `Encoded.prompt`; the training row must begin with it."""
    spec = tiny.spec(tiny_models(name))
    row = tiny.encoder(spec).encode(ROW)
    given = collate(spec)([row])["input_ids"][0].tolist()
    assert given[: len(row.prompt)] == row.prompt
    # …and the whole is what the text encodes to in one piece, no seam between the two.
    text = spec.tokenizer.decode(row.prompt + row.answer)
    assert spec.tokenizer(text, add_special_tokens=False)["input_ids"] == row.prompt + row.answer


def test_chat_is_worded_by_the_template(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    assert spec.style == "chat"
    row = tiny.encoder(spec).encode(ROW)
    asked = [{"role": "user", "content": Summarization().prompt(ROW, "chat")[0].content}]
    given = spec.tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    whole = spec.tokenizer.apply_chat_template(
        [*asked, {"role": "assistant", "content": ANSWER}], return_dict=True
    )["input_ids"]
    assert row.prompt == given
    # The template writes a line break after the turn's end: it is not part of the answer.
    assert row.prompt + row.answer == whole[: len(row.prompt) + len(row.answer)]
    assert spec.tokenizer.decode(whole[len(row.prompt) + len(row.answer) :]) == "\n"


def test_plain_continues_the_prompt_and_needs_no_pad_token(tiny_models):
    spec = tiny.spec(tiny_models("gpt2"))
    assert spec.style == "plain"
    assert spec.tokenizer.pad_token_id == spec.tokenizer.eos_token_id
    row = tiny.encoder(spec).encode(ROW)
    assert spec.tokenizer.decode(row.prompt) == f"{ROW.source}\n\nTL;DR:"
    assert spec.tokenizer.decode(row.answer) == f" {ANSWER}</s>"


@pytest.mark.parametrize(
    ("name", "prompt", "answer"),
    [
        ("t5", f"summarize: {ROW.source}</s>", f"{ANSWER}</s>"),
        ("bart", f"<s>summarize: {ROW.source}</s>", f"<s>{ANSWER}</s>"),
    ],
)
def test_prefix_has_the_tokenizers_own_special_tokens(name, prompt, answer, tiny_models):
    spec = tiny.spec(tiny_models(name))
    assert spec.style == "prefix"
    row = tiny.encoder(spec).encode(ROW)
    assert spec.tokenizer.decode(row.prompt) == prompt
    assert spec.tokenizer.decode(row.answer) == answer


def test_bare_is_the_source_alone(tiny_models):
    spec = tiny.spec(tiny_models("bert"), classify=True)
    assert (spec.style, spec.family) == ("bare", "classifier")
    row = tiny.encoder(spec, tiny.two_classes()).encode(
        Example(id="a", source="good film", label=1)
    )
    assert spec.tokenizer.decode(row.prompt) == "<s>good film</s>"
    assert (row.answer, row.label, row.cut_answer) == ([], 1, 0)


TEMPLATES = {
    "strips": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        f"{ANSWER}<|im_end|>",
    ),
    "adds a space": (
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }} <|im_end|>{% endif %}{% endfor %}",
        f" {ANSWER} <|im_end|>",
    ),
    "adds a block before the answer": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' %}(thinks)\n\n{% endif %}{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        f"{ANSWER}<|im_end|>",
    ),
    "opens a block when generating": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n(now){% endif %}",
        f"{ANSWER}<|im_end|>",
    ),
    "has no control token": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
        f"{ANSWER}\n<|im_end|>",
    ),
}


@pytest.mark.parametrize("what", TEMPLATES)
def test_chat_templates_of_every_habit(what, tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    spec.tokenizer.chat_template, expected = TEMPLATES[what]
    # A blank around the answer must not hide it from the template that strips.
    for text in (ANSWER,) if what != "strips" else (ANSWER, f" {ANSWER}\n"):
        encoder = tiny.encoder(spec)
        row = encoder.encode(Example(id="a", source="text", references=(text,)))
        assert spec.tokenizer.decode(row.answer) == expected
        assert row.answer[-1] in encoder.stop_ids


def test_a_turn_may_end_in_a_token_that_is_not_the_tokenizers_end(tiny_models):
    """Llama 3: the tokenizer's end token ends documents, the template's ends turns."""
    spec = tiny.spec(tiny_models("llama"))
    spec.tokenizer.eos_token = "</s>"
    encoder = tiny.encoder(spec)
    row = encoder.encode(ROW)
    assert spec.tokenizer.decode(row.answer) == f"{ANSWER}<|im_end|>"
    both = spec.tokenizer.convert_tokens_to_ids(["</s>", "<|im_end|>"])
    assert set(both) <= set(encoder.stop_ids)


def test_a_turn_may_end_in_an_added_token_that_is_not_special(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    spec.tokenizer.add_tokens(["<end_of_turn>"])
    spec.tokenizer.chat_template = tiny.CHAT_TEMPLATE.replace("<|im_end|>", "<end_of_turn>")
    row = tiny.encoder(spec).encode(ROW)
    assert spec.tokenizer.decode(row.answer) == f"{ANSWER}<end_of_turn>"


def test_a_template_that_refuses_a_turn_names_the_row(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    spec.tokenizer.chat_template = "{{ raise_exception('no system turns') }}"
    with pytest.raises(DataError, match=r"row 1: .* refuses these turns: no system turns"):
        tiny.encoder(spec).encode(ROW)


def test_a_conversation_is_given_whole_and_its_last_turn_supervised(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    talk = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello"))
    row = Example(id="a", source="Who sat?", references=("A cat.",), context=talk)
    encoded = tiny.encoder(spec, Instruction()).encode(row)
    assert spec.tokenizer.decode(encoded.prompt) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nWho sat?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert spec.tokenizer.decode(encoded.answer) == "A cat.<|im_end|>"


def test_label_words_are_encoded_as_the_answer_is(tiny_models):
    task = tiny.two_classes()
    for name in FAMILIES:
        encoder = tiny.encoder(tiny.spec(tiny_models(name)), task)
        for example in tiny.examples(4, labels=True):
            assert encoder.choices(example)[example.label] == encoder.encode(example).answer


def test_padding_goes_to_the_side_asked_for():
    assert pad([[1, 2], [3]], 0).tolist() == [[1, 2], [3, 0]]
    assert pad([[1, 2], [3]], 0, left=True).tolist() == [[1, 2], [0, 3]]


BOTH = "data.max_prompt_tokens + data.max_target_tokens"


@pytest.mark.parametrize(
    ("name", "prompt", "target", "refusal"),
    [
        ("llama", 960, 64, None),
        ("llama", 961, 64, f"{BOTH}: 1025 tokens"),
        ("gpt2", 1000, 64, f"{BOTH}: 1064 tokens"),
        ("bart", 1024, 1024, None),
        ("bart", 1025, 64, "data.max_prompt_tokens: 1025 tokens"),
        ("bart", 64, 1025, "data.max_target_tokens: 1025 tokens"),
        ("t5", 4096, 4096, None),
        ("bert", 1024, 4096, None),
        ("bert", 1025, 64, "data.max_prompt_tokens: 1025 tokens"),
    ],
)
def test_limits_beyond_the_models_positions_are_refused(name, prompt, target, refusal, tiny_models):
    spec = tiny.spec(tiny_models(name), classify=name == "bert")
    if refusal is None:
        check_lengths(spec, prompt, target)
        return
    with pytest.raises(ModelError) as caught:
        check_lengths(spec, prompt, target)
    assert str(caught.value).startswith(f"{refusal}, but {tiny_models(name)} has positions for")
