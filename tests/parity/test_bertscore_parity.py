"""What the package bert-score printed for the same texts and model, kept in a file beside this."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loratory.records import Prediction
from loratory.tuning.bertscore import LAYERS, BertScore

PRINTED: dict[str, Any] = json.loads(
    Path(__file__).with_name("bertscore_printed.json").read_text(encoding="utf-8")
)
ROWS: list[dict[str, Any]] = PRINTED["rows"]
# bert-score computes in float32, whose sums over a few hundred tokens are right to about 1e-6.
TOLERANCE = 2e-6
SETTINGS = {
    "layer 5": BertScore(),
    "layer 5, idf": BertScore(idf=True),
    "layer 2": BertScore(layer=2),
    "layer 6, idf": BertScore(layer=6, idf=True),
}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", PRINTED["printed"])
def test_every_pair(name: str) -> None:
    pairs = [(row["text"], reference) for row in ROWS for reference in row["references"]]
    rows = [Prediction(str(i), text, (reference,)) for i, (text, reference) in enumerate(pairs)]
    found = SETTINGS[name].statistics(rows)
    assert found[:, 1].all()
    for pair, ours, theirs in zip(
        pairs, found[:, 2:5], PRINTED["printed"][name]["pairs"], strict=True
    ):
        assert ours == pytest.approx(theirs, abs=TOLERANCE, rel=0), pair


@pytest.mark.parametrize("name", PRINTED["printed"])
def test_the_best_reference(name: str) -> None:
    rows = [Prediction(str(i), row["text"], tuple(row["references"])) for i, row in enumerate(ROWS)]
    found = SETTINGS[name].statistics(rows)
    expected = PRINTED["printed"][name]["best_f1"]
    assert found[:, 4] == pytest.approx(expected, abs=TOLERANCE, rel=0)
    triples = PRINTED["printed"][name]["pairs"]
    for row, ours in zip(ROWS, found[:, 2:5], strict=True):
        group, triples = triples[: len(row["references"])], triples[len(row["references"]) :]
        # bert-score takes the best precision and the best recall each by itself.
        best = max(group, key=lambda triple: triple[2])
        assert ours == pytest.approx(best, abs=TOLERANCE, rel=0)


def test_numbers_do_not_depend_on_the_batch() -> None:
    rows = [Prediction(str(i), row["text"], tuple(row["references"])) for i, row in enumerate(ROWS)]
    whole = BertScore().statistics(rows)
    assert BertScore(batch_size=1).statistics(rows) == pytest.approx(whole, abs=1e-12, rel=0)
    halves = [BertScore().statistics(part) for part in (rows[:5], rows[5:])]
    assert [*halves[0].ravel(), *halves[1].ravel()] == pytest.approx(
        whole.ravel(), abs=1e-12, rel=0
    )


def test_a_text_longer_than_the_model_reads_is_counted() -> None:
    long = next(row for row in ROWS if len(row["text"]) > 2000)
    rows = [Prediction("1", long["text"], tuple(long["references"])), Prediction("2", "a", ("a",))]
    found = BertScore().statistics(rows)
    assert found[:, 5].tolist() == [1, 0]
    # What differs is behind the cut: to the model, the two are equal.
    assert found[0, 4] == pytest.approx(1, abs=1e-12)


def test_the_default_layer_is_the_one_printed() -> None:
    assert LAYERS[BertScore().model] == 5
