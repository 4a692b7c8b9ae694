"""What ROUGE-1.5.5 takes for words and units; all counts were printed by the script (`-t 2`)."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.errors import DataError
from loratory.metrics.rouge.rouge155 import Rouge155Options, rouge155
from loratory.metrics.rouge.rouge155.lcs import lcs_hits, weighted_hits
from loratory.metrics.rouge.rouge155.stem import irregular_forms, stem
from loratory.metrics.rouge.rouge155.text import stop_words
from loratory.metrics.rouge.rouge155.units import skip_hits, skip_units

few = st.lists(st.integers(0, 4), max_size=14)


def counts(prediction: str, reference: str, **options: object) -> dict[str, tuple[float, ...]]:
    """Return reference, prediction and hit counts by name, as `-t 2` prints them."""
    result = rouge155([(prediction, [reference])], Rouge155Options(samples=1, **options))  # type: ignore[arg-type]
    return {name: tuple(found[0]) for name, found in result.counts.items()}


@pytest.mark.parametrize(
    ("text", "words", "shared"),
    [
        ("a-b c", 3, 3),
        ("a - b", 2, 2),
        ("state-of-the-art", 4, 0),
        ("a_b", 2, 2),
        ("it's", 2, 0),
        ("a $5 b", 3, 2),
        ("1,000.50", 3, 0),
        ("10x", 1, 0),
        ("é", 0, 0),
        ("naïve", 2, 0),
        ("U.S.A.", 3, 1),
        ("A B", 2, 2),
        ("a\u00a0b", 2, 2),
        ("a\x1cb", 2, 2),
        ("a\x00b", 2, 2),
        ("İI", 1, 0),
        ("ẞ ſ K", 1, 0),  # the last is the Kelvin sign
        ("", 0, 0),
    ],
)
def test_words(text: str, words: int, shared: int) -> None:
    assert counts(text, "a b c", max_n=1)["ROUGE-1"] == (3, words, shared)


@pytest.mark.parametrize(
    ("limit", "text", "words"),
    [
        (1, "  the cat", 0),  # the space before the first word is one
        (2, "  the cat", 1),
        (1, "  \nthe cat", 1),
        (1, "... the cat", 0),
        (2, "\nthe\n\ncat sat", 2),
        (1, "à b c d", 0),
        (1, "a\x1cb c d", 2),
        (1, "a\x0bb c d", 1),
        (1, "a-b-c d", 3),
        (3, "the cat's sat-on the mat", 5),
    ],
)
def test_word_limit(limit: int, text: str, words: int) -> None:
    assert counts(text, "x", max_n=1, max_words=limit)["ROUGE-1"][1] == words


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (24, {"ROUGE-1": (7, 7, 7), "ROUGE-L": (7, 7, 7), "ROUGE-W-1": (7, 7, 7)}),
        (25, {"ROUGE-1": (8, 8, 8), "ROUGE-L": (10, 8, 8), "ROUGE-W-1": (10, 8, 7)}),
        (27, {"ROUGE-1": (9, 9, 9), "ROUGE-L": (10, 9, 8), "ROUGE-W-1": (10, 9, 7)}),
        (29, {"ROUGE-1": (9, 9, 9), "ROUGE-L": (10, 9, 9), "ROUGE-W-1": (10, 9, 7)}),
        (38, {"ROUGE-1": (10, 10, 10), "ROUGE-L": (10, 10, 10), "ROUGE-W-1": (10, 10, 10)}),
    ],
)
def test_byte_limit_forgets_earlier_lines(limit: int, expected: dict[str, object]) -> None:
    text = "the cat's sat-on the mat\nA dog, barked"
    assert counts(text, text, max_n=1, weight=1, max_bytes=limit) == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "whole", "hits"),
    [
        ("a b c d e", "a b c d e", 625, 25),
        ("a b c x d", "a b c d", 256, 16),
        ("a b c d", "a b c x d", 625, 10),
        ("a b\nc d", "a b\nc d", 64, 8),
        ("a b", "a b\na b", 64, 4),
        # A clipped word does not end a run; a run that ends in one is lost.
        ("a b c d e", "c\na b c d e", 676, 17),
        ("a b c d e", "e\na b c d e", 676, 1),
        ("a b c", "c\na b c x y", 676, 1),
        ("a b c d", "c\na b c x d", 676, 10),
    ],
)
def test_weighted_runs(prediction: str, reference: str, whole: int, hits: int) -> None:
    found = counts(prediction, reference, weight=2)["ROUGE-W-2"]
    assert found == (whole, len(prediction.split()) ** 2, hits)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("H", [(2, 0, 0), (2, 0, 0), (2, 1, 1), (2, 1, 0)]),
        ("HM", [(3, 1, 1), (3, 1, 1), (3, 0, 0), (3, 0, 0)]),
        ("HMR", [(3, 1, 0), (3, 0, 0), (3, 1, 1), (3, 0, 0)]),
        ("HM1", [(5, 1, 1), (5, 1, 1), (5, 1, 1), (5, 1, 0)]),
        ("HMR1", [(3, 1, 0), (3, 1, 1), (3, 0, 0), (3, 0, 0)]),
        ("HMR2", [(5, 1, 0), (5, 1, 1), (5, 1, 1), (5, 1, 0)]),
    ],
)
def test_basic_elements(mode: str, expected: list[tuple[int, ...]]) -> None:
    reference = "a|b|c\na|b|nil\na|nil|c\na|nil|nil\nnil|b|c"
    for element, found in zip(
        ("a|b|d", "A|b|NIL", "a|nil|c", "nil|nil|nil"), expected, strict=True
    ):
        assert counts(element, reference, basic_elements=mode) == {f"ROUGE-BE-{mode}": found}


def test_basic_elements_are_stemmed_word_by_word() -> None:
    stemmed = {"basic_elements": "HM", "stem": True}
    assert counts("Houses cats|b|c", "house cat|b|c", **stemmed)["ROUGE-BE-HM"] == (1, 1, 1)
    assert counts("a|b|subjects", "a|b|subject", basic_elements="HMR", stem=True) == {
        "ROUGE-BE-HMR": (1, 1, 0)
    }


@pytest.mark.parametrize("line", ["a|b", "a", "a|b|c|d", "a|b|", " ", "||"])
def test_no_basic_element(line: str) -> None:
    with pytest.raises(DataError, match=r"evaluation 1: line 2: .* is no basic element"):
        counts("a|b|c\n" + line, "a|b|c", basic_elements="HM")


def test_stop_words_and_irregular_forms_come_whole() -> None:
    assert len(stop_words()) == 596  # of 598 lines; `may` and `would` stand there twice
    assert len(irregular_forms()) == 5930


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("was", "was"),  # an irregular form, but too short to be looked up
        ("flew", "fly"),
        ("geese", "goose"),  # and goose itself is stemmed: the two do not meet
        ("goose", "goos"),
        ("better", "well"),
        ("experimental", "experi"),
        ("topology", "topolog"),
        ("ponies", "poni"),
    ],
)
def test_stem(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_stem_without_irregular_forms() -> None:
    assert [stem(word, irregular=False) for word in ("flew", "geese")] == ["flew", "gees"]


@given(few, few, st.integers(-1, 6))
def test_skip_bigrams_are_all_pairs_within_the_gap(
    left: list[int], right: list[int], gap: int
) -> None:
    def pairs(ids: list[int]) -> list[tuple[int, int]]:
        near = combinations(enumerate(ids), 2)
        return [(a, b) for (i, a), (j, b) in near if gap < 0 or j - i <= gap + 1]

    one, other = pairs(left), pairs(right)
    assert (skip_units(len(left), gap), skip_units(len(right), gap)) == (len(one), len(other))
    expected = sum(min(one.count(pair), other.count(pair)) for pair in set(one))
    assert skip_hits(left, right, gap) == expected


@given(few, few)
def test_weight_one_counts_words(left: list[int], right: list[int]) -> None:
    plenty = dict.fromkeys(range(5), 99)
    assert weighted_hits([left], [right], plenty, 1) == lcs_hits([left], [right], plenty)
