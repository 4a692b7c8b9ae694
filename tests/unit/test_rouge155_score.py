"""ROUGE-1.5.5 as a whole: options, references, averages, intervals, and mistakes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.errors import ConfigError, DataError
from loratory.metrics.rouge.rouge155 import Evaluation, Rouge155Options, rouge155
from loratory.metrics.rouge.rouge155.resample import draws, estimate

EVERYTHING = Rouge155Options(
    max_n=3, weight=1.2, skip_gap=2, skip_units="both", stem=True, samples=5
)
words = st.sampled_from(["a", "b", "c", "running", "runs", "geese", "\n", "é", "the"])
texts = st.lists(words, max_size=12).map(" ".join)


def test_printed_lines() -> None:
    """The lines are the script's, for `-n 2 -w 1.2 -2 4 -U -d`."""
    evaluations = [("the cat sat on the mat", ["the cat was on a mat", "a dog"])]
    options = Rouge155Options(max_n=1, weight=1.2, skip_gap=4, skip_units="both")
    lines = rouge155(evaluations, options).text(each=True).splitlines()
    assert lines[:6] == [
        "---------------------------------------------",
        "X ROUGE-1 Average_R: 0.50000 (95%-conf.int. 0.50000 - 0.50000)",
        "X ROUGE-1 Average_P: 0.33333 (95%-conf.int. 0.33333 - 0.33333)",
        "X ROUGE-1 Average_F: 0.40000 (95%-conf.int. 0.40000 - 0.40000)",
        ".............................................",
        "X ROUGE-1 Eval 1.X R:0.50000 P:0.33333 F:0.40000",
    ]
    evaluated = [line for line in lines if "Eval" in line]
    assert evaluated[1:] == [
        "X ROUGE-L Eval 1.X R:0.50000 P:0.33333 F:0.40000",
        "X ROUGE-W-1.2 Eval 1.X R:0.33592 P:0.31525 F:0.32526",
        "X ROUGE-S4 Eval 1.X R:0.37500 P:0.20000 F:0.26087",
        "X ROUGE-SU4 Eval 1.X R:0.40909 P:0.22500 F:0.29032",
    ]


@pytest.mark.parametrize(
    ("average_over", "expected"),
    [
        (
            "words",
            "X ROUGE-1 Average_R: 0.67560 (95%-conf.int. 0.50000 - 1.00000)\n"
            "X ROUGE-1 Average_P: 0.54857 (95%-conf.int. 0.33333 - 1.00000)\n"
            "X ROUGE-1 Average_F: 0.60080 (95%-conf.int. 0.40000 - 1.00000)\n",
        ),
        ("counts", "X ROUGE-1 M_count: 10 P_count: 14 H_count: 6\n"),
    ],
)
def test_words_weigh_alike(average_over: str, expected: str) -> None:
    """Printed by the script for `-n 1 -x -t 1` and `-t 2`."""
    evaluations = [
        ("the cat sat on the mat", ["the cat was on a mat", "a dog"]),
        ("a b", ["b a"]),
    ]
    options = Rouge155Options(max_n=1, lcs=False, average_over=average_over)  # type: ignore[arg-type]
    assert rouge155(evaluations, options).text() == "-" * 45 + "\n" + expected


def test_best_reference_of_rouge_w_is_chosen_before_its_second_weighting() -> None:
    """The script's choice; by the recall it prints, it would be the second."""
    reference = "b e c g b g f\nc c g f c f g h d"
    evaluations = [("h\nd\nf d h f h f a g e", [reference, "h", "f d"])]
    result = rouge155(evaluations, Rouge155Options(weight=1.2, references="best"))
    assert result.counts["ROUGE-W-1.2"][0].reference == 1


@given(st.integers(1, 60), st.integers(1, 30))
def test_draws_stay_within_range(n: int, samples: int) -> None:
    drawn = list(draws(n, samples))
    assert len(drawn) == n
    assert all(index.shape == (samples,) and 0 <= index.min() <= index.max() < n for index in drawn)


def test_draws_are_perls() -> None:
    """What perl 5.36 gives for `srand($i); int(rand(1000)), int(rand(1000))`, $i from 0 to 3."""
    first, second = (index.tolist() for index in list(draws(1000, 4))[:2])
    assert list(zip(first, second, strict=True)) == [(170, 749), (41, 454), (912, 159), (783, 863)]


@pytest.mark.parametrize(
    ("samples", "confidence", "low", "high"),
    # Ranks among the resamples, read off what the script printed.
    [
        (1000, 95, 25, 974),
        (1000, 90, 50, 949),
        (500, 99, 2.5, 496.5),
        (10, 95, 0.75, 8.75),
        (10, 80, 1, 8),
        (10, 0, 5, 4),
        (10, 100, 0, 9),
        (13, 60, 2.4, 9.4),
        (3, 95, 0.925, 1.925),
        (30, 87.5, 1.125, 27.125),
        (1, 95, 0, 0),
    ],
)
def test_interval_ranks(samples: int, confidence: float, low: float, high: float) -> None:
    found = estimate(np.arange(samples, dtype=np.float64)[::-1], confidence)
    assert found == pytest.approx(((samples - 1) / 2, low, high))


def test_names_decide_the_draws() -> None:
    pairs = [(text, ["a b c d"]) for text in ("a", "a b", "x", "a b c d", "y")]
    options = Rouge155Options(max_n=1, lcs=False, samples=7)
    plain = rouge155(pairs, options)
    backwards = [Evaluation(*pair, name) for pair, name in zip(pairs, "edcba", strict=True)]
    forwards = [Evaluation(*pair, name) for pair, name in zip(pairs, "abcde", strict=True)]
    assert rouge155(backwards, options).averages != plain.averages
    shuffled = rouge155(forwards[::-1], options)
    assert shuffled.averages == plain.averages
    assert shuffled.ids == ["e", "d", "c", "b", "a"]


def test_jackknife_is_every_set_but_one() -> None:
    evaluations = [("a b c", ["a b", "b c d", "a"]), ("a", ["a b"])]
    knifed = rouge155(evaluations, replace(EVERYTHING, jackknife=True, references="best"))
    assert knifed.ids == ["1.1", "1.2", "1.3", "2"]
    sets = [
        Evaluation("a b c", ["a b", "b c d"], "1.1"),
        Evaluation("a b c", ["a b", "a"], "1.2"),
        Evaluation("a b c", ["b c d", "a"], "1.3"),
        Evaluation("a", ["a b"], "2"),
    ]
    assert knifed.averages == rouge155(sets, replace(EVERYTHING, references="best")).averages


@given(texts, st.lists(texts, min_size=1, max_size=3))
@settings(deadline=None)
def test_bounds(prediction: str, references: list[str]) -> None:
    for found in rouge155([(prediction, references)], EVERYTHING).scores.values():
        assert all(0 <= value <= 1 for value in found[0])


@given(texts)
@settings(deadline=None)
def test_a_text_against_itself(text: str) -> None:
    result = rouge155([(text, [text])], replace(EVERYTHING, weight=1))
    for name, (score,) in result.scores.items():
        assert score == ((1, 1, 1) if result.counts[name][0].reference else (0, 0, 0)), name


@given(texts, st.permutations(["a b c", "b a", "geese the runs", ""]))
@settings(deadline=None)
def test_order_of_averaged_references(prediction: str, references: list[str]) -> None:
    ordered = rouge155([(prediction, sorted(references))], EVERYTHING)
    assert rouge155([(prediction, references)], EVERYTHING).scores == ordered.scores


def test_names_and_signature() -> None:
    assert Rouge155Options().names() == ["ROUGE-L"]
    assert Rouge155Options().signature == "rouge155|ref:ROUGE-1.5.5"
    options = Rouge155Options(max_n=2, weight=2.0, skip_gap=-1, skip_units="both")
    assert options.names() == [
        "ROUGE-1",
        "ROUGE-2",
        "ROUGE-L",
        "ROUGE-W-2.0",
        "ROUGE-S*",
        "ROUGE-SU*",
    ]
    assert options.signature == (
        "rouge155|ref:ROUGE-1.5.5|max_n:2|weight:2.0|skip_gap:-1|skip_units:both"
    )


def test_wrong_options_are_told_together() -> None:
    options = Rouge155Options(
        max_n=1.5,  # type: ignore[arg-type]
        weight=0,
        references="bets",  # type: ignore[arg-type]
        max_words=1,
        max_bytes=1,
        confidence=float("nan"),
    )
    with pytest.raises(ConfigError) as caught:
        rouge155([("a", ["a"])], options)
    assert caught.value.problems == (
        "references: unknown 'bets'. Did you mean 'best'? Available: average, best.",
        "max_n: 1.5 is not a whole number, 0 or more.",
        "weight: 0 is not a number, 0.1 to 7.",
        "confidence: nan is not a number, 0 to 100.",
        "max_bytes: not together with max_words; set one of them to 0.",
    )
    with pytest.raises(ConfigError, match="nothing to compute"):
        rouge155([("a", ["a"])], Rouge155Options(lcs=False))


@pytest.mark.parametrize(
    ("evaluations", "message"),
    [
        ([], "evaluations: none"),
        (["text"], "evaluation 1: give a prediction and its references"),
        ([("a", [])], "evaluation 1: no references"),
        ([("a", "a"), ("a", None)], "evaluation 2: NoneType where text belongs"),
        ([(3, ["a"])], "evaluation 1: int where text belongs: 3"),
        ([("a", ["a"], "x"), ("a", ["a"], "x")], "evaluation x: named twice"),
    ],
)
def test_wrong_evaluations(evaluations: list[tuple[str, list[str]]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        rouge155(evaluations)


@pytest.mark.parametrize("text", ["", " \n", "…", "\ud800", "\x00\x07", "日本語"])
def test_text_without_words_scores_nothing(text: str) -> None:
    result = rouge155([(text, [text]), ("a", [text]), (text, ["a"])], EVERYTHING)
    assert all(score == (0, 0, 0) for found in result.scores.values() for score in found)


def test_long_texts() -> None:
    text = " ".join(f"w{i % 700}" for i in range(5000))
    options = Rouge155Options(max_n=4, skip_gap=-1, skip_units="both", samples=1)
    result = rouge155([(text, [text])], options)
    assert result.counts["ROUGE-S*"][0] == (12_497_500,) * 3
    assert result.counts["ROUGE-SU*"][0] == (12_502_499,) * 3
