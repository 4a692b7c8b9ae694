"""ROUGE-W, S and SU against Lin's paper and by hand; bands."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.errors import ConfigError, DataError
from loratory.metrics.rouge import band, rouge
from loratory.metrics.rouge.kind import Kind, is_extension, kind_of
from loratory.metrics.rouge.skip import _hits_by_word, skip_hits, skip_units, su_hits, su_units
from loratory.metrics.rouge.weighted import weighted_lcs

ids = st.lists(st.integers(0, 3), max_size=14)
gaps = st.one_of(st.none(), st.integers(0, 5))


# Lin 2004, section 5: S1 is the reference, β = 1.
@pytest.mark.parametrize(
    ("kind", "prediction", "expected"),
    [
        ("rougeS*", "police kill the gunman", 3 / 6),
        ("rougeS*", "the gunman kill police", 1 / 6),
        ("rougeS*", "the gunman police killed", 2 / 6),
        ("rougeS*", "gunman the killed police", 0),
        # Section 5.1: with words as units, the last is told from a text with none in common.
        ("rougeSU*", "gunman the killed police", 4 / 10),
        ("rougeSU*", "police kill the gunman", 6 / 10),
        # Section 3.1: S2 and S3 share as many bigrams with S1, ROUGE-L tells them apart.
        ("rougeL", "police kill the gunman", 3 / 4),
        ("rougeL", "the gunman kill police", 2 / 4),
        ("rougeL", "the gunman police killed", 2 / 4),
        ("rouge2", "police kill the gunman", 1 / 3),
        ("rouge2", "the gunman kill police", 1 / 3),
        ("rougeS0", "police kill the gunman", 1 / 3),  # a gap of 0 leaves bigrams
        ("rougeS1", "police kill the gunman", 2 / 5),  # "police the", "the gunman"
        ("rougeSU1", "police kill the gunman", 5 / 9),
    ],
)
def test_lins_example(kind: str, prediction: str, expected: float) -> None:
    overlap = rouge([prediction], ["police killed the gunman"], [kind], stem=False)[kind]
    assert overlap.precision[0] == overlap.recall[0] == expected
    assert overlap.f[0] == pytest.approx(expected, abs=1e-15)


# Lin 2004, section 4: X = A B C D E F G, Y1 = A B C D H I K, Y2 = A H B K C I D.
@pytest.mark.parametrize(
    ("kind", "prediction", "value"),
    [
        ("rougeW-2", "a b c d h i k", math.sqrt(16 / 49)),  # the paper's 0.571
        ("rougeW-2", "a h b k c i d", math.sqrt(4 / 49)),  # the paper's 0.286
        ("rougeW-1", "a h b k c i d", 4 / 7),  # plain LCS
        ("rougeW-1.2", "a b c d h i k", 4 / 7),  # one run: (4^w / 7^w)^(1/w)
        ("rougeW-1.2", "a b x c d y y", (2 * 2**1.2 / 7**1.2) ** (1 / 1.2)),
        ("rougeW-1.2", "x", 0),
        ("rougeW-1.2", "", 0),
    ],
)
def test_lins_weighted_example(kind: str, prediction: str, value: float) -> None:
    overlap = rouge([prediction], ["a b c d e f g"], [kind])[kind]
    assert overlap.recall[0] == pytest.approx(value, abs=1e-12)
    length = max(len(prediction.split()), 1)
    assert overlap.precision[0] == pytest.approx(value * 7 / length, abs=1e-12)


def lins_table(left: list[int], right: list[int], weight: float) -> float:
    """The algorithm of section 4, line by line."""
    c = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    w = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, j in itertools.product(range(1, len(left) + 1), range(1, len(right) + 1)):
        if left[i - 1] == right[j - 1]:
            k = w[i - 1][j - 1]
            c[i][j] = c[i - 1][j - 1] + (k + 1) ** weight - k**weight
            w[i][j] = k + 1
        else:
            c[i][j] = max(c[i - 1][j], c[i][j - 1])
    return c[-1][-1]


@settings(deadline=None)
@given(ids, ids, st.sampled_from([1.0, 1.2, 2.0, 9.5]))
def test_the_diagonals_give_lins_table(left: list[int], right: list[int], weight: float) -> None:
    assert weighted_lcs(left, right, weight) == pytest.approx(lins_table(left, right, weight))
    assert weighted_lcs(left, left, weight) == len(left) ** weight


@settings(deadline=None)
@given(ids, ids, gaps)
def test_skip_bigrams_are_pairs_in_order(
    left: list[int], right: list[int], gap: int | None
) -> None:
    def pairs(words: list[int]) -> list[tuple[int, int]]:
        places = itertools.combinations(range(len(words)), 2)
        far = len(words) if gap is None else gap
        return [(words[i], words[j]) for i, j in places if j - i - 1 <= far]

    one, other = pairs(left), pairs(right)
    assert skip_units(len(left), gap) == len(one)
    assert su_units(len(left), gap) == len(one) + len(left)
    expected = sum(min(one.count(pair), other.count(pair)) for pair in set(one))
    assert skip_hits(left, right, gap) == _hits_by_word(left, right, gap) == expected
    assert su_hits(left, left, gap) == su_units(len(left), gap)


def test_long_texts_need_no_square_of_memory() -> None:
    words = " ".join(f"w{i * i % 97}" for i in range(4000))
    found = rouge([words], [words], ["rougeS*", "rougeSU*", "rougeW-1.2"])
    assert [found[kind].f[0] for kind in found] == [1, 1, 1]


def test_names_of_types() -> None:
    assert kind_of("rouge3") == Kind("N", n=3)
    assert kind_of("rougeW-1.25") == Kind("W", weight=1.25)
    assert kind_of("rougeS*") == Kind("S") and kind_of("rougeSU12") == Kind("SU", gap=12)
    assert is_extension("rougeS4") and not is_extension("rougeLsum") and not is_extension("x")


@pytest.mark.parametrize(
    "name", ["rougeW", "rougeW-0.5", "rougeW-1.20", "rougeW-10", "rougeS", "rougeS04", "rougeSU-1"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="rougeS4 and rougeSU4"):
        rouge(["a"], ["a"], [name])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "poor"),
        (0.1999, "poor"),
        (0.2, "fair"),
        (0.3999, "fair"),
        (0.4, "moderate"),
        (0.6, "good"),
        (0.7999, "good"),
        (0.8, "excellent"),
        (1, "excellent"),
    ],
)
def test_bands(value: float, expected: str) -> None:
    assert band(value) == expected


@pytest.mark.parametrize("value", [-0.1, 1.1, 41.27, math.nan])
def test_no_band_outside_of_the_scale(value: float) -> None:
    with pytest.raises(DataError, match="from 0 to 1"):
        band(value)


@pytest.mark.parametrize(
    ("predictions", "references", "sentence"),
    [
        ("a", ["a"], "predictions: one text"),
        (["a"], "a", "references: one text"),
        (["a", None], ["a", "b"], "pair 1: the prediction is NoneType, not text"),
        (["a"], [3], "pair 0: the reference is int, not text"),
        (["a"], [["a", 2.5]], "pair 0: the reference is float, not text"),
    ],
)
def test_what_is_no_text_is_named(predictions: object, references: object, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        rouge(predictions, references)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["\ud800", "\x00\x01", "a\ud800b", "a " * 3000, " \n\n "])
@pytest.mark.parametrize("tokens", ["rouge_score", "words", "characters"])
def test_odd_texts_have_scores(text: str, tokens: str) -> None:
    found = rouge([text], [text], ["rouge1", "rougeLsum", "rougeS4"], tokens=tokens)
    assert {float(values.f[0]) for values in found.values()} <= {0.0, 1.0}
