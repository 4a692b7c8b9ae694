"""Classification equals scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion

from loratory.metrics.classification import Classification, confusion_matrix
from loratory.records import Prediction
from realdata import real_rows


def rows(pairs: list[tuple[int, int]]) -> list[Prediction]:
    return [Prediction(str(i), "", label=t, predicted=p) for i, (t, p) in enumerate(pairs)]


def agree(pairs: list[tuple[int, int]]) -> None:
    metric = Classification()
    found = metric.reduce(metric.statistics(rows(pairs)).sum(axis=0))
    true, predicted = zip(*pairs, strict=True)
    assert found["accuracy"] == pytest.approx(accuracy_score(true, predicted), abs=1e-12)
    for average in ("macro", "weighted"):
        expected = precision_recall_fscore_support(
            true, predicted, average=average, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            assert found[f"{average}_{name}"] == pytest.approx(value, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_generated_labels(pairs: list[tuple[int, int]]) -> None:
    agree(pairs)


def test_real_labels_with_a_length_rule() -> None:
    """Real stars, predicted by length: a bad classifier with every kind of mistake."""
    data = real_rows("sentiment/sst5_test.jsonl")
    agree([(row["label"], min(4, len(row["text"]) // 50)) for row in data])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_generated_confusion(pairs: list[tuple[int, int]]) -> None:
    true, predicted = zip(*pairs, strict=True)
    expected = sklearn_confusion(true, predicted, labels=range(4))
    np.testing.assert_array_equal(confusion_matrix(rows(pairs), 4), expected)
