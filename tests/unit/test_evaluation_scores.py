"""Predictions to scores and comparisons, and the rows and runs that are refused."""

import dataclasses
import math

import pytest

from loratory.codec import from_dict, to_dict
from loratory.errors import ConfigError, DataError
from loratory.evaluation.compare import compare
from loratory.evaluation.score import score
from loratory.metrics.classification import Classification
from loratory.metrics.generation import Length
from loratory.metrics.rouge import Rouge
from loratory.records import Comparison, Prediction
from loratory.records import Score as ScoreRecord

TEXTS = ["the cat sat", "a dog", "the bird sang loudly", "rain", "the cat ran off"]


def summaries(texts: list[str]) -> list[Prediction]:
    return [Prediction(str(i), t, (r,)) for i, (t, r) in enumerate(zip(texts, TEXTS, strict=True))]


def classes(predicted: list[int], confidence: float | None = None) -> list[Prediction]:
    return [
        Prediction(
            str(i),
            "",
            label=i % 2,
            predicted=p,
            probabilities=()
            if confidence is None
            else tuple(confidence if c == p else 1 - confidence for c in (0, 1)),
        )
        for i, p in enumerate(predicted)
    ]


def test_a_score_carries_all_it_needs() -> None:
    scores = score(summaries(TEXTS[::-1]), [Rouge(types=("rougeL", "rouge1"))], confidence=0.9)
    assert [s.metric for s in scores] == ["rougeL", "rouge1"]
    first = scores[0]
    assert first.signature == "rougeL|ref:rouge_score|stem:yes|split:newline|v:1"
    assert first.n == 5 and first.confidence == 0.9 and not first.lower_is_better
    assert first.low is not None and first.value is not None and first.high is not None
    assert first.low <= first.value <= first.high
    assert from_dict(ScoreRecord, to_dict(first), "here") == first


def test_scores_of_one_seed_are_equal() -> None:
    rows = summaries(TEXTS[::-1])
    assert score(rows, [Rouge()], seed=5) == score(rows, [Rouge()], seed=5)


def test_an_undefined_value_is_none_with_a_reason() -> None:
    by_name = {s.metric: s for s in score(classes([0, 0, 1]), [Classification()])}
    ece = by_name["ece"]
    assert (ece.value, ece.low, ece.high) == (None, None, None)
    assert ece.reason == "not every prediction has probabilities" and ece.lower_is_better
    assert by_name["accuracy"].value == pytest.approx(1 / 3) and by_name["accuracy"].reason is None


def test_one_row_is_enough() -> None:
    (only,) = score([Prediction("a", "x y", ("x",))], [Rouge(types=("rouge1",))])
    assert only.low == only.value == only.high == pytest.approx(2 / 3)


def many(texts: list[str]) -> list[Prediction]:
    """Each text and its reference three times: enough rows for a verdict."""
    return [
        Prediction(str(i), text, (reference,))
        for i, (text, reference) in enumerate(zip(texts * 3, TEXTS * 3, strict=True))
    ]


def test_better_is_improved() -> None:
    (change,) = compare(many(["x"] * 5), many(TEXTS), [Rouge(types=("rouge1",))])
    assert (change.base, change.tuned, change.difference) == (0, 1, 1) and change.improved
    (change,) = compare(many(TEXTS), many(["x"] * 5), [Rouge(types=("rouge1",))])
    assert change.difference == -1 and not change.improved and change.worsened


def test_a_comparison_has_the_p_value_of_all_swaps() -> None:
    # Five rows, each moving upwards: only all of them swapped, or none, part them as far.
    halves = [text.split()[0] + " x" for text in TEXTS]
    (change,) = compare(summaries(["x"] * 5), summaries(halves), [Rouge(types=("rouge1",))])
    assert change.p == 2 / 2**5 and change.test == "approximate randomisation"
    (change,) = compare(
        summaries(["x"] * 5), summaries(halves), [Rouge(types=("rouge1",))], trials=9
    )
    assert change.p is not None and (change.p * 10) == round(change.p * 10)
    with pytest.raises(ConfigError, match="trials: 0 swaps"):
        compare(summaries(TEXTS), summaries(TEXTS), [Rouge()], trials=0)


def test_a_comparison_of_an_older_file_has_no_p_value() -> None:
    (change,) = compare(summaries(["x"] * 5), summaries(TEXTS), [Rouge(types=("rouge1",))])
    data = to_dict(change)
    assert from_dict(Comparison, data, "here") == change
    names = [field.name for field in dataclasses.fields(Comparison)]
    old = {key: data[key] for key in ("v", *names[: names.index("p")])}
    read = from_dict(Comparison, old, "here")
    assert (read.p, read.verdict, read.seeds) == (None, None, 1)
    assert read.improved  # by its interval, which is all that such a file has


def test_a_lower_calibration_error_is_improved() -> None:
    right = [0, 1] * 20
    changes = compare(classes(right, 0.6), classes(right, 0.9), [Classification()])
    ece = next(c for c in changes if c.metric == "ece")
    assert ece.difference == pytest.approx(-0.3) and ece.improved and ece.lower_is_better


def test_identical_systems_have_not_improved() -> None:
    rows = [
        dataclasses.replace(a, label=b.label, predicted=b.predicted, probabilities=b.probabilities)
        for a, b in zip(summaries(TEXTS[::-1]), classes([0, 1, 1, 1, 0], 0.7), strict=True)
    ]
    for change in compare(rows, list(rows), [Rouge(), Classification()]):
        assert (change.difference, change.low, change.high) == (0, 0, 0), change.metric
        assert change.p == 1
        assert not change.improved


def test_systems_may_show_different_classes_and_probabilities() -> None:
    changes = compare(classes([0, 0, 0, 0]), classes([0, 1, 0, 1], 0.8), [Classification()])
    by_name = {c.metric: c for c in changes}
    assert (by_name["accuracy"].base, by_name["accuracy"].tuned) == (0.5, 1)
    assert by_name["ece"].difference is None and by_name["ece"].low is None
    # Two rows of right and wrong, both gained: 2 / 2², of which mid-p takes half.
    assert by_name["ece"].p is None and by_name["accuracy"].p == 1 / 4
    assert by_name["ece"].base is None and by_name["ece"].tuned == pytest.approx(0.2)
    assert by_name["ece"].reason == "not every prediction has probabilities"


def test_a_description_never_improves() -> None:
    longer = [f"{text} and then some" for text in TEXTS]
    for change in compare(summaries(TEXTS), summaries(longer), [Length()]):
        assert change.descriptive and not change.improved
        assert change.difference == (3 if change.metric == "words" else 0)


def test_length_counts_words_and_endings() -> None:
    rows = [Prediction("a", "one  two\nthree"), Prediction("b", "", finished=False)]
    values = {s.metric: s.value for s in score(rows, [Length()])}
    assert values == {"words": 1.5, "finished": 0.5}
    assert all(math.isnan(v) for v in Length().reduce(Length().statistics([]).sum(axis=0)).values())


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "no predictions"),
        ([Prediction("a", "x", ("x",))] * 2, "row 'a': this id comes twice"),
        ([Prediction("a", "x", ("x",)), Prediction("b", "x")], "row 'b': no references"),
    ],
)
def test_rows_that_cannot_be_scored(rows: list[Prediction], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        score(rows, [Rouge()])
    with pytest.raises(DataError, match=sentence):
        compare(rows, rows, [Rouge()])


def test_missing_labels_are_named() -> None:
    with pytest.raises(DataError, match="row 'a': no label, which the metric 'classification'"):
        score([Prediction("a", "x", predicted=0)], [Classification()])


def test_every_problem_of_the_settings_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        score(summaries(TEXTS), [Rouge(types=("rougeX",)), Classification(bins=0)])
    assert [p.split(":")[0] for p in caught.value.problems] == [
        "rouge.types",
        "classification.bins",
    ]


def test_systems_must_be_of_the_same_rows() -> None:
    rows = summaries(TEXTS)
    swapped = [rows[1], rows[0], *rows[2:]]
    other = [*rows[:3], dataclasses.replace(rows[3], references=("else",)), rows[4]]
    for tuned, sentence in (
        (swapped, "row '0': number 1 of base is number 1 '1' of tuned"),
        (rows[:4], "row '4': not in tuned"),
        (other, "row '3': base and tuned have different references"),
    ):
        with pytest.raises(DataError, match=sentence):
            compare(rows, tuned, [Rouge()])
    with pytest.raises(DataError, match="row '4': not in base"):
        compare(rows[:4], rows, [Rouge()])
