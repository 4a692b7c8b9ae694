"""Rows are encoded once: again only when something that tokens hang on has changed."""

from __future__ import annotations

import dataclasses

import pytest

import tiny
from loratory import cache
from loratory.tuning import tokenised as module
from loratory.tuning.encode import Encoder
from loratory.tuning.tokenised import tokenised


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Say how many examples were really encoded."""
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "FEW", 5)
    count = {"rows": 0}
    plain = Encoder.encode

    def encode(self, example):
        count["rows"] += 1
        return plain(self, example)

    monkeypatch.setattr(Encoder, "encode", encode)
    return count


@pytest.fixture(params=["llama", "t5", "bert"])
def encoder(request, tiny_models):
    classify = request.param == "bert"
    spec = tiny.spec(tiny_models(request.param), classify=classify)
    limit = {"llama": 36, "t5": 20, "bert": 12}[request.param]
    task = tiny.two_classes() if classify else None
    return tiny.encoder(spec, task, max_prompt=limit, max_target=9)


def rows(encoder, many=9):
    return tiny.examples(many, labels=encoder.spec.family == "classifier")


def test_what_is_read_is_what_was_encoded(encoder, asked):
    examples = rows(encoder)
    expected = encoder.all(examples)
    assert tokenised(encoder, examples) == expected and asked["rows"] == 18
    assert tokenised(encoder, examples) == expected and asked["rows"] == 18
    assert all(type(token) is int for row in expected for token in row.prompt)
    # Some are cut, so that all numbers of a row are more than zeros.
    assert any(row.cut_prompt for row in expected)


def test_what_changes_tokens_is_encoded_again(tiny_models, asked):
    spec = tiny.spec(tiny_models("llama"))
    encoder, examples = tiny.encoder(spec), rows(tiny.encoder(spec))
    changed = [*examples[:-1], dataclasses.replace(examples[-1], source="another text")]
    other = dataclasses.replace(encoder.task, template="{document} in short:")
    tried = [
        (encoder, examples),
        (encoder, changed),
        (encoder, examples[::-1]),
        (encoder, examples[:-1]),
        (tiny.encoder(spec, max_prompt=64), examples),
        (tiny.encoder(spec, max_target=3), examples),
        (tiny.encoder(spec, other), examples),
        (tiny.encoder(dataclasses.replace(spec, style="plain")), examples),
        (tiny.encoder(tiny.spec(tiny_models("gpt2"))), examples),
    ]
    for place, (one, given) in enumerate(tried):
        before = asked["rows"]
        assert tokenised(one, given) == [one.encode(x) for x in given]
        assert asked["rows"] - before == 2 * len(given), place


def test_other_code_encodes_again(tiny_models, asked, monkeypatch):
    encoder = tiny.encoder(tiny.spec(tiny_models("llama")))
    examples = rows(encoder)
    tokenised(encoder, examples)
    monkeypatch.setattr(module.cache, "code", lambda *_: "other")
    tokenised(encoder, examples)
    assert asked["rows"] == 18


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"{}"])
def test_a_file_that_cannot_be_read_is_made_anew(tiny_models, asked, content):
    encoder = tiny.encoder(tiny.spec(tiny_models("llama")))
    examples = rows(encoder)
    expected = tokenised(encoder, examples)
    (file,) = (cache.cache_dir() / module.KIND).iterdir()
    whole = file.read_bytes()
    for broken in (content, whole[: len(whole) // 2], whole[:-30]):
        file.write_bytes(broken)
        assert tokenised(encoder, examples) == expected
        assert file.read_bytes() == whole
    # Of other rows, whatever name it has.
    assert module._unpacked(whole, examples[:-1]) is None


def test_a_template_that_tells_the_date_is_not_kept(tiny_models, asked):
    encoder = tiny.encoder(tiny.spec(tiny_models("llama")))
    encoder.tokenizer.chat_template += "{# strftime_now('%d') #}"
    for _ in range(2):
        tokenised(encoder, rows(encoder))
    assert asked["rows"] == 18 and not cache.cache_dir().exists()


def test_without_room_nothing_is_lost(tiny_models, asked, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "file"))
    encoder = tiny.encoder(tiny.spec(tiny_models("llama")))
    assert len(tokenised(encoder, rows(encoder))) == 9
