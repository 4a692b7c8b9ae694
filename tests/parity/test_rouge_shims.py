"""The stand-ins answer as rouge_score 0.1.2 does, and as evaluate documents."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer, scoring

from loratory.metrics.rouge import (
    AggregateScore,
    BootstrapAggregator,
    RougeScorer,
    Score,
    compute,
    rouge,
)
from loratory.metrics.rouge.profile import characters, unicode_words
from realdata import real_rows

TYPES = [*(f"rouge{n}" for n in range(1, 10)), "rougeL", "rougeLsum"]

words = st.sampled_from(["a", "b", "c", "running", "Runs", "\n", "dies", "é", "日本", "  "])
texts = st.one_of(st.lists(words).map(" ".join), st.text(max_size=40))


class Spaces:
    """A tokenizer that sees lines otherwise than texts, and keeps empty tokens."""

    def tokenize(self, text: str) -> list[str]:
        return re.split("[ é]", text)


class Unicode:
    def __init__(self, cut: object) -> None:
        self.tokenize = cut


def same(
    ours: RougeScorer, theirs: rouge_scorer.RougeScorer, targets: Sequence[str], text: str
) -> None:
    found, expected = ours.score(targets[0], text), theirs.score(targets[0], text)
    assert list(found) == list(expected)
    assert all(tuple(found[kind]) == tuple(expected[kind]) for kind in expected)
    found, expected = ours.score_multi(targets, text), theirs.score_multi(targets, text)
    assert list(found) == list(expected)
    assert all(tuple(found[kind]) == tuple(expected[kind]) for kind in expected)


@settings(deadline=None, max_examples=150)
@given(st.lists(texts, min_size=1, max_size=3), texts, st.booleans(), st.sampled_from([None, 1, 2]))
def test_scorer_on_generated_texts(
    targets: list[str], text: str, stemmed: bool, which: int | None
) -> None:
    tokenizer = {None: None, 1: Spaces(), 2: Unicode(unicode_words)}[which]
    for types in (TYPES, ["rougeLsum"], ["rougeL", "rouge1"]):
        ours = RougeScorer(types, stemmed, tokenizer=tokenizer)
        same(ours, rouge_scorer.RougeScorer(types, stemmed, tokenizer=tokenizer), targets, text)


def test_scorer_on_real_rows() -> None:
    ours, theirs = RougeScorer(TYPES, True), rouge_scorer.RougeScorer(TYPES, use_stemmer=True)
    for row in real_rows("summarization/scitldr_test.jsonl")[:30]:
        same(ours, theirs, row["references"], row["title"])


def test_scores_are_named_tuples_of_floats() -> None:
    score = RougeScorer(["rouge1"]).score(prediction="a b c", target="a b")["rouge1"]
    assert score == Score(precision=2 / 3, recall=1.0, fmeasure=0.8)
    assert [type(part) for part in score] == [float] * 3
    assert "rouge1" in repr({"rouge1": score}) and repr(score).startswith("Score(precision=")


@pytest.mark.parametrize("kind", ["rouge0", "rouge10", "rougex", "L", "rougeS4"])
def test_a_wrong_type_is_a_value_error_when_scoring(kind: str) -> None:
    for scorer in (RougeScorer([kind]), rouge_scorer.RougeScorer([kind])):
        with pytest.raises(ValueError, match="rouge"):
            scorer.score("a", "a")
    with pytest.raises(ValueError, match="Available: rouge1 to rouge9"):
        compute(predictions=["a"], references=["a"], rouge_types=[kind])


def test_no_targets_are_a_value_error() -> None:
    for scorer in (RougeScorer(["rouge1"]), rouge_scorer.RougeScorer(["rouge1"])):
        with pytest.raises(ValueError, match="empty"):
            scorer.score_multi([], "a")


def test_split_summaries_takes_sentences_for_lines() -> None:
    target, text = "Mr. Smith ran. He fell.", "He fell. Mr. Smith ran."
    split = RougeScorer(["rougeLsum"], split_summaries=True).score(target, text)
    lines = RougeScorer(["rougeLsum"]).score("Mr. Smith ran.\nHe fell.", "He fell.\nMr. Smith ran.")
    assert split == lines and split["rougeLsum"].fmeasure == 1.0
    assert RougeScorer(["rougeLsum"]).score(target, text)["rougeLsum"].fmeasure < 1


def test_a_long_life_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loratory.metrics.rouge.scorer._KEPT_WORDS", 3)
    scorer = RougeScorer(["rouge1"])
    for i in range(5):
        text = f"a{i} b{i} c{i}"
        assert scorer.score(text, text)["rouge1"].fmeasure == 1
    assert len(scorer._vocabulary) <= 6


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.tuples(texts, texts), min_size=1, max_size=12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.5, 0.95, 1.0]),
)
def test_aggregator_under_a_seed(
    pairs: list[tuple[str, str]], seed: int, confidence: float
) -> None:
    scorer = RougeScorer(["rouge1", "rougeL"])
    theirs = scoring.BootstrapAggregator(confidence, n_samples=30)
    ours = BootstrapAggregator(confidence, n_samples=30)
    seeded = BootstrapAggregator(confidence, n_samples=30, seed=seed)
    for aggregator in (theirs, ours, seeded):
        for target, text in pairs:
            aggregator.add_scores(scorer.score(target, text))
    np.random.seed(seed)
    expected = theirs.aggregate()
    np.random.seed(seed)
    for found in (ours.aggregate(), seeded.aggregate()):
        assert found == expected and list(found) == list(expected)
        assert isinstance(found["rouge1"], AggregateScore)
        assert isinstance(found["rouge1"].mid, Score)


def test_aggregator_of_many_real_rows() -> None:
    rows = real_rows("summarization/scitldr_test.jsonl")[:100]
    scorer = RougeScorer(["rouge2", "rougeLsum"])
    theirs, ours = scoring.BootstrapAggregator(), BootstrapAggregator(seed=7)
    for row in rows:
        scores = scorer.score(row["references"][0], row["title"])
        theirs.add_scores(scores)
        ours.add_scores(scores)
    np.random.seed(7)
    assert theirs.aggregate() == ours.aggregate()


@pytest.mark.parametrize("values", [{"confidence_interval": 1.5}, {"n_samples": 0}])
def test_aggregator_refuses_what_the_other_refuses(values: dict[str, float]) -> None:
    for kind in (scoring.BootstrapAggregator, BootstrapAggregator):
        with pytest.raises(ValueError, match=next(iter(values))):
            kind(**values)
    assert BootstrapAggregator().aggregate() == {}


def as_evaluate_documents(
    predictions: list[str],
    references: list[str] | list[list[str]],
    types: list[str],
    stemmed: bool,
    seed: int,
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Both answers of `evaluate`'s metric, told in rouge_score's terms."""
    scorer = rouge_scorer.RougeScorer(types, use_stemmer=stemmed)
    aggregator, every = scoring.BootstrapAggregator(), []
    for reference, prediction in zip(references, predictions, strict=True):
        several = isinstance(reference, list)
        score = (scorer.score_multi if several else scorer.score)(reference, prediction)
        aggregator.add_scores(score)
        every.append(score)
    np.random.seed(seed)
    return (
        {kind: found.mid.fmeasure for kind, found in aggregator.aggregate().items()},
        {kind: [score[kind].fmeasure for score in every] for kind in types},
    )


@pytest.mark.parametrize("stemmed", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_compute(stemmed: bool, several: bool) -> None:
    rows = real_rows("summarization/scitldr_test.jsonl")[:25]
    predictions = [row["title"] for row in rows]
    references = [row["references"] if several else row["references"][0] for row in rows]
    types = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    mean, every = as_evaluate_documents(predictions, references, types, stemmed, seed=3)
    given_ = {"predictions": predictions, "references": references, "use_stemmer": stemmed}
    found = compute(**given_, seed=3)
    assert found == mean and list(found) == types
    assert all(type(value) is float for value in found.values())
    np.random.seed(3)
    assert compute(**given_) == mean
    assert compute(**given_, use_aggregator=False) == every


def test_compute_takes_a_function_as_tokenizer_and_types() -> None:
    text = "こんにちは 世界"
    found = compute(
        predictions=[text],
        references=[text],
        rouge_types=["rouge1"],
        tokenizer=lambda x: x.split(),
    )
    assert found == {"rouge1": 1.0}
    assert compute(predictions=[text], references=[text], rouge_types=["rouge1"]) == {"rouge1": 0.0}


def test_compute_refuses_unequal_columns() -> None:
    from loratory.errors import DataError

    with pytest.raises(DataError, match="2 predictions but 1 references"):
        compute(predictions=["a", "b"], references=["a"])
    with pytest.raises(DataError, match="empty"):
        compute(predictions=[], references=[])


@settings(deadline=None, max_examples=60)
@given(texts, texts, st.sampled_from(["words", "characters"]))
def test_a_profile_is_rouge_score_with_that_tokenizer(one: str, other: str, tokens: str) -> None:
    cut = {"words": unicode_words, "characters": characters}[tokens]
    theirs = rouge_scorer.RougeScorer(TYPES, tokenizer=Unicode(cut)).score(other, one)
    for kind, overlap in rouge([one], [other], TYPES, stem=False, tokens=tokens).items():
        assert tuple(float(values[0]) for values in overlap) == tuple(theirs[kind])


def test_random_pairs_of_columns_agree_with_the_scorer() -> None:
    generator = random.Random(5)
    vocabulary = ["a", "b", "c", "d", "runs", "running", "\n"]
    pairs = [[" ".join(generator.choices(vocabulary, k=12)) for _ in range(2)] for _ in range(40)]
    columns = rouge([p for p, _ in pairs], [r for _, r in pairs], TYPES)
    scorer = RougeScorer(TYPES, use_stemmer=True)
    for i, (prediction, reference) in enumerate(pairs):
        for kind, score in scorer.score(reference, prediction).items():
            assert score == tuple(float(values[i]) for values in columns[kind])
