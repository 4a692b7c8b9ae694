"""BLEU by hand, its settings, and what it refuses. Equality with sacrebleu is in parity."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import sys
import types

import numpy as np
import pytest

from loratory.errors import ConfigError, DataError
from loratory.evaluation.score import score
from loratory.metrics.bleu import Bleu, bleu_score
from loratory.records import Prediction
from measured import value


@pytest.mark.parametrize(
    ("metric", "text", "reference", "expected"),
    [
        # 1-grams 3 of 4, 2-grams 2 of 3, 3-grams 1 of 2; as many words, so no penalty
        (Bleu(max_ngram_order=3), "a b c x", "a b c d", (3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3)),
        # 4-grams: none of 1, for which exp takes half of one
        (Bleu(), "a b c x", "a b c d", (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4)),
        (Bleu(smooth_method="none"), "a b c x", "a b c d", 0.0),
        (
            Bleu(smooth_method="floor"),
            "a b c x",
            "a b c d",
            (3 / 4 * 2 / 3 * 1 / 2 * 0.1) ** (1 / 4),
        ),
        # add-k leaves 1-grams alone
        (
            Bleu(smooth_method="add-k"),
            "a b c x",
            "a b c d",
            (3 / 4 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4),
        ),
        # two of four words: exp(1 - 4 / 2)
        (Bleu(max_ngram_order=2), "a b", "a b c d", math.exp(-1)),
        (Bleu(), "a b", "a b", 0.0),  # no 3-gram to be right or wrong
        (Bleu(effective_order=True), "a b", "a b", 1.0),
        (Bleu(max_ngram_order=1), "A b", "a b", 1 / 2),
        (Bleu(max_ngram_order=1, lowercase=True), "A b", "a b", 1.0),
        (Bleu(max_ngram_order=1), "a a a a", "a b c d", 1 / 4),  # a word counts once
        (Bleu(), "", "a b", 0.0),
        (Bleu(), ".", "a b", 0.0),
        (Bleu(max_ngram_order=1, tokenize="char"), "東京", "京都", 1 / 2),
    ],
)
def test_values_done_by_hand(metric: Bleu, text: str, reference: str, expected: float) -> None:
    assert value(metric, (text, (reference,))) == pytest.approx(expected, abs=1e-12)


def test_counts_of_rows_are_added_and_not_their_scores() -> None:
    metric = Bleu(max_ngram_order=1)
    # 1 of 1 and 0 of 3 words
    assert value(metric, ("a", ("a",)), ("x y z", ("a b c",))) == pytest.approx(1 / 4)


def test_of_several_references_any_word_counts_and_the_closest_length() -> None:
    metric = Bleu(max_ngram_order=1)
    assert value(metric, ("a b", ("a x x x x", "y b"))) == pytest.approx(1.0)


def test_nothing_against_nothing_is_undefined() -> None:
    (found,) = score([Prediction("1", " ", ("",))], [Bleu()], resamples=5)
    assert (found.value, found.low) == (None, None)
    assert found.reason == "neither answers nor references have a word"
    assert value(Bleu(), ("a", ("",))) == 0


def test_sums_of_any_shape() -> None:
    rows = np.array([[4, 4, 3, 2, 4, 3], [2, 4, 2, 1, 2, 1], [0, 4, 0, 0, 0, 0]], dtype=float)
    metric = Bleu(max_ngram_order=2)
    flat = metric.reduce(rows)["bleu"]
    assert flat == pytest.approx([math.sqrt(3 / 4 * 2 / 3), math.exp(-1), 0])
    assert metric.reduce(rows.reshape(3, 1, 6))["bleu"].tolist() == flat[:, None].tolist()
    assert metric.reduce(rows[:0])["bleu"].shape == (0,)
    assert bleu_score(rows[0, 0], rows[0, 1], rows[0, 2:4], rows[0, 4:]) == flat[0]


def test_the_signature_says_what_makes_the_number() -> None:
    found = score([Prediction("1", "a", ("a",))], [Bleu()], resamples=5)[0]
    version = importlib.metadata.version("sacrebleu")
    assert found.signature == (
        f"bleu|ref:sacrebleu-{version}|tokenize:13a|lowercase:no|smooth_method:exp"
        "|smooth_value:none|max_ngram_order:4|effective_order:no|v:1"
    )
    # The default amount, written or not, is one setting.
    written = Bleu(smooth_method="add-k", smooth_value=1)
    assert Bleu(smooth_method="add-k").signature == written.signature
    assert "|smooth_value:1.0|" in written.signature
    assert "|tokenize:flores101|" in Bleu(tokenize="spm").signature


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        (Bleu(tokenize="14a"), "tokenize: unknown '14a'. Did you mean '13a'? Available: 13a,"),  # type: ignore[arg-type]
        (Bleu(smooth_method="add"), "smooth_method: unknown 'add'. Did you mean 'add-k'?"),  # type: ignore[arg-type]
        (Bleu(smooth_value=0.5), "smooth_value: smooth_method 'exp' has no amount; leave it"),
        (Bleu(smooth_method="floor", smooth_value=0), "smooth_value: got 0; give a number above"),
        (Bleu(smooth_method="floor", smooth_value=math.nan), "smooth_value: got nan; give"),
        (Bleu(max_ngram_order=0), "max_ngram_order: got 0; give a whole number from 1 to 20."),
        (Bleu(max_ngram_order=2.0), "max_ngram_order: got 2.0; give a whole number"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(metric: Bleu, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        score([Prediction("1", "a", ("a",))], [metric])
    (found,) = caught.value.problems
    assert found.startswith(f"bleu.{problem}")


def test_a_model_of_a_tokenizer_is_asked_for_and_never_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr("sacrebleu.utils.SACREBLEU_DIR", str(tmp_path))
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.download_file", None)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    package, file = Bleu(tokenize="flores200").problems()
    assert package == ("tokenize: 'flores200' needs sentencepiece. Run: pip install sentencepiece")
    path = tmp_path / "models" / "flores200sacrebleuspm"
    assert file.startswith(f"tokenize: 'flores200' needs the file {path}, which Loratory does not")
    installed = types.ModuleType("sentencepiece")
    installed.__spec__ = importlib.util.spec_from_loader("sentencepiece", None)
    monkeypatch.setitem(sys.modules, "sentencepiece", installed)
    assert Bleu(tokenize="flores200").problems() == [file]
    with pytest.raises(ConfigError, match=r"^bleu\.tokenize: 'flores200' needs the file"):
        Bleu(tokenize="flores200").statistics([Prediction("1", "a", ("a",))])
    path.parent.mkdir()
    path.touch()
    assert Bleu(tokenize="flores200").problems() == []


@pytest.mark.parametrize(("name", "extra"), [("ja-mecab", "ja"), ("ko-mecab", "ko")])
def test_a_package_of_a_tokenizer_is_asked_for(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("MeCab", "mecab_ko"):
        monkeypatch.setitem(sys.modules, module, None)
    assert Bleu(tokenize=name).problems() == [  # type: ignore[arg-type]
        f"tokenize: '{name}' is not installed. Run: pip install 'sacrebleu[{extra}]'"
    ]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (Prediction("r1", 3, ("a",)), "row 'r1': text must be text, got int."),  # type: ignore[arg-type]
        (Prediction("r1", None, ("a",)), "row 'r1': text must be text, got NoneType."),  # type: ignore[arg-type]
        (Prediction("r1", "a", ("b", 1.5)), "row 'r1': references must be text, got float."),  # type: ignore[arg-type]
        (Prediction("r1", "a"), "row 'r1': no references; give at least one."),
    ],
)
def test_what_is_not_text_is_refused_by_row(row: Prediction, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        Bleu().statistics([Prediction("r0", "a", ("a",)), row])
    assert str(caught.value) == sentence


def test_odd_characters_are_scored() -> None:
    odd = "\ud800 a\x00b \x1b[31m \u202e \r\n c"
    for tokenize in ("13a", "intl", "zh", "char", "none"):
        metric = Bleu(tokenize=tokenize, effective_order=True)  # type: ignore[arg-type]
        assert value(metric, (odd, (odd,))) == pytest.approx(1.0)


def test_a_tokenizer_that_cannot_read_a_surrogate_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MeCab raises a TypeError of its own; the text is looked at before."""
    counter = Bleu()._counter()
    monkeypatch.setattr(Bleu, "_counter", lambda self: counter)
    with pytest.raises(DataError, match=r"row 'r1': the character '\\ud800' is half of a surr"):
        Bleu(tokenize="ja-mecab").statistics([Prediction("r1", "a\ud800", ("a",))])


def test_one_very_long_line() -> None:
    text = "word " * 100_000
    assert value(Bleu(), (text, (text,))) == pytest.approx(1.0)
