"""Classification: labels in every spelling that data has them in."""

import pytest

from loratory.errors import ConfigError, DataError
from loratory.records import Example, Message
from loratory.tasks.base import TASKS
from realdata import real_rows

Classification = TASKS.get("classification")


def bound(train, **settings):
    return Classification(**settings).bind([{"text": "t", "label": label} for label in train])


def classes(task, labels) -> list[int]:
    return [task.example({"text": "t", "label": label}, "f:1")[0].label for label in labels]


FIVE = ("awful", "poor", "fair", "good", "great")
ALLOWED = "Allowed: awful, poor, fair, good, great"
CASES = [
    # training labels, settings, labels of the task, then (label, class) pairs
    ([5, 1, "3", 2.0, "4.0"], {}, ("1", "2", "3", "4", "5"), [(1, 0), ("5", 4), (" 2.0 ", 1)]),
    ([10, 9, 1], {}, ("1", "9", "10"), [("10", 2)]),
    ([True, False], {}, ("false", "true"), [(True, 1), (False, 0)]),
    (["b", "a", "b "], {}, ("a", "b"), [("a", 0), (" b", 1)]),
    ([0.5, 1.5], {}, ("0.5", "1.5"), [(1.5, 1)]),
    ([-1, 0, 1], {}, ("-1", "0", "1"), [("-1", 0)]),
    (["b", "a"], {"labels": ("b", "a", "c")}, ("b", "a", "c"), [("b", 0), ("c", 2)]),
    # numbers that stand for named labels: from 0, and stars from 1
    ([0, 1, 4], {"labels": FIVE}, FIVE, [(0, 0), ("4", 4), ("poor", 1)]),
    (["1", 2.0, 5], {"labels": FIVE}, FIVE, [(1, 0), (5, 4), (3, 2)]),
    ([2, 3], {"labels": FIVE, "count_from": 1}, FIVE, [(1, 0), (5, 4)]),
    ([2, 3], {"labels": FIVE, "count_from": 0}, FIVE, [(0, 0), (3, 3)]),
    # labels that are numbers themselves are never counted
    ([1, 2, 3], {"labels": ("1", "2", "3")}, ("1", "2", "3"), [(1, 0), (3, 2)]),
    ([2, 1], {"labels": ("2", "1")}, ("2", "1"), [(2, 0), (1, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("train", "settings", "labels", "pairs"), CASES)
def test_labels(train, settings, labels, pairs) -> None:
    task = bound(train, **settings)
    assert task.labels == labels
    assert classes(task, [label for label, _ in pairs]) == [index for _, index in pairs]


REFUSED = [
    (["a", "b"], {}, "c", "f:9: unknown label 'c'. Allowed: a, b."),
    ([0, 1, 2, 3, 4], {"labels": FIVE}, 5, f"f:9: unknown label 5. {ALLOWED} (or 0 to 4)."),
    ([1, 5], {"labels": FIVE}, 0, f"f:9: unknown label 0. {ALLOWED} (or 1 to 5)."),
    ([1, 5], {}, 3, "f:9: unknown label 3. Allowed: 1, 5."),
    (["a", "b"], {}, None, "f:9: label is missing. Allowed: a, b."),
    (["a", "b"], {}, "", "f:9: label is missing. Allowed: a, b."),
    (["a", "b"], {}, float("nan"), "f:9: label is missing. Allowed: a, b."),
    (["a", "b"], {}, ["a"], "f:9: label must be a name or a number, got list. Allowed: a, b."),
]  # fmt: skip


@pytest.mark.parametrize(("train", "settings", "label", "message"), REFUSED)
def test_labels_outside_the_set_name_row_value_and_allowed(train, settings, label, message) -> None:
    with pytest.raises(DataError) as caught:
        bound(train, **settings).example({"text": "t", "label": label}, "f:9")
    assert str(caught.value) == message


UNUSABLE = [
    ([], {}, "fewer than two classes. Labels found: none."),
    (["a", "a", None], {}, "fewer than two classes. Labels found: a."),
    (["x", "y"], {"labels": ("a", "b")}, "Labels found: x, y (allowed: a, b)."),
    ([3, 3, 3], {"labels": FIVE, "count_from": 1}, "Labels found: 3 (allowed: awful"),
    ([2, 3], {"labels": FIVE}, "may count from 0 or from 1. Set task.count_from."),
]


@pytest.mark.parametrize(("train", "settings", "message"), UNUSABLE)
def test_training_rows_that_teach_nothing(train, settings, message) -> None:
    with pytest.raises(DataError) as caught:
        bound(train, **settings)
    assert message in str(caught.value)


def test_words_are_one_per_label() -> None:
    task = bound([1, 2], words=("bad", "good"))
    assert task.choices() == ("bad", "good")
    assert task.answer(Example("f:1", "t", label=1)) == "good"
    with pytest.raises(ConfigError, match=r"task\.words: 2 words for the 3 labels .*\(1, 2, 3\)"):
        bound([1, 2, 3], words=("bad", "good"))


def test_problems() -> None:
    assert Classification(labels=("a",)).problems()[0].startswith("labels: one label alone")
    assert Classification(labels=("a", " a")).problems() == [
        "labels: one of them stands there twice."
    ]
    assert Classification(words=("a", " ")).problems() == ["words: one of them is blank."]
    assert Classification(labels=("a", "b"), words=("x",)).problems() == [
        "words: 1 words for 2 labels."
    ]
    assert Classification(template="{labels}").problems() == ["template: {text} is missing."]
    assert Classification(template="{labels} {text}").problems() == []


def test_prompts_name_the_words() -> None:
    task, example = bound(["b", "a"]), Example("f:1", "A {text}.", label=0)
    (message,) = task.prompt(example, "chat")
    assert message == Message(
        "user",
        "Classify the following text as one of: a, b. Answer with the label only.\n\nA {text}.",
    )
    assert task.prompt(example, "plain") == "A {text}.\n\nLabel:"
    assert task.prompt(example, "prefix") == "classify: A {text}."
    assert task.prompt(example, "bare") == "A {text}."


def test_majority_answers_with_the_training_frequencies() -> None:
    task = bound(["a", "b"])
    train = [Example(f"t:{i}", "t", label=label) for i, label in enumerate([0, 1, 1, 1])]
    (prediction,) = task.baselines(train, [Example("x:1", "s", label=0)], 0)["majority"]
    assert (prediction.text, prediction.predicted, prediction.label) == ("b", 1, 0)
    assert prediction.probabilities == (0.25, 0.75)


@pytest.mark.parametrize(
    ("file", "column", "labels"),
    [
        ("amazon_alexa_stars", "stars", ("1", "2", "3", "4", "5")),
        ("sst5_dev", "label", ("0", "1", "2", "3", "4")),
        ("trec_test", "label_name", None),
        ("tweeteval_emotion_val", "label_name", None),
    ],
)
def test_real_rows(file: str, column: str, labels) -> None:
    rows = [{**row, "label": row[column]} for row in real_rows(f"sentiment/{file}.jsonl")]
    task = Classification().bind(rows)
    assert labels is None or task.labels == labels
    seen = {task.example(row, f"{file}:{i}")[0].label for i, row in enumerate(rows)}
    assert seen == set(range(len(task.labels)))
