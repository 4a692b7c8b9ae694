"""ROUGE by hand: counts small enough to do on paper, and the questions users ask."""

import pytest

from loratory.errors import ConfigError, DataError
from loratory.evaluation.score import signature_of
from loratory.metrics.rouge import Rouge, rouge
from loratory.metrics.rouge.lcs import lcs_length, lcs_mask, summary_lcs
from loratory.metrics.rouge.ngram import ngram_hits
from loratory.metrics.rouge.stem import stem
from loratory.metrics.rouge.tokenize import Vocabulary, words
from loratory.records import Prediction


@pytest.mark.parametrize(
    ("kind", "prediction", "reference", "precision", "recall"),
    [
        ("rouge1", "the cat sat", "the cat sat down", 3 / 3, 3 / 4),
        ("rouge1", "the the the", "the cat", 1 / 3, 1 / 2),  # counted as often as in both
        ("rouge2", "the cat sat", "a cat sat", 1 / 2, 1 / 2),
        ("rouge2", "cat", "cat", 0, 0),  # one word has no bigram
        ("rougeL", "a b c d", "a c b d", 3 / 4, 3 / 4),
        # Lin 2004, section 3.2: reference w1..w5, sentences w1 w2 w6 w7 w8 and w1 w3 w8 w9 w5:
        # the union is w1 w2 w3 w5.
        ("rougeLsum", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5", 4 / 10, 4 / 5),
        ("rougeL", "b\na", "a\nb", 1 / 2, 1 / 2),
        ("rougeLsum", "b\na", "a\nb", 1, 1),
        ("rouge1", "Running, runs!", "run run", 1, 1),  # stemmed, case and marks ignored
        ("rouge1", "", "a b", 0, 0),
        ("rougeLsum", "a", "", 0, 0),
        ("rougeLsum", "\n\n", "\n", 0, 0),
        ("rouge1", "日本語", "日本語", 0, 0),  # no Latin letter, no word
    ],
)
def test_counts_done_by_hand(
    kind: str, prediction: str, reference: str, precision: float, recall: float
) -> None:
    overlap = rouge([prediction], [reference], [kind])[kind]
    assert (overlap.precision[0], overlap.recall[0]) == (precision, recall)
    total = precision + recall
    assert overlap.f[0] == (2 * precision * recall / total if total else 0)


def test_each_type_takes_its_own_best_reference() -> None:
    best = rouge(["a b x c"], [["c b a", "a b"]], ["rouge1", "rouge2"], stem=False)
    assert best["rouge1"].recall[0] == 1 and best["rouge1"].precision[0] == 3 / 4
    assert best["rouge2"].recall[0] == 1 and best["rouge2"].precision[0] == 1 / 3


def test_the_first_of_equal_references_counts() -> None:
    # Both give F 1/2: by precision 1/3 and recall 1, or by precision 1 and recall 1/3.
    overlap = rouge(["a b c"], [["a", "a b c d e f g h i"]], ["rouge1"])["rouge1"]
    assert (overlap.precision[0], overlap.recall[0]) == (1 / 3, 1)


def test_no_pairs_give_empty_arrays() -> None:
    assert [values.shape for values in rouge([], [])["rougeLsum"]] == [(0,)] * 3


@pytest.mark.parametrize(
    ("types", "sentence"),
    [
        (["rouge0"], "types: unknown 'rouge0'"),
        (["rouge10"], "types: unknown 'rouge10'"),
        (["rougel"], "types: unknown 'rougel'"),
        (["rouge1\n"], "types: unknown"),
        (["rougeL", "rougeL"], "types: 'rougeL' is given twice"),
        ([], "types: empty"),
    ],
)
def test_wrong_types_are_refused(types: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        rouge(["a"], ["a"], types)
    assert Rouge(types=tuple(types)).problems()[0].startswith("types: ")


def test_wrong_references_are_refused() -> None:
    with pytest.raises(DataError, match="2 predictions but 1 references"):
        rouge(["a", "b"], ["a"])
    with pytest.raises(DataError, match="pair 1: no references"):
        rouge(["a", "b"], ["a", []])


def test_signature_of_the_metric_and_of_one_value() -> None:
    metric = Rouge(types=("rouge1", "rougeL"))
    whole = "rouge|ref:rouge_score|types:rouge1+rougeL|stem:yes|split:newline|v:1"
    assert metric.signature == whole
    assert signature_of(metric, "rougeL") == "rougeL|ref:rouge_score|stem:yes|split:newline|v:1"
    # A number does not depend on which others were computed, and neither does its name.
    assert signature_of(metric, "rougeL") == signature_of(Rouge(), "rougeL")


def test_statistics_are_one_and_f() -> None:
    rows = [Prediction("1", "a b", ("a b",)), Prediction("2", "x", ("a", "x y z"))]
    assert Rouge(types=("rouge1",)).statistics(rows).tolist() == [[1, 1], [1, 0.5]]


def test_words_and_vocabulary() -> None:
    assert words("Don't STOP-2x\nnaïve K") == ["don", "t", "stop", "2x", "na", "ve", "k"]
    assert Vocabulary(stem=True).lines("Runs run\n\ndies") == [[0, 0], [], [1]]
    assert Vocabulary(stem=False).lines("Runs run") == [[0, 1]]


def test_subsequences() -> None:
    assert lcs_length([], [1]) == 0
    assert lcs_length([1, 2, 3, 4], [2, 4, 1, 3]) == 2
    # Of the two subsequences of length 1, rouge_score's walk finds the one ending first.
    assert lcs_mask({1: 0b01, 2: 0b10}, 2, [2, 1]) == 0b01
    assert lcs_mask({}, 0, [1]) == 0
    assert summary_lcs([[1]], [[1], [1]]) == 1
    assert ngram_hits([1, 2, 1, 2], [1, 2], 2) == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [  # from Porter 1980, and NLTK's documented exceptions
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("plastered", "plaster"),
        ("hopping", "hop"),
        ("filing", "file"),
        ("relational", "relat"),
        ("controlling", "control"),
        ("dies", "die"),
        ("skies", "sky"),
        ("spied", "spi"),
        ("enjoy", "enjoy"),
        ("relationalli", "relat"),
        ("geologi", "geolog"),
        ("News", "news"),
        ("by", "by"),
        ("", ""),
    ],
)
def test_stems(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_scores_of_columns_are_those_of_the_metric() -> None:
    import loratory.metrics.rouge as module
    from loratory.evaluation import score
    from loratory.metrics.rouge import Rouge
    from loratory.records import Prediction

    predictions = ["the cats sat", "a dog", "", "on the mat"]
    references = [["a cat sat", "cats"], ["the dog ran"], ["x"], ["on a mat\nsat"]]
    rows = [
        Prediction(str(i), text, tuple(group))
        for i, (text, group) in enumerate(zip(predictions, references, strict=True))
    ]
    found = module(predictions, references, ["rouge1", "rougeW-1.2"], False, beta=2.0)  # type: ignore[operator]
    assert found.n == 4
    for part in ("f", "recall"):
        metric = Rouge(types=("rouge1", "rougeW-1.2"), stem=False, beta=2.0, part=part)
        assert found.scores(part, resamples=50, seed=3) == score(
            rows, [metric], resamples=50, seed=3
        )
    with pytest.raises(ConfigError, match="part: unknown 'g'"):
        found.scores("g")
    with pytest.raises(DataError):
        rouge([], []).scores()
