"""Leakage: planted doubles are found, nothing else is, and what they do to scores is told."""

from __future__ import annotations

import random

import pytest

from loratory.codec import from_dict, to_dict
from loratory.errors import DataError
from loratory.evaluation.leakage import (
    find_leaks,
    leakage_finding,
    treat_leaks,
    with_scores,
)
from loratory.metrics.classification import Classification
from loratory.records import Example, Message, Prediction
from loratory.records import Finding as FindingRecord
from realdata import real_rows


def rows(split, texts, answers=None, context=()):
    answers = answers or ["yes"] * len(texts)
    pairs = zip(texts, answers, strict=True)
    return [
        Example(f"{split}:{i}", text, references=(answer,), context=context)
        for i, (text, answer) in enumerate(pairs, 1)
    ]


WORDS = [f"word{i}" for i in range(2000)]


def sentence(draw, count=14):
    return " ".join(draw.choices(WORDS, k=count))


def splits(train, validation, test):
    return {
        "train": rows("train", train),
        "validation": rows("validation", validation),
        "test": rows("test", test),
    }


@pytest.fixture
def clean():
    draw = random.Random(1)
    return [[sentence(draw) for _ in range(n)] for n in (60, 20, 30)]


def found(leakage, split, other):
    return {
        leak.id: (leak.other_id, leak.exact)
        for leak in leakage.leaks
        if (leak.split, leak.other) == (split, other)
    }


def test_exact_and_near_doubles_between_and_within_splits(clean):
    train, validation, test = clean
    test[4] = train[7].upper().replace(" ", "  ")  # exact, case and spaces apart
    test[9] = f"{train[11]} indeed"  # near: 12 of 13 trigrams
    test[10] = f"{validation[3]}."  # near: a full stop more
    validation[5] = train[20]
    train[30] = train[29]
    leakage = find_leaks(splits(train, validation, test))
    assert found(leakage, "test", "train") == {
        "test:5": ("train:8", True),
        "test:10": ("train:12", False),
    }
    assert found(leakage, "train", "test") == {
        "train:8": ("test:5", True),
        "train:12": ("test:10", False),
    }
    assert found(leakage, "test", "validation") == {"test:11": ("validation:4", False)}
    assert found(leakage, "validation", "train") == {"validation:6": ("train:21", True)}
    assert found(leakage, "train", "train") == {
        "train:30": ("train:31", True),
        "train:31": ("train:30", True),
    }
    near = next(x for x in leakage.leaks if x.id == "test:10")
    assert near.similarity == pytest.approx(12 / 13)
    assert leakage.complete


def test_without_doubles_nothing_is_found(clean):
    leakage = find_leaks(splits(*clean))
    finding = leakage_finding(leakage, "report", {})
    assert leakage.leaks == () and finding.verdict == "no sign"
    assert "No test row stands in training or validation" in finding.sentences[0]
    assert treat_leaks(splits(*clean), leakage, "refuse").dropped == {}


def test_whether_answers_agree_is_told_apart():
    long = "one two three four five six seven eight nine ten"
    given = {
        "train": rows("train", [long, long], ["Paris", "rome"]),
        "test": rows(
            "test", [long, f"{long}!", "quite another text than those"], ["ROME", "x", "y"]
        ),
        "validation": rows("validation", ["and a third kind of text here"]),
    }
    leaks = {x.id: x for x in find_leaks(given).leaks if (x.split, x.other) == ("test", "train")}
    assert {row: leak.same_answer for row, leak in leaks.items()} == {
        "test:1": True,
        "test:2": False,
    }
    labelled = {
        "train": [Example("a", long, label=0)],
        "test": [Example("b", long, label=1)],
    }
    assert [leak.same_answer for leak in find_leaks(labelled).leaks] == [False, False]


def test_turns_of_a_chat_count_and_the_systems_do_not():
    system = Message("system", " ".join(WORDS[:200]))
    draw = random.Random(0)
    one = rows("train", [sentence(draw) for _ in range(5)], context=(system,))
    two = rows("test", [sentence(draw) for _ in range(5)], context=(system,))
    assert find_leaks({"train": one, "test": two}).leaks == ()
    asked = (Message("user", sentence(draw, 60)), Message("assistant", sentence(draw, 60)))
    one, two = (rows(name, ["and then"], context=asked) for name in ("train", "test"))
    assert len(find_leaks({"train": one, "test": two}).leaks) == 2


def test_drop_leaves_no_double_between_splits(clean):
    train, validation, test = clean
    test[0], test[1], validation[2] = train[0], validation[1], train[5]
    given = splits(train, validation, test)
    leakage = find_leaks(given)
    treated = treat_leaks(given, leakage, "drop")
    assert treated.dropped == {"train": 2, "validation": 1}
    assert treated.splits["test"] == given["test"]
    after = find_leaks(treated.splits)
    assert [leak for leak in after.leaks if leak.split != leak.other] == []
    finding = leakage_finding(leakage, "drop", treated.dropped)
    assert finding.verdict == "no sign"
    assert finding.sentences[0].startswith("2 training rows and 1 validation rows were left out")
    assert finding.facts["leaked_test_rows"] == []


def test_report_changes_nothing_and_refuse_names_the_rows(clean):
    train, validation, test = clean
    test[3] = train[3]
    given = splits(train, validation, test)
    leakage = find_leaks(given)
    assert treat_leaks(given, leakage, "report") == (given, {})
    with pytest.raises(
        DataError, match=r"1 test rows also stand in training.*'test:4' and 'train:4'.*action: drop"
    ):
        treat_leaks(given, leakage, "refuse")


def test_a_split_left_empty_is_one_sentence():
    text = "the same five words again"
    given = splits([text], ["something else is written here"], [text])
    with pytest.raises(DataError, match="leaves no training row: each also stands in"):
        treat_leaks(given, find_leaks(given), "drop")


def test_a_thinned_search_says_so(clean):
    draw = random.Random(0)
    train = [f"{sentence(draw, 3)} of a b c d e f g h i j k l m n o p q r s t u" for _ in range(15)]
    leakage = find_leaks(splits(train, [], ["nothing like it"]), similarity=0.3, most=3)
    assert not leakage.complete
    finding = leakage_finding(leakage, "report", {})
    assert finding.verdict == "too little to tell"
    assert "not all pairs could be compared" in finding.limits[0]


def predictions(n, right):
    return [
        Prediction(f"test:{i}", "a", label=i % 2, predicted=i % 2 if i in right else 1 - i % 2)
        for i in range(1, n + 1)
    ]


def test_scores_with_and_without_the_leaked_rows(clean):
    """The tuned model is right on all 12 leaked rows, and else no better than the base model."""
    train, validation, test = clean
    test[:12] = train[:12]
    finding = leakage_finding(find_leaks(splits(train, validation, test)), "report", {})
    assert finding.verdict == "found"
    assert "12 of 30 test rows also stand in training, 12 exactly" in finding.sentences[0]
    half = set(range(13, 31, 2))
    base, tuned = (
        predictions(30, half | set(range(1, 4))),
        predictions(30, half | set(range(1, 13))),
    )
    scored = with_scores(finding, base, tuned, [Classification()], seed=3)
    titles = [table.title for table in scored.tables]
    assert titles == ["All test rows", "Test rows without leakage", "Leaked test rows alone"]
    accuracy = [table.comparisons[0] for table in scored.tables]
    assert [c.n for c in accuracy] == [30, 18, 12]
    assert [c.difference for c in accuracy] == pytest.approx([9 / 30, 0, 9 / 12])
    assert accuracy[1].tuned == pytest.approx(0.5)
    assert scored.sentences[0] == (
        "Without the 12 leaked test rows the tuned model's accuracy is 50.00 instead of 70.00, "
        "and its difference to the base model 0.00 instead of 30.00: without them no improvement "
        "can be told from chance."
    )
    # Asked again, as when a run is compared anew, the answer is the same; and it can be kept.
    assert with_scores(scored, base, tuned, [Classification()], seed=3) == scored
    assert from_dict(FindingRecord, to_dict(scored), "here") == scored


def test_too_few_clean_rows_are_not_compared(clean):
    train, validation, test = clean
    test[:28] = train[:28]
    finding = leakage_finding(find_leaks(splits(train, validation, test)), "report", {})
    both = predictions(30, set(range(10)))
    scored = with_scores(finding, both, both, [Classification()])
    assert scored.sentences[0].startswith("Only 2 test rows are free of leakage: too few")
    assert "Test rows without leakage" not in [table.title for table in scored.tables]
    with pytest.raises(DataError, match="not in tuned"):
        with_scores(finding, both, both[:-1], [Classification()])


def test_without_leaks_scores_are_left_alone(clean):
    finding = leakage_finding(find_leaks(splits(*clean)), "report", {})
    both = predictions(30, {1})
    assert with_scores(finding, both, both, [Classification()]) == finding


@pytest.mark.slow
def test_leaks_planted_among_real_rows_are_found_and_no_others():
    texts = [row["document"] for row in real_rows("summarization/scitldr_train.jsonl")[:900]]
    draw = random.Random(5)
    train, test = texts[:700], texts[700:]
    clean = find_leaks(splits(train, [], test))
    before = set(found(clean, "test", "train"))
    planted = {}
    for place, source in enumerate(draw.sample(range(700), 60)):
        words = train[source].split()
        kind = place % 3
        if kind == 1:
            words = [word.swapcase() for word in words]
        if kind == 2:  # one word in forty is another: at most 3 of some 40 trigrams each
            for spot in draw.sample(range(len(words)), max(1, len(words) // 60)):
                words[spot] = "edited"
        test.append(("\n" if kind == 1 else " ").join(words))
        planted[f"test:{len(test)}"] = (f"train:{source + 1}", kind != 2)
    after = found(find_leaks(splits(train, [], test)), "test", "train")
    assert {row: where for row, where in after.items() if row not in before} == planted


@pytest.mark.slow
def test_a_real_leak_between_two_published_sets_is_found():
    """rt_polarity and SST hold the same sentences, cut into tokens in different ways."""
    train = [row["text"] for row in real_rows("sentiment/rt_polarity.jsonl")]
    test = [row["text"] for row in real_rows("sentiment/sst5_test.jsonl")]
    leakage = find_leaks(splits(train, [], test))
    assert len(found(leakage, "test", "train")) > 0.7 * len(test)
    # SST's own splits share next to nothing.
    own = [row["text"] for row in real_rows("sentiment/sst5_train.jsonl")]
    assert len(found(find_leaks(splits(own, [], test)), "test", "train")) < 0.02 * len(test)
