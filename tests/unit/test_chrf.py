"""chrF by hand, its settings, and what it refuses. Equality with sacrebleu is in parity."""

from __future__ import annotations

import importlib.metadata

import pytest

from loratory.errors import ConfigError, DataError
from loratory.evaluation.score import score
from loratory.metrics.chrf import Chrf
from loratory.records import Prediction
from measured import value


@pytest.mark.parametrize(
    ("metric", "text", "reference", "expected"),
    [
        # characters 2 of 3 and 2 of 4: F2 = 5 P R / (4 P + R)
        (Chrf(char_order=1), "abx", "abcd", 5 * (2 / 3) * (2 / 4) / (4 * (2 / 3) + 2 / 4)),
        (Chrf(char_order=1, beta=1), "abx", "abcd", 2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4)),
        (Chrf(char_order=1, beta=0), "abx", "abcd", 2 / 3),
        # pairs 1 of 2 and 1 of 3; precision and recall are means over the two orders
        (
            Chrf(char_order=2, beta=1),
            "abx",
            "abcd",
            2 * (7 / 12) * (5 / 12) / (7 / 12 + 5 / 12),
        ),
        # with chrF++.py's smoothing, F is the mean over the orders
        (
            Chrf(char_order=2, beta=1, eps_smoothing=True),
            "abx",
            "abcd",
            (2 * (2 / 3) * (1 / 2) / (7 / 6) + 2 * (1 / 2) * (1 / 3) / (5 / 6)) / 2,
        ),
        (Chrf(char_order=0, word_order=1, beta=1), "the cat.", "the cat", 2 * (2 / 3) / (5 / 3)),
        (Chrf(), "ab", "ab", 1.0),  # orders that neither is long enough for are left out
        (Chrf(), "a b", "ab", 1.0),  # white space does not count
        (Chrf(char_order=1, whitespace=True, beta=0), "a b", "ab", 2 / 3),
        (Chrf(char_order=1), "AB", "ab", 0.0),
        (Chrf(char_order=1, lowercase=True), "AB", "ab", 1.0),
        (Chrf(), "東京都", "東京都", 1.0),
        (Chrf(), "", "ab", 0.0),
    ],
)
def test_values_done_by_hand(metric: Chrf, text: str, reference: str, expected: float) -> None:
    assert value(metric, (text, (reference,))) == pytest.approx(expected, abs=1e-12)


def test_the_best_reference_of_a_row_counts() -> None:
    assert value(Chrf(), ("abc", ("xyz", "abc", "abd"))) == 1.0


def test_references_with_nothing_to_count_are_undefined() -> None:
    (found,) = score([Prediction("1", "a", (" \n",))], [Chrf()], resamples=5)
    assert found.value is None and found.reason == "the references have nothing to count"
    # One that has something is enough.
    assert value(Chrf(), ("a", ("",)), ("ab", ("ab",))) == 1.0


def test_the_signature_says_what_makes_the_number() -> None:
    version = importlib.metadata.version("sacrebleu")
    assert Chrf(word_order=2).signature == (
        f"chrf|ref:sacrebleu-{version}|char_order:6|word_order:2|beta:2|lowercase:no"
        "|whitespace:no|eps_smoothing:no|v:1"
    )


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        (Chrf(char_order=-1), "chrf.char_order: got -1; give a whole number from 0 to 20."),
        (Chrf(word_order=99), "chrf.word_order: got 99; give a whole number from 0 to 20."),
        (Chrf(beta=True), "chrf.beta: got True; give a whole number from 0 to 20."),
        (Chrf(beta=0.5), "chrf.beta: got 0.5; give a whole number from 0 to 20."),  # type: ignore[arg-type]
        (
            Chrf(char_order=0),
            "chrf.char_order: 0, as is word_order; one of the two must be at least 1.",
        ),
    ],
)
def test_wrong_settings_are_named(metric: Chrf, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        score([Prediction("1", "a", ("a",))], [metric])
    assert caught.value.problems == (problem,)


def test_what_is_not_text_is_refused_by_row() -> None:
    with pytest.raises(DataError, match=r"row 'r1': references must be text, got NoneType\."):
        Chrf().statistics([Prediction("r1", "a", (None,))])  # type: ignore[arg-type]


def test_odd_characters_are_scored() -> None:
    odd = "\ud800 a\x00b \x1b[31m \u202e \r\n c"
    assert value(Chrf(word_order=2), (odd, (odd,))) == pytest.approx(1.0)


def test_one_very_long_line() -> None:
    text = "word " * 40_000
    assert value(Chrf(), (text, ("word",))) is not None
