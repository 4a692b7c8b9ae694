"""Every double of sacrebleu's corpus scores, whatever the settings."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF, TER

from crossed import few
from loratory.metrics.base import Metric
from loratory.metrics.bleu import _SMOOTH_VALUE, Bleu, Smoothing, Tokenize
from loratory.metrics.chrf import Chrf
from loratory.metrics.ter import Ter
from loratory.records import Prediction
from realdata import real_rows

SMOOTHING = [("exp", None), ("floor", None), ("floor", 0.3), ("add-k", None), ("add-k", 0.37)]
SMOOTHING += [("none", None)]
BLEUS = [
    Bleu(smooth_method=method, smooth_value=value, effective_order=flag)  # type: ignore[arg-type]
    for (method, value), flag in itertools.product(SMOOTHING, (False, True))
]
BLEUS += [Bleu(tokenize=name) for name in ("intl", "char", "zh", "none")]  # type: ignore[arg-type]
BLEUS += [Bleu(max_ngram_order=1), Bleu(max_ngram_order=7, effective_order=True)]
BLEUS += [Bleu(lowercase=True)]
CHRFS = [
    Chrf(),
    Chrf(word_order=2),
    Chrf(char_order=3, word_order=1, beta=1, lowercase=True),
    Chrf(char_order=0, word_order=2, beta=3),
    Chrf(whitespace=True, beta=0),
    Chrf(eps_smoothing=True, word_order=2),
]
TERS = [
    Ter(normalized=n, no_punct=p, asian_support=a and (n or p), case_sensitive=c)
    for n, p, a, c in itertools.product((False, True), repeat=4)
]
ALL = [*BLEUS, *CHRFS, *dict.fromkeys(TERS)]
# A quarter of a second each, most of it sacrebleu's: some of each metric are fast tests.
REAL = few(ALL, {*BLEUS[::5], *CHRFS[::3], TERS[0], TERS[-1]})
GENERATED = few(ALL, {*BLEUS, *CHRFS, *TERS[::4], TERS[-1]})
CLASSES: dict[str, Any] = {"bleu": BLEU, "chrf": CHRF, "ter": TER}

few_words = st.lists(
    st.sampled_from(["a", "b", "the", "The", "cat.", "1,000", "'s", "猫", "。", "(", "é"]),
    max_size=12,
).map(" ".join)
texts = st.one_of(few_words, st.text(max_size=30), st.sampled_from(["", " ", "\n", ".", "—"]))
groups = st.lists(texts, min_size=1, max_size=3)


def name(metric: Metric) -> str:
    return metric.signature.partition("sacrebleu-")[2]


def theirs(metric: Metric, texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """What sacrebleu says: it takes references by columns, None where a row has no more."""
    settings = {f.name: getattr(metric, f.name) for f in dataclasses.fields(metric)}  # type: ignore[arg-type]
    columns = list(itertools.zip_longest(*references))
    found = CLASSES[metric.name](**settings).corpus_score(list(texts), columns)
    return float(found.score) / 100


def ours(metric: Metric, texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    rows = [
        Prediction(str(i), text, tuple(group))
        for i, (text, group) in enumerate(zip(texts, references, strict=True))
    ]
    (value,) = metric.reduce(metric.statistics(rows).sum(axis=0)).values()
    assert value.shape == ()
    return float(value)


@pytest.mark.parametrize("metric", GENERATED, ids=name)
@settings(deadline=None, max_examples=25)
@given(pairs=st.lists(st.tuples(texts, groups), min_size=1, max_size=6))
def test_generated_texts(metric: Metric, pairs: list[tuple[str, list[str]]]) -> None:
    answers, references = [text for text, _ in pairs], [group for _, group in pairs]
    value = ours(metric, answers, references)
    expected = theirs(metric, answers, references)
    # Of nothing, sacrebleu says 0 or 1 (chrF with eps_smoothing: 1e-16), and Loratory nothing.
    assert value == expected or (np.isnan(value) and expected in (0, 1, pytest.approx(0)))


@pytest.mark.parametrize("metric", REAL, ids=name)
def test_real_summaries(metric: Metric) -> None:
    """Titles against all the summaries of their papers, of which some have more."""
    rows = real_rows("summarization/scitldr_test.jsonl")[::4]
    answers, references = [row["title"] for row in rows], [row["references"] for row in rows]
    assert len({len(group) for group in references}) > 1
    assert ours(metric, answers, references) == theirs(metric, answers, references)
    first = [group[:1] for group in references]
    assert ours(metric, answers, first) == theirs(metric, answers, first)


@pytest.mark.parametrize("metric", [Bleu(), Chrf(word_order=2), Ter()], ids=lambda m: m.name)
def test_every_draw_of_a_bootstrap_is_a_corpus_score(metric: Metric) -> None:
    rows = real_rows("summarization/scitldr_dev.jsonl")[:40]
    answers, references = [row["title"] for row in rows], [row["references"][:1] for row in rows]
    predictions = [
        Prediction(r["id"], a, tuple(g)) for r, a, g in zip(rows, answers, references, strict=True)
    ]
    statistics = metric.statistics(predictions)
    picks = np.random.default_rng(0).integers(0, len(rows), size=(5, len(rows)))
    weights = np.stack([np.bincount(pick, minlength=len(rows)) for pick in picks]).astype(float)
    (values,) = metric.reduce(weights @ statistics).values()
    expected = [
        theirs(metric, [answers[i] for i in pick], [references[i] for i in pick]) for pick in picks
    ]
    assert values.tolist() == expected


def test_sacrebleus_own_counts_are_where_they_were() -> None:
    """chrF asks behind sacrebleu's interface; if that moves, this says so and not a number."""
    (row,) = CHRF()._extract_corpus_statistics(["abc"], [["abd"]])
    # an order: n-grams of "abc", of "abd", of both
    assert row == [3, 3, 2, 2, 2, 1, 1, 1, 0] + [0] * 9
    found = BLEU(smooth_method="none", effective_order=True).sentence_score("a b c", ["a b d e"])
    assert (found.sys_len, found.ref_len) == (3, 4)
    assert (found.counts, found.totals) == ([2, 1, 0, 0], [3, 2, 1, 0])
    edits = TER().sentence_score("b a c", ["a b c", "a b c d e"])
    assert (edits.num_edits, edits.ref_length) == (1, 4)


def test_the_settings_are_those_of_sacrebleu() -> None:
    assert set(get_args(Tokenize)) <= set(BLEU.TOKENIZERS)
    assert set(get_args(Smoothing)) == set(BLEU.SMOOTH_DEFAULTS)
    assert {k: v for k, v in BLEU.SMOOTH_DEFAULTS.items() if v is not None} == _SMOOTH_VALUE
    for cls, theirs in ((Bleu, BLEU()), (Chrf, CHRF()), (Ter, TER())):
        for field in dataclasses.fields(cls):
            if field.name != "tokenize":
                assert getattr(theirs, field.name) == field.default, field.name
    assert BLEU().tokenizer_signature == Bleu().tokenize
