"""Every double of rouge_score 0.1.2, and every stem of NLTK."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

from loratory.metrics.rouge import rouge
from loratory.metrics.rouge.stem import stem
from realdata import real_rows

TYPES = [*(f"rouge{n}" for n in range(1, 10)), "rougeL", "rougeLsum"]
SCORERS = {flag: RougeScorer(TYPES, use_stemmer=flag) for flag in (False, True)}
PORTER = PorterStemmer()

ENDINGS = re.findall(
    r"\w+",
    "ational tional enci anci izer bli abli alli entli eli ousli ization ation ator alism "
    "iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful "
    "ness al ance ence er ic able ible ant ement ment ent ion sion tion ou ism ate iti ous ive "
    "ize ed ing eed ies ied s ss sses y e ll at bl iz",
)

# Few words, so that sentences share many: ties between subsequences are where code differs.
few_words = st.lists(st.sampled_from(["a", "b", "c", "running", "Runs", "\n", "dies", "é"])).map(
    " ".join
)
any_text = st.text(max_size=60)
punctuation = st.text(alphabet=".,;-\n\t !?…", max_size=10)
texts = st.one_of(few_words, any_text, punctuation)


def agree(predictions: list[str], references: list[list[str]], stemmed: bool) -> None:
    found = rouge(predictions, references, TYPES, stemmed)
    for i, (prediction, group) in enumerate(zip(predictions, references, strict=True)):
        expected = SCORERS[stemmed].score_multi(group, prediction)
        for kind in TYPES:
            triple = tuple(float(values[i]) for values in found[kind])
            assert triple == tuple(expected[kind]), (kind, prediction, group)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), max_size=3), st.booleans()
)
def test_generated_texts(pairs: list[tuple[str, list[str]]], stemmed: bool) -> None:
    agree([text for text, _ in pairs], [group for _, group in pairs], stemmed)


@settings(deadline=None, max_examples=300)
@given(few_words, few_words)
def test_generated_ties(prediction: str, reference: str) -> None:
    agree([prediction], [[reference]], False)


@pytest.mark.slow
@pytest.mark.parametrize("stemmed", [False, True])
def test_real_summaries(stemmed: bool) -> None:
    """Titles against summaries, and first abstract sentences on lines against all references."""
    rows = real_rows("summarization/scitldr_test.jsonl")
    agree([row["title"] for row in rows], [row["references"] for row in rows], stemmed)
    some = rows[::10]
    sentences = ["\n".join(re.split(r"(?<=[.])\s", row["document"])[:5]) for row in some]
    joined = [["\n".join(row["references"][:3])] for row in some]
    agree(sentences, joined, stemmed)


@pytest.mark.parametrize(
    "source", ["summarization/scitldr_test.jsonl", "summarization/scitldr_train.jsonl"]
)
def test_real_words_have_nltks_stems(source: str) -> None:
    text = " ".join(f"{row['title']} {row['document']}" for row in real_rows(source)).lower()
    for word in sorted(set(re.findall("[a-z0-9]+", text))):
        assert stem(word) == PORTER.stem(word)


@settings(deadline=None, max_examples=1000)
@given(
    st.text(alphabet="aeiouybstlzdcxw1", max_size=5),
    st.lists(st.sampled_from(ENDINGS), max_size=3).map("".join),
)
def test_generated_words_have_nltks_stems(head: str, tail: str) -> None:
    assert stem(head + tail) == PORTER.stem(head + tail)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(categories=["L", "N"]), max_size=12))
def test_unicode_words_have_nltks_stems(word: str) -> None:
    assert stem(word) == PORTER.stem(word)
