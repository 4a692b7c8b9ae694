"""The sentence a reader takes away, and numbers as text."""

from dataclasses import replace
from typing import Any

import pytest
from test_report_data import CLASSES, ROUGE, WORDS, comparison, place

from loratory.records import Comparison, Place
from loratory.report import wording

BETTER = comparison("rougeLsum", 0.142, 0.24, 0.071, 0.126)


def judged(verdict: str, adjusted: float, family: int) -> dict[str, Any]:
    return {"verdict": verdict, "p_adjusted": adjusted, "family": family}


@pytest.mark.parametrize(
    ("item", "verdict", "sentence"),
    [
        (
            BETTER,
            "improved",
            "ROUGE-Lsum rose from 14.2 to 24.0 (+9.8, 95% interval 7.1 to 12.6, n = 30): "
            "the interval is clear of zero.",
        ),
        (
            comparison("rougeLsum", 0.142, 0.24, 0.071, 0.126, p=1 / 10_001),
            "improved",
            "ROUGE-Lsum rose from 14.2 to 24.0 (+9.8, 95% interval 7.1 to 12.6, p < 0.001, "
            "n = 30): the interval is clear of zero.",
        ),
        (
            # Without a recorded verdict the words follow the interval, not p.
            comparison("accuracy", 0.5, 0.51, -0.02, 0.04, p=0.0312),
            "no evidence",
            "There is no evidence of a change in Accuracy: 50.0 before, 51.0 after "
            "(+1.0, 95% interval −2.0 to 4.0, p = 0.031, n = 30); the interval includes zero.",
        ),
        (
            comparison("rougeLsum", 0.24, 0.142, -0.126, -0.071),
            "worse",
            "ROUGE-Lsum fell from 24.0 to 14.2 (−9.8, 95% interval −12.6 to −7.1, n = 30): "
            "the tuned model is worse, and the interval is clear of zero.",
        ),
        (
            comparison("accuracy", 0.5, 0.51, -0.02, 0.04, confidence=0.9),
            "no evidence",
            "There is no evidence of a change in Accuracy: 50.0 before, 51.0 after "
            "(+1.0, 90% interval −2.0 to 4.0, n = 30); the interval includes zero.",
        ),
        (
            comparison("accuracy", 0.5, 0.51, 0.0, 0.04),
            "no evidence",
            "There is no evidence of a change in Accuracy: 50.0 before, 51.0 after "
            "(+1.0, 95% interval 0.0 to 4.0, n = 30); the interval includes zero.",
        ),
        (
            comparison("ece", 0.19, 0.12, -0.1, -0.01, lower_is_better=True),
            "improved",
            "Calibration error (ECE) fell from 19.0 to 12.0 (−7.0, 95% interval −10.0 to −1.0, "
            "n = 30): lower is better, and the interval is clear of zero.",
        ),
        (
            comparison("ece", 0.12, 0.19, 0.01, 0.1, lower_is_better=True),
            "worse",
            "Calibration error (ECE) rose from 12.0 to 19.0 (+7.0, 95% interval 1.0 to 10.0, "
            "n = 30): the tuned model is worse, and the interval is clear of zero.",
        ),
        (
            # The verdict that was recorded counts, not the interval.
            comparison("accuracy", 0.5, 0.56, 0.01, 0.11, p=0.02, **judged("no evidence", 0.12, 6)),
            "no evidence",
            "There is no evidence of a change in Accuracy: 50.0 before, 56.0 after "
            "(+6.0, 95% interval 1.0 to 11.0, p = 0.020, 0.120 corrected for 6 values, n = 30); "
            "the interval by itself is clear of zero, but the p value is not small enough for one "
            "of 6 values.",
        ),
        (
            comparison("accuracy", 0.5, 0.5, 0.0, 0.0, p=1.0, **judged("no evidence", 1.0, 6)),
            "no evidence",
            "There is no evidence of a change in Accuracy: 50.0 before and after; no row moved it "
            "(n = 30).",
        ),
        (
            comparison(
                "accuracy",
                0.5,
                0.51,
                -0.07,
                0.09,
                p=0.7,
                **judged("test too small", 0.7, 1),
                detectable=0.114,
                relevant=0.02,
                rows_needed=975,
            ),
            "test too small",
            "The test is too small to tell whether Accuracy changed: 50.0 before, 51.0 after "
            "(+1.0, 95% interval −7.0 to 9.0, p = 0.700, n = 30). Four times in five it would have "
            "found a difference of 11.4 or more; for one of 2.0 it takes about 980 rows.",
        ),
        (
            replace(
                comparison("accuracy", 0.5, 0.6, 0.01, 0.2, p=0.04), n=9, verdict="test too small"
            ),
            "test too small",
            "The test is too small to tell whether Accuracy changed: 50.0 before, 60.0 after "
            "(+10.0, 95% interval 1.0 to 20.0, p = 0.040, n = 9). It takes at least 10 rows to say "
            "anything.",
        ),
        (
            comparison(
                "accuracy",
                0.5,
                0.51,
                -0.07,
                0.09,
                p=0.7,
                **judged("test too small", 0.7, 1),
                detectable=0.114,
                relevant=0.02,
                seeds=3,
            ),
            "test too small",
            "The test is too small to tell whether Accuracy changed: 50.0 before, 51.0 after "
            "(+1.0, 95% interval −7.0 to 9.0, p = 0.700, n = 30, 3 seeds). Four times in five it "
            "would have found a difference of 11.4 or more, where 2.0 matters; more seeds or more "
            "rows would help.",
        ),
        (
            Comparison("bleu", None, None, None, None, None, 30, "s", reason="no references"),
            "undefined",
            "BLEU could not be compared: no references.",
        ),
        (
            Comparison("bleu", 0.1, 0.2, 0.1, None, None, 30, "s"),
            "no interval",
            "BLEU went from 10.0 to 20.0 (+10.0, n = 30): without an interval this shows nothing.",
        ),
    ],
)
def test_outcome(item: Comparison, verdict: str, sentence: str):
    assert wording.verdict(item) == verdict
    assert wording.outcome(item) == sentence


@pytest.mark.parametrize(
    ("items", "metric"),
    [
        ((), None),
        ((WORDS,), None),
        ((WORDS, *ROUGE), "rougeLsum"),
        (CLASSES, "accuracy"),
        ((comparison("chrf", 0, 1, 0, 1), *ROUGE), "chrf"),
        ((comparison("rouge2", 0, 1, 0, 1),), "rouge2"),
    ],
)
def test_headline(items: tuple[Comparison, ...], metric: str | None):
    lead = wording.headline(items)
    assert (lead.metric if lead else None) == metric


def test_a_metric_of_another_package_may_say_that_it_only_describes():
    item = Comparison("commas", 1.0, 2.0, 1.0, 0.5, 1.5, 3, "s", descriptive=True)
    assert wording.headline((item,)) is None


def test_an_interval_clear_of_zero_looks_so():
    tight = comparison("accuracy", 0.5, 0.5021, 0.0002, 0.004)
    assert wording.difference(tight) == ("+0.21", "0.02 to 0.40")
    assert wording.difference(comparison("a", 0.5, 0.5, 0.0, 0.0)) == ("0.0", "0.0 to 0.0")


@pytest.mark.parametrize(
    ("value", "metric", "shown"),
    [
        (0.24, "rougeL", "24.0"),
        (24.31, "words", "24.3"),
        (0.975, "finished", "97.5%"),
        (1234.5, "perplexity", "1,234.5"),
        (-0.0001, "mcc", "0.0"),
        (None, "mcc", "–"),
    ],
)
def test_score(value: float | None, metric: str, shown: str):
    assert wording.score(value, metric) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (None, ""),
        (1.0, "1.000"),
        (0.0314159, "0.031"),
        (0.001, "0.001"),
        (0.00099, "< 0.001"),
        (1 / 10_001, "< 0.001"),
    ],
)
def test_p_value(p: float | None, shown: str):
    assert wording.p_value(p) == shown


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (
            place("lead_sentence", 1.374, 1.2, 1.55),
            "137% (95% interval 120% to 155%) of the way from random summary to the best baseline "
            "(lead sentence)",
        ),
        (
            place("human", -0.004, -0.11, 0.1, confidence=0.9),
            "0% (90% interval −11% to 10%) of the way from random summary to human agreement "
            "(30 rows have several references)",
        ),
        (
            replace(place("human", 0.5, 0.5, 0.5), n=1),
            "50% (95% interval 50% to 50%) of the way from random summary to human agreement "
            "(1 row has several references)",
        ),
        (place("human", None, None, None, reason="no"), ""),
    ],
)
def test_place(item: Place, shown: str):
    assert wording.place(item) == shown


def test_control_characters_are_seen_and_do_not_act():
    assert wording.clean("a\x1b[31m\x00\x7f\x9b\u202e\ud800b\r\nc\td") == (
        "a␛[31m␀␡⟨U+009B⟩⟨U+202E⟩⟨U+D800⟩b\nc\td"
    )
    kept = "שלום 日本語 👩‍👩‍👧 naïve"
    assert wording.clean(kept) == kept


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (wording.duration(1.23), "1.2 s"),
        (wording.duration(59.99), "1 min 0 s"),
        (wording.duration(181), "3 min 1 s"),
        (wording.duration(7500), "2 h 5 min"),
        (wording.duration("soon"), "soon"),
        (wording.size(1.5e9), "1.4 GiB"),
        (wording.size(512), "512 B"),
        (wording.size(None), "None"),
        (wording.count(134515008), "134,515,008"),
        (wording.count(True), "True"),
        (wording.moment("2026-05-09T07:35:25+00:00"), "9 May 2026, 07:35 UTC"),
        (wording.moment("yesterday"), "yesterday"),
        (wording.metric_name("rougeLsum"), "ROUGE-Lsum"),
        (wording.metric_name("weighted_recall"), "Weighted recall"),
        (wording.confidence(0.95), "95%"),
    ],
)
def test_numbers_as_text(shown: str, expected: str):
    assert shown == expected
