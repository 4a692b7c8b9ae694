"""ROUGE-1.5.5 as a metric, and the quick way through the table of ROUGE-W."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.errors import DataError
from loratory.evaluation.score import score
from loratory.metrics.base import METRICS
from loratory.metrics.rouge.rouge155 import Rouge155, Rouge155Options, lcs, rouge155
from loratory.records import Prediction
from realdata import real_data

WORDS = ["the cat sat on the mat", "a cat was\nsitting there", "geese ran", "", "…", "the mice"]


def predictions() -> list[Prediction]:
    return [
        Prediction(f"row {i}", text, (WORDS[i - 1], WORDS[i - 2])) for i, text in enumerate(WORDS)
    ]


def options_of(metric: Rouge155) -> Rouge155Options:
    names = {field.name for field in fields(Rouge155Options)} & set(vars(metric))
    return Rouge155Options(**{name: getattr(metric, name) for name in names})


@pytest.mark.parametrize("part", ["recall", "precision", "f"])
@pytest.mark.parametrize("jackknife", [False, True])
def test_values_are_means_of_what_the_script_rounds(part, jackknife: bool) -> None:
    metric = Rouge155(weight=1.2, skip_gap=4, skip_units="both", jackknife=jackknife, part=part)
    scripts = rouge155([(p.text, p.references) for p in predictions()], options_of(metric))
    found = score(predictions(), [metric], resamples=20)
    assert [item.metric for item in found] == [
        *("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-W-1.2", "ROUGE-S4", "ROUGE-SU4")
    ]
    for item in found:
        rows = [getattr(row, part) for row in scripts.scores[item.metric]]
        assert len(rows) == len(WORDS) * (1 + jackknife)
        assert item.value == pytest.approx(sum(rows) / len(rows), abs=1e-15)


def test_means_of_real_texts_are_near_the_printed_ones() -> None:
    """Those the script prints are means over resamples."""
    cases = json.loads(real_data("rouge/rouge155_vectors.json").read_text(encoding="utf-8"))
    case = max(cases["cases"], key=lambda case: len(case["evals"]))
    rows = [
        Prediction(str(i), item["peer"], tuple(item["models"]))
        for i, item in enumerate(case["evals"])
    ]
    scripts = rouge155([(row.text, row.references) for row in rows], Rouge155Options(max_n=2))
    for item in score(rows, [Rouge155()], resamples=20):
        assert item.value == pytest.approx(scripts.averages[item.metric].f.mean, abs=0.01)


def test_signatures_name_the_reference_and_what_departs() -> None:
    found = score(predictions(), [Rouge155(stem=True, part="recall", weight=1.2)], resamples=5)
    assert {item.metric: item.signature for item in found} == {
        name: f"{name}|ref:ROUGE-1.5.5|stem:True|part:recall|v:1"
        for name in ("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-W-1.2")
    }
    assert Rouge155().signature == "rouge155|ref:ROUGE-1.5.5|max_n:2|v:1"
    assert METRICS.get("rouge155") is Rouge155


def test_problems_are_those_of_the_options_and_of_the_part() -> None:
    wrong = Rouge155(max_n=-1, part="F")  # type: ignore[arg-type]
    assert wrong.problems() == [
        "max_n: -1 is not a whole number, 0 or more.",
        "part: unknown 'F'. Did you mean 'f'? Available: f, precision, recall.",
    ]


def test_a_line_that_is_no_element_is_named_by_its_row() -> None:
    rows = [Prediction("a", "cat|sat|subj", ("cat|sat|subj",)), Prediction("b", "cat", ("x|y|z",))]
    with pytest.raises(DataError, match="evaluation b: line 1: 'cat' is no basic element"):
        Rouge155(basic_elements="HMR").statistics(rows)


@given(
    st.lists(st.integers(0, 4), max_size=30),
    st.lists(st.integers(0, 4), max_size=30),
    st.sampled_from([1, 1.2, 2, 0.5, 7]),
)
@settings(deadline=None, max_examples=300)
def test_diagonals_give_what_rows_give(left: list[int], right: list[int], weight: float) -> None:
    by_rows = lcs._drops_by_rows(left, right, weight)
    by_diagonals = lcs._drops_by_diagonals(left, right, weight)
    for i, word in enumerate(left):
        for j, other in enumerate(right):
            if word != other:  # else the walk back does not ask
                assert by_rows(i, j) == by_diagonals(i, j)


def test_long_lines_take_the_quick_way_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    left, right = (generator.integers(0, 60, size).tolist() for size in (230, 190))
    assert len(left) * len(right) > lcs._FEW_CELLS
    quick = lcs.weighted_mask(left, right, 1.2)
    monkeypatch.setattr(lcs, "_FEW_CELLS", 1 << 40)
    assert lcs.weighted_mask(left, right, 1.2) == quick


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Rouge155Options(), "a line of 66,000 words against one of 66,000 is too long for ROUGE-L"),
        (Rouge155Options(lcs=False, weight=1.2), "too long for ROUGE-W"),
        (Rouge155Options(lcs=False, skip_gap=-1), "a text of 66,000 words is too long for skip"),
    ],
)
def test_what_would_take_hours_is_refused(options: Rouge155Options, words: str) -> None:
    text = "a " * 66_000
    with pytest.raises(DataError, match=f"evaluation 1: {words}|evaluation 1: .*{words}"):
        rouge155([(text, [text])], options)


def test_a_long_line_against_a_short_one_is_scored() -> None:
    options = Rouge155Options(max_n=2, weight=1.2, skip_gap=4)
    scores = rouge155([("a b " * 20_000, ["a b"])], options).scores
    assert all(found[0].recall > 0 for found in scores.values())
