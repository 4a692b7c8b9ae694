"""Near duplicates: all pairs a plain double loop finds, and no other."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.metrics import jaccard
from loratory.metrics.jaccard import candidates, similar
from loratory.metrics.shingles import compared_words, ngram_sets, without_common


def plain(texts, size, least):
    """The same by the definition: every two texts, sets of tuples."""

    def grams(text):
        words = compared_words(text)
        if len(words) < size:
            return {tuple(words) or ("", *text.split())}
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}

    sets = [grams(text) for text in texts]
    found = {}
    for j, two in enumerate(sets):
        for i, one in enumerate(sets[:j]):
            share = len(one & two) / len(one | two)
            if share >= least:
                found[i, j] = share
    return found


def joined(texts, size, least, **options):
    found = {}
    for pairs in similar(ngram_sets(texts, size), least, **options):
        for i, j, share in zip(*pairs, strict=True):
            found[int(i), int(j)] = float(share)
    return found


TEXT = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "é", "好", "👍", "."]), max_size=12).map(
    " ".join
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(TEXT, max_size=12),
    st.integers(1, 4),
    st.sampled_from([0.1, 0.3, 0.5, 2 / 3, 0.7, 0.8, 0.9, 1.0]),
)
def test_it_is_what_a_double_loop_finds(texts, size, least):
    assert joined(texts, size, least) == plain(texts, size, least)


@pytest.mark.parametrize("least", [0.3, 0.5, 0.8, 0.95])
def test_it_is_so_for_longer_texts_and_small_blocks(least, monkeypatch):
    monkeypatch.setattr(jaccard, "_BLOCK", 50)
    draw = random.Random(0)
    words = [f"w{i}" for i in range(300)]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 60))) for _ in range(40)]
    for text in texts[:30]:
        cut = text.split()
        for _ in range(draw.randint(1, 6)):
            cut[draw.randrange(len(cut))] = draw.choice(words)
        texts.append(" ".join(cut))
    texts.append(f"{texts[0]}!")
    expected = plain(texts, 2, least)
    assert joined(texts, 2, least) == expected and expected


def test_numbers_beyond_64_bits_are_numbered_anew():
    """Many different words, long n-grams: the product of the numbers would not fit."""
    texts = [" ".join(f"w{i + j}" for j in range(20)) for i in range(0, 400, 2)]
    assert joined(texts, 8, 0.5) == plain(texts, 8, 0.5)


@pytest.mark.parametrize(
    ("one", "two", "share"),
    [
        ("The cat sat on the mat.", "the  CAT sat, on the mat", 1.0),  # case, marks, spaces
        ("ＦＵＬＬ width ﬁne text", "full WIDTH fine text", 1.0),  # compatibility forms
        ("STRASSE im Regen", "straße im regen", 1.0),  # full case folding
        ("a b c d e f", "a b c d e g", 3 / 5),  # 4 trigrams each, 3 in both
        ("good film", "Good film!", 1.0),  # shorter than a trigram
        ("good film", "good movie", 0.0),
        ("👍 👍", "👍  👍", 1.0),  # no word at all
        ("👍", "👎", 0.0),
        ("今日は天気がいい", "今日は天気が悪い", 4 / 8),  # letters are words there
    ],
)
def test_what_is_alike(one, two, share):
    found = joined([one, two], 3, 0.01)
    assert found == ({(0, 1): pytest.approx(share)} if share else {})


def test_no_texts_and_one_text():
    assert joined([], 3, 0.8) == {}
    assert joined(["a b c"], 3, 0.8) == {}
    assert joined(["", ""], 3, 0.8) == {(0, 1): 1.0}


def test_wording_around_the_rows_does_not_count():
    around = "please read the following review with care and say what it thinks of the film"
    texts = [f"{around} w{i} x{i} y{i} z{i}" for i in range(30)]
    assert len(joined(texts, 3, 0.6)) == 30 * 29 / 2
    sets = without_common(ngram_sets(texts, 3), 0.5, 20)
    assert not any(len(pairs.first) for pairs in similar(sets, 0.6))
    # Too few texts to tell wording from rows; and a text of nothing else is still compared.
    few = ngram_sets(texts[:10], 3)
    assert without_common(few, 0.5, 20) is few
    bare = without_common(ngram_sets([*texts, around, around.upper()], 3), 0.5, 20)
    [pair] = [p for p in similar(bare, 0.5) if len(p.first)]
    assert (pair.first[0], pair.second[0]) == (30, 31)


def test_a_thinned_search_finds_some_and_nothing_wrong():
    texts = [f"a b c d e f g h i w{i}" for i in range(60)]
    assert candidates(ngram_sets(texts, 1), 0.8) > 500
    some = joined(texts, 1, 0.8, most=500)
    assert 0 < len(some) < 60 * 59 / 2
    assert some.items() <= plain(texts, 1, 0.8).items()


def test_bits_are_counted_alike_without_numpys_own(monkeypatch):
    values = np.random.default_rng(0).integers(0, 2**63, 100).astype(np.uint64)
    expected = [bin(int(value)).count("1") for value in values]
    assert jaccard._ones(values).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert jaccard._ones(values).tolist() == expected
