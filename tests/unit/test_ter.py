"""TER by hand, its settings, and what it refuses. Equality with sacrebleu is in parity."""

from __future__ import annotations

import importlib.metadata
import time

import pytest

from loratory.errors import ConfigError, DataError
from loratory.evaluation.compare import compare
from loratory.evaluation.score import score
from loratory.metrics.ter import Ter
from loratory.records import Prediction
from measured import value


@pytest.mark.parametrize(
    ("metric", "text", "reference", "expected"),
    [
        (Ter(), "a b c d", "a b c d", 0.0),
        (Ter(), "a x c d", "a b c d", 1 / 4),  # a substitution
        (Ter(), "a b c", "a b c d", 1 / 4),  # an insertion
        (Ter(), "a b c d e f", "a b c d", 2 / 4),  # two deletions
        (Ter(), "c d a b", "a b c d", 1 / 4),  # a shift of two words
        (Ter(), "x x x x x x", "a b", 6 / 2),  # it may exceed 1
        (Ter(), "", "a b", 1.0),
        (Ter(), "A b", "a b", 0.0),
        (Ter(case_sensitive=True), "A b", "a b", 1 / 2),
        (Ter(), "a, b", "a b", 1 / 2),
        (Ter(normalized=True), "a, b", "a , b", 0.0),
        (Ter(no_punct=True), "a, b!", "a b", 0.0),
        (Ter(normalized=True, asian_support=True), "東京", "東都", 1 / 2),
        (Ter(no_punct=True, asian_support=True), "東京。", "東京", 0.0),
    ],
)
def test_values_done_by_hand(metric: Ter, text: str, reference: str, expected: float) -> None:
    assert value(metric, (text, (reference,))) == pytest.approx(expected, abs=1e-12)


def test_edits_of_rows_are_added_and_not_their_rates() -> None:
    assert value(Ter(), ("a", ("b",)), ("a b c", ("a b c",))) == pytest.approx(1 / 4)


def test_the_fewest_edits_count_over_the_mean_length() -> None:
    assert value(Ter(), ("a b", ("a b c", "x y z a b"))) == pytest.approx(1 / 4)


def test_references_without_words_are_undefined() -> None:
    (found,) = score([Prediction("1", "a", ("",))], [Ter()], resamples=5)
    assert found.value is None and found.reason == "the references have no word"
    (found,) = score([Prediction("1", "a", (".",))], [Ter(no_punct=True)], resamples=5)
    assert found.value is None


def test_lower_is_better() -> None:
    base = [Prediction(str(i), "x y", ("a b",)) for i in range(12)]
    tuned = [Prediction(str(i), "a y", ("a b",)) for i in range(12)]
    (found,) = compare(base, tuned, [Ter()], resamples=20)
    assert (found.base, found.tuned, found.improved) == (1.0, 0.5, True)


def test_the_signature_says_what_makes_the_number() -> None:
    version = importlib.metadata.version("sacrebleu")
    assert Ter(no_punct=True).signature == (
        f"ter|ref:sacrebleu-{version}|normalized:no|no_punct:yes|asian_support:no"
        "|case_sensitive:no|v:1"
    )


def test_a_setting_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^ter\.asian_support: without normalized or no_punct"):
        score([Prediction("1", "a", ("a",))], [Ter(asian_support=True)])


def test_what_is_not_text_is_refused_by_row() -> None:
    with pytest.raises(DataError, match=r"row 'r1': text must be text, got int\."):
        Ter().statistics([Prediction("r1", 7, ("a",))])  # type: ignore[arg-type]


def test_odd_characters_are_scored() -> None:
    odd = "\ud800 a\x00b \x1b[31m \u202e \r\n c"
    assert value(Ter(normalized=True), (odd, (odd,))) == 0.0


@pytest.mark.parametrize("side", ["text", "reference"])
def test_a_text_that_would_take_minutes_is_refused_at_once(side: str) -> None:
    long, short = "word " * 100_000, "a b c"
    text, reference = (long, short) if side == "text" else (short, long)
    began = time.monotonic()
    with pytest.raises(DataError, match=r"row 'r1': a text has 100,000 words; ter takes at most"):
        Ter().statistics([Prediction("r1", text, (reference,))])
    assert time.monotonic() - began < 5
