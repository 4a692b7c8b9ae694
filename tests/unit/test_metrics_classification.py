"""Calibration, the classes a test set has, and rows that cannot be scored."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.errors import DataError
from loratory.metrics.classification import Classification, class_count, confusion_matrix
from loratory.records import Prediction


def row(id: str, label: int | None, *probabilities: float) -> Prediction:
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return Prediction(id, "", label=label, predicted=best, probabilities=probabilities)


def values(metric: Classification, rows: list[Prediction]) -> dict[str, float]:
    reduced = metric.reduce(metric.statistics(rows).sum(axis=0))
    return {name: float(value) for name, value in reduced.items()}


def test_calibration_error_by_hand() -> None:
    # Two bins: (0, 0.5] holds one right answer at 0.5, gap 0.5; (0.5, 1] holds confidence
    # 0.9 right and 0.8 wrong, gap |1 - 1.7| = 0.7. Their sum over three rows.
    rows = [row("a", 0, 0.5, 0.5), row("b", 0, 0.9, 0.1), row("c", 1, 0.8, 0.2)]
    assert values(Classification(bins=2), rows)["ece"] == pytest.approx((0.5 + 0.7) / 3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.5, 1)), min_size=1, max_size=30),
    st.integers(1, 15),
)
def test_calibration_error_is_guos(pairs: list[tuple[bool, float]], bins: int) -> None:
    rows = [row(str(i), 0 if right else 1, p, 1 - p) for i, (right, p) in enumerate(pairs)]
    expected = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = [(right, p) for right, p in pairs if low < p <= high]
        expected += abs(sum(right for right, _ in inside) - sum(p for _, p in inside))
    # Edges of bins such as 7/15 may round to either side; no row of the test lies on one.
    if all(abs(p * bins - round(p * bins)) > 1e-9 for _, p in pairs):
        assert values(Classification(bins=bins), rows)["ece"] == pytest.approx(
            expected / len(pairs), abs=1e-12
        )


def test_without_every_probability_the_calibration_error_is_undefined() -> None:
    rows = [row("a", 0, 0.9, 0.1), Prediction("b", "", label=1, predicted=1)]
    found = values(Classification(), rows)
    assert math.isnan(found["ece"]) and found["accuracy"] == 1


def test_more_classes_change_no_value() -> None:
    rows = [Prediction(str(i), "", label=i % 2, predicted=i % 3) for i in range(7)]
    narrow, wide = values(Classification(), rows), values(Classification(classes=9), rows)
    narrow.pop("ece"), wide.pop("ece")
    assert narrow == pytest.approx(wide, abs=1e-15)
    assert Classification().signature == Classification(classes=9).signature


def test_classes_come_from_probabilities_or_the_highest_seen() -> None:
    assert class_count([row("a", 0, 0.5, 0.3, 0.2)]) == 3
    assert class_count([Prediction("a", "", label=1, predicted=4)]) == 5
    assert class_count([]) == 0
    assert confusion_matrix([row("a", 2, 0.5, 0.3, 0.2)]).tolist() == [[0] * 3, [0] * 3, [1, 0, 0]]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (Prediction("x", "", predicted=0), "row 'x': no label"),
        (Prediction("x", "", label=0), "row 'x': no predicted class"),
        (Prediction("x", "", label=-1, predicted=0), "row 'x': label -1 is not a class"),
        (Prediction("x", "", label=2, predicted=0), "row 'x': label 2 is not a class; 2 classes"),
        (Prediction("x", "", label=0, predicted=5), "row 'x': predicted 5 is not a class"),
        (row("x", 0, 0.5, 0.3, 0.2), "row 'x': 3 probabilities for 2 classes"),
    ],
)
def test_bad_rows_are_named(bad: Prediction, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        Classification().statistics([row("good", 1, 0.4, 0.6), bad])


def test_settings_out_of_range() -> None:
    problems = Classification(bins=0, classes=-1).problems()
    assert [problem.split(":")[0] for problem in problems] == ["bins", "classes"]
