"""Copying from the source: cases done on paper, and Grusky et al.'s search told literally."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.evaluation.score import score
from loratory.metrics.extractiveness import Extractiveness, fragments, novel_share
from loratory.records import Prediction

tokens = st.lists(st.sampled_from("abc"), max_size=14)


def grusky(answer: list[str], source: list[str]) -> list[tuple[int, int]]:
    """Figure 2 of the paper, line by line, from 0 instead of 1."""
    found, i, j = [], 0, 0
    while i < len(answer):
        best = 0
        while j < len(source):
            if answer[i] == source[j]:
                k, m = i, j
                while k < len(answer) and m < len(source) and answer[k] == source[m]:
                    k, m = k + 1, m + 1
                best = max(best, k - i)
                j = m
            else:
                j += 1
        if best:
            found.append((i, i + best))
        i, j = i + max(best, 1), 0
    return found


@settings(deadline=None, max_examples=300)
@given(tokens, tokens)
def test_fragments_are_those_of_the_paper(answer: list[str], source: list[str]) -> None:
    assert fragments(answer, source) == grusky(answer, source)


@pytest.mark.parametrize(
    ("answer", "source", "expected"),
    [
        # coverage, density, compression, novel 1 to 4
        # fragments: "the cat sat" (3), "mat" (1); "on a" is new
        ("the cat sat on a mat", "the cat sat by the mat", [4 / 6, 10 / 6, 1, 2 / 6, 3 / 5]),
        ("a b", "x a b y", [1, 4 / 2, 2, 0, 0]),
        ("b a", "a b", [1, 2 / 2, 1, 0, 1]),
        ("x x", "a", [0, 0, 1 / 2, 1, 1]),
        ("A, b!", "a b", [1, 2, 1, 0, 0]),  # case and marks do not count
    ],
)
def test_values_done_by_hand(answer: str, source: str, expected: list[float]) -> None:
    scores = score([Prediction("1", answer, source=source)], [Extractiveness()], resamples=10)
    assert [x.metric for x in scores[:5]] == [
        "coverage",
        "density",
        "compression",
        "novel1",
        "novel2",
    ]
    assert [x.value for x in scores[:5]] == pytest.approx(expected)
    assert all(x.descriptive for x in scores)
    assert scores[0].signature == "coverage|tokens:rouge_score|v:1"


def test_what_an_answer_does_not_have_is_left_out_of_the_mean() -> None:
    rows = [Prediction("1", "a b", source="a b"), Prediction("2", "", source="a b")]
    scores = {x.metric: x for x in score(rows, [Extractiveness()], resamples=10)}
    assert scores["coverage"].value == 1 and scores["compression"].value == 1
    assert scores["novel3"].value is None and scores["novel3"].reason == "no answer has 3 words"
    empty = score(rows[1:], [Extractiveness()], resamples=10)[0]
    assert empty.value is None and empty.reason == "no answer has a word"


def test_other_scripts_by_profile() -> None:
    row = [Prediction("1", "東京で雨", source="昨日、東京で大雨")]
    found = {
        name: score(row, [Extractiveness(tokens=name)], resamples=5)[0].value
        for name in ("rouge_score", "words")
    }
    assert found == {"rouge_score": None, "words": 1.0}
    assert Extractiveness(tokens="x").problems()[0].startswith("tokens: unknown")  # type: ignore[arg-type]


def test_repeated_n_grams_count_as_often_as_they_occur() -> None:
    assert novel_share(["x", "x", "a", "b"], ["a", "b"], 1) == 2 / 4
    assert novel_share(["a"], ["a"], 2) is None


def test_a_long_pair_of_one_word_ends() -> None:
    words = ["a"] * 20_000
    assert fragments(words[:2000], words) == [(0, 2000)]
