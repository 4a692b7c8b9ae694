"""Which examples are shown, and how predicted classes are counted."""

from pathlib import Path

import pytest
from test_report_data import N, make_folder

from loratory.records import Prediction
from loratory.report.confusion import confusion
from loratory.report.data import load
from loratory.report.examples import choose, overlap, quality


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("the cat", "the cat", 1.0),
        ("The CAT!", "the cat", 1.0),
        ("the the", "the cat", 0.5),
        ("dog", "cat", 0.0),
        ("", "", 1.0),
        ("", "cat", 0.0),
        ("猫が好き", "猫が好き", 1.0),
        ("猫が", "猫も", 0.5),
    ],
)
def test_overlap(text: str, reference: str, expected: float):
    assert overlap(text, reference) == overlap(reference, text) == expected


def test_quality_of_text_is_rouge_l_unless_that_finds_nothing():
    latin = [Prediction("a", "the cat sat", ("the cat", "dog")), Prediction("b", "x")]
    assert quality(latin) == ("ROUGE-L", [0.8, None])
    japanese = [Prediction("a", "猫が好き", ("猫が好き",))]
    assert quality(japanese) == ("word overlap", [1.0])
    assert quality([])[1] == []


def test_quality_of_a_class_is_the_probability_of_the_true_one():
    rows = [
        Prediction("a", "x", label=1, predicted=0, probabilities=(0.7, 0.3)),
        Prediction("b", "x", label=1, predicted=1),
        Prediction("c", "x", label=1, predicted=0),
        Prediction("d", "x", label=1),
        Prediction("e", "x"),
    ]
    assert quality(rows) == ("probability of the true class", [0.3, 1.0, 0.0, None, None])


@pytest.mark.parametrize("classes", [False, True])
def test_choice_is_a_mix_without_repeats(tmp_path: Path, classes: bool):
    choice = choose(load(make_folder(tmp_path / "run", classes=classes)))
    shown = [*choice.gains, *choice.losses, *choice.drawn]
    assert len(shown) == len({item.id for item in shown}) == 20
    assert choice.better + choice.worse + choice.equal == N
    assert choice.gains and choice.seed == 3
    for item in choice.gains:
        assert (item.tuned.quality or 0) > (item.base.quality or 0)
    for item in choice.losses:
        assert (item.tuned.quality or 0) < (item.base.quality or 0)


def test_shared_words_are_marked_and_text_is_kept(tmp_path: Path):
    choice = choose(load(make_folder(tmp_path / "run", text="extra")))
    item = choice.gains[0]
    words = "".join(piece.text for piece in item.tuned.pieces)
    assert words.endswith(" extra")
    assert [piece.text for piece in item.tuned.pieces if piece.shared] == [words[: -len(" extra")]]


def test_long_texts_are_cut_and_say_so(tmp_path: Path):
    folder = make_folder(tmp_path / "run", text="long " * 2000)
    item = choose(load(folder)).gains[0]
    assert len(item.source) < 3100 and item.source.endswith("more characters)")


def _row(true: int | None, guess: int | None) -> Prediction:
    return Prediction("x", "", label=true, predicted=guess)


def test_confusion_counts_rows_by_true_class():
    rows = [_row(0, 0), _row(0, 1), _row(0, 1), _row(1, 1), _row(1, None), _row(None, 1)]
    found = confusion(rows, ["no", "yes"])
    assert found is not None
    assert found.columns == ("no", "yes", "no answer")
    assert [[cell.rows for cell in row] for row in found.matrix] == [[1, 2, 0], [0, 1, 1]]
    assert [cell.heat for cell in found.matrix[0]] == [3, 7, 0]
    assert (found.right, found.rows) == (2, 5)
    assert found.mistakes[0] == ("no", "yes", 2)


def test_confusion_of_many_classes_lists_mistakes():
    labels = [f"class {i}" for i in range(50)]
    found = confusion([_row(i, (i + i % 2) % 50) for i in range(50)], labels)
    assert found is not None
    assert found.matrix == () and len(found.mistakes) == 15


def test_confusion_without_classes_is_none():
    assert confusion([_row(None, None)], ["a"]) is None
    assert confusion([_row(0, 0)], []) is None
    assert confusion([_row(7, 0)], ["a"]) is None
