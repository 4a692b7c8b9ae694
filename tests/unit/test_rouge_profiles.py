"""Texts of every script: what counts as a word, and that a text equals itself."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.errors import ConfigError
from loratory.evaluation.score import signature_of
from loratory.metrics.rouge import Rouge, rouge
from loratory.metrics.rouge.profile import characters, fold, folded_pieces, unicode_words
from loratory.metrics.rouge.tokenize import CUTS, line_spans, token_spans, words
from loratory.records import Prediction

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum", "rougeW-1.2", "rougeS4", "rougeSU*")

# Written for this test: the same thought in each, and one that shares about half of it.
PAIRS = {
    "Japanese": ("昨日、東京で大雨が降りました。", "昨日、大阪で大雪が降りました。"),
    "Chinese": ("研究人员昨天公布了新的结果。", "研究人员今天公布了旧的结果。"),
    "Thai": ("เมื่อวานนี้ฝนตกหนักในกรุงเทพฯ", "เมื่อวานนี้หิมะตกหนักในเชียงใหม่"),
    "Arabic": (
        "أعلن الباحثون أمس نتائج جديدة في القاهرة.",
        "أعلن الباحثون اليوم نتائج قديمة في بغداد.",
    ),
    "Hindi": ("शोधकर्ताओं ने कल नए परिणाम घोषित किए।", "शोधकर्ताओं ने आज पुराने परिणाम घोषित किए।"),
    "Korean": ("연구자들은 어제 새 결과를 발표했다.", "연구자들은 오늘 새 결과를 발표했다."),
    "Khmer": ("អ្នកស្រាវជ្រាវបានប្រកាសលទ្ធផលថ្មី។", "អ្នកស្រាវជ្រាវបានប្រកាសលទ្ធផលចាស់។"),
    "Burmese": ("မနေ့က မိုးရွာသည်။", "ဒီနေ့ မိုးရွာသည်။"),
    "Lao": ("ມື້ວານນີ້ຝົນຕົກ", "ມື້ນີ້ຝົນຕົກ"),
    "Greek": (
        "Οι ερευνητές ανακοίνωσαν νέα αποτελέσματα.",
        "Οι ερευνητές βρήκαν νέα αποτελέσματα.",
    ),
}


@pytest.mark.parametrize("language", PAIRS)
@pytest.mark.parametrize("tokens", ["words", "characters"])
def test_a_text_equals_itself_and_half_equals_its_neighbour(language: str, tokens: str) -> None:
    text, other = PAIRS[language]
    itself = rouge([text], [text], TYPES, tokens=tokens)
    assert [float(itself[kind].f[0]) for kind in TYPES] == [1.0] * len(TYPES)
    assert 0.3 < rouge([text], [other], ["rouge1"], tokens=tokens)["rouge1"].f[0] < 0.97
    assert rouge([text], ["unrelated 123"], ["rouge1"], tokens=tokens)["rouge1"].f[0] == 0
    decomposed = unicodedata.normalize("NFD", text)
    assert rouge([text], [decomposed], ["rouge1"], tokens=tokens)["rouge1"].f[0] == 1.0
    assert rouge([text], [text], ["rouge1"])["rouge1"].f[0] == 0  # rouge_score sees no word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP_2x", ["don", "t", "stop", "2x"]),
        ("naïve Straße CAFÉ", ["naïve", "strasse", "café"]),
        ("ｆｕｌｌ ﬁne ①", ["full", "fine", "1"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("東京 2025年、GPTモデル", ["東", "京", "2025", "年", "gpt", "モ", "デ", "ル"]),
        ("ｶﾞｷﾞ", ["ガ", "ギ"]),
        ("ที่นี่ ๒๕๖๗", ["ที่", "นี่", "๒๕๖๗"]),
        ("ក្រុង", ["ក្រុ", "ង"]),
        ("👍 !? …", []),
        ("\u0301", []),
        ("", []),
    ],
)
def test_words_by_hand(text: str, expected: list[str]) -> None:
    # "ที่" is one consonant with its marks: Thai falls to such clusters.
    assert unicode_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A-b c.", ["a", "b", "c"]),
        ("日本、語", ["日", "本", "語"]),
        ("é\u0301", ["é", "\u0301"]),
        ("हि", ["ह", "ि"]),
        ("1+1 👍", ["1", "+", "1", "👍"]),
        ("\x00\ud800\u200d", []),
    ],
)
def test_characters_by_hand(text: str, expected: list[str]) -> None:
    assert characters(text) == expected


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_words_are_those_of_rouge_score(text: str) -> None:
    assert unicode_words(text) == words(text)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=30))
def test_pieces_make_the_whole_and_spans_find_their_words(text: str) -> None:
    pieces, spans = folded_pieces(text)
    assert "".join(pieces) == fold(text)
    assert "".join(text[a:b] for a, b in spans) == text
    for tokens, cut in CUTS.items():
        found = token_spans(text, tokens)
        assert [word for word, _, _ in found] == list(cut(text))
        for word, start, stop in found:
            assert word in cut(text[start:stop]) or tokens == "words"


def test_lines_and_sentences_have_places() -> None:
    assert line_spans("a\n\nb", "newline") == [(0, 1), (2, 2), (3, 4)]
    assert line_spans("Ab cd. Ef gh.", "sentences") == [(0, 6), (7, 13)]


def test_only_ascii_words_are_stemmed() -> None:
    assert rouge(["running"], ["runs"], ["rouge1"], tokens="words")["rouge1"].f[0] == 1
    assert rouge(["naïvely"], ["naïve"], ["rouge1"], tokens="words")["rouge1"].f[0] == 0


def test_sentences_for_rouge_lsum() -> None:
    found = rouge(["He fell. Dr. A ran."], ["Dr. A ran. He fell."], split="sentences")
    assert found["rougeLsum"].f[0] == 1 and found["rougeL"].f[0] < 1
    assert rouge(["彼は来た。雨だ。"], ["雨だ。彼は来た。"], tokens="words", split="sentences")[
        "rougeLsum"
    ].f[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("beta", "expected"),
    # P = 1/3 and R = 1: F = (1 + b²) / (b² + 3)
    [(1.0, 2 / 4), (0.0, 1 / 3), (2.0, 5 / 7), (0.5, 1.25 / 3.25)],
)
def test_beta(beta: float, expected: float) -> None:
    found = rouge(["a b c"], ["a"], ["rouge1"], beta=beta)["rouge1"]
    assert found.f[0] == pytest.approx(expected, abs=1e-15)
    assert rouge(["x"], ["a"], ["rouge1"], beta=beta)["rouge1"].f[0] == 0


def test_beta_chooses_among_references() -> None:
    for beta, recall in ((0.5, 1 / 3), (2.0, 1.0)):  # precision 1 or recall 1
        found = rouge(["a b c"], [["a", "a b c d e f g h i"]], ["rouge1"], beta=beta)["rouge1"]
        assert found.recall[0] == recall


def test_parts_of_the_metric() -> None:
    rows = [Prediction("1", "a b c", ("a",)), Prediction("2", "a", ("a",))]
    for part, value in (("precision", 2 / 3), ("recall", 1.0), ("f", 0.75)):
        metric = Rouge(types=("rouge1",), part=part)
        total = metric.statistics(rows).sum(axis=0)
        assert metric.reduce(total)["rouge1"] == pytest.approx(value)


def test_signatures_name_the_reference_and_what_departs_from_it() -> None:
    plain = "rouge|ref:rouge_score|types:rouge1|stem:yes|split:newline|v:1"
    assert Rouge(types=("rouge1",), beta=1.0, part="f").signature == plain
    full = Rouge(("rouge1", "rougeS*"), False, "sentences", "words", "recall", 2.0)
    settings_ = "stem:no|split:sentences|tokens:words|part:recall|beta:2.0|v:1"
    assert full.signature == f"rouge|ref:rouge_score+lin2004|types:rouge1+rougeS*|{settings_}"
    # Only values that rouge_score does not know are signed as extensions.
    assert signature_of(full, "rouge1") == f"rouge1|ref:rouge_score|{settings_}"
    assert signature_of(full, "rougeS*") == f"rougeS*|ref:rouge_score+lin2004|{settings_}"


def test_every_wrong_setting_is_named() -> None:
    metric = Rouge(("x",), True, "dots", "word", "F", -1.0)  # type: ignore[arg-type]
    fields = [problem.partition(":")[0] for problem in metric.problems()]
    assert fields == ["types", "tokens", "split", "beta", "part"]
    with pytest.raises(ConfigError, match="Did you mean 'words'"):
        rouge(["a"], ["a"], tokens="word")  # type: ignore[arg-type]
    assert Rouge(beta=float("nan")).problems() and Rouge(beta=float("inf")).problems()
