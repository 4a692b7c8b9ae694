"""Remedies on training rows: counterfactual copies, and groups made equally frequent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.config import from_mapping
from loratory.errors import ConfigError, DataError
from loratory.records import Example, Message
from loratory.tasks.groups import (
    WordList,
    augmented,
    balanced,
    read_list,
    remedied,
    with_group,
)
from loratory.tasks.groups.balance import MOST, check_column, group_of, group_words

GENDER = read_list("embedded:gender", Path())
AGES = WordList("ages", ("old", "young"), (("old", "young"),))


def test_rows_with_a_listed_word_stand_once_more() -> None:
    rows = [Example("a", "He ran.", label=1), Example("b", "It rained.", label=0)]
    found = augmented(rows, [GENDER])
    assert found.examples == [
        rows[0],
        Example("a~men>women", "She ran.", label=1),
        rows[1],
    ]
    assert (found.added, found.left_out) == (1, 0)


def test_references_and_context_are_swapped_alike() -> None:
    row = Example("a", "Who is he?", ("He is my son.",), context=(Message("user", "That man!"),))
    (_, copy) = augmented([row], [GENDER]).examples
    assert copy.references == ("She is my daughter.",)
    assert copy.context[0].content == "That woman!"


def test_every_two_groups_give_a_copy() -> None:
    found = augmented([Example("a", "the old man")], [GENDER, AGES])
    assert [row.source for row in found.examples] == [
        "the old man",
        "the old woman",
        "the young man",
    ]


def test_a_copy_that_is_held_out_is_not_added() -> None:
    rows = [Example("a", "he ran", label=1)]
    found = augmented(rows, [GENDER], held_out=["She  Ran"])
    assert (found.examples, found.added, found.left_out) == (rows, 0, 1)


def test_afterwards_every_text_is_as_frequent_with_either_group() -> None:
    """Copies of rows that are there already count: leaving them out would keep the bias."""
    rows = [Example(str(i), "she ran" if i < 9 else "he ran", label=1) for i in range(10)]
    found = augmented(rows, [GENDER]).examples
    assert Counter(row.source for row in found) == {"he ran": 10, "she ran": 10}
    assert len({row.id for row in found}) == 20


def planted(counts: dict[tuple[int, str], int]) -> tuple[list[Example], list[str]]:
    rows, groups = [], []
    for (label, group), n in counts.items():
        rows += [Example(f"{label}{group}{i}", f"{i}", label=label) for i in range(n)]
        groups += [group] * n
    return rows, groups


def cells(rows: list[Example], names: dict[str, str]) -> Counter[tuple[int | None, str]]:
    return Counter((row.label, names[row.id.partition("~")[0]]) for row in rows)


def test_balancing_breaks_a_planted_correlation() -> None:
    rows, groups = planted({(0, "men"): 9, (0, "women"): 2, (1, "men"): 3, (1, "women"): 7})
    found = balanced(rows, groups, seed=1)
    names = dict(zip((row.id for row in rows), groups, strict=True))
    assert cells(found.examples, names) == {
        (0, "men"): 9,
        (0, "women"): 9,
        (1, "men"): 7,
        (1, "women"): 7,
    }
    assert found.counts == {"men": 12, "women": 9}
    assert found.added == 11
    assert found.short == ()
    assert {row.id for row in rows} <= {row.id for row in found.examples}
    assert len({row.id for row in found.examples}) == len(found.examples)


def test_a_row_is_not_repeated_without_end() -> None:
    rows, groups = planted({(0, "a"): 100, (0, "b"): 1, (1, "a"): 1})
    found = balanced(rows, groups)
    copies = Counter(row.id.partition("~")[0] for row in found.examples)
    assert copies["0b0"] == MOST
    assert found.short == ("b",)


def test_rows_without_a_group_stay() -> None:
    rows = [Example(str(i), "x", ("y",)) for i in range(5)]
    found = balanced(rows, ["a", "a", "a", "b", ""])
    assert Counter(row.id.partition("~")[0] for row in found.examples) == {
        "0": 1,
        "1": 1,
        "2": 1,
        "3": 3,
        "4": 1,
    }


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("ab")), min_size=2, max_size=30))
def test_no_group_is_rarer_beside_a_label_unless_it_says_so(pairs: list[tuple[int, str]]) -> None:
    rows = [Example(str(i), "x", label=label) for i, (label, _) in enumerate(pairs)]
    groups = [group for _, group in pairs]
    if len(set(groups)) < 2:
        with pytest.raises(DataError, match="fewer than two groups"):
            balanced(rows, groups)
        return
    found = balanced(rows, groups)
    names = dict(zip((row.id for row in rows), groups, strict=True))
    after = cells(found.examples, names)
    for label in {label for label, _ in pairs}:
        even = after[label, "a"] == after[label, "b"]
        assert even or found.short
    assert found == balanced(rows, groups)


def test_groups_by_the_words_that_occur() -> None:
    sources = ("he ran", "she ran", "it ran", "he and she")
    rows = [Example(str(i), source) for i, source in enumerate(sources)]
    assert group_words(rows, GENDER) == ["men", "women", "", ""]


def test_groups_by_a_column() -> None:
    row = Example("f:1", "x")
    assert with_group([row], {"sex": " older  women "}, "sex")[0].group == "older women"
    assert with_group([row], {"sex": 3}, "sex")[0].group == "3"
    assert with_group([row], {"sex": None}, "sex")[0].group == ""
    assert with_group([row], {"sex": float("nan")}, "sex")[0].group == ""
    assert with_group([row], {}, "sex")[0].group == ""
    with pytest.raises(DataError, match="f:1: sex must be a name or a number, got list"):
        group_of({"sex": ["x"]}, "sex", "f:1")
    check_column([{"a": 1}, {"sex": ""}], "sex")
    with pytest.raises(DataError, match=r"bias\.group: the data have no column 'sexx'\. Did you"):
        check_column([{"a": 1}, {"sex": ""}], "sexx")


def test_a_recipe_names_the_remedies() -> None:
    recipe = {
        "model": "embedded:minilm",
        "data": {"name": "a.csv", "augment": ["embedded:gender"], "balance": "sex"},
        "task": "classification",
    }
    data = from_mapping(recipe).data
    assert (data.augment, data.balance) == (["embedded:gender"], "sex")


def test_both_remedies_of_a_recipe() -> None:
    rows = [{"sex": "f"}, {"sex": "m"}, {"sex": "m"}, {"sex": None}]
    sources = ("it is she", "a", "b", "c")
    examples = [Example(str(i), source, label=0) for i, source in enumerate(sources)]
    found = remedied(examples, rows, ["embedded:gender"], "sex", base_dir=Path())
    # The copy of the first row is of the first row's group, so both groups have two rows.
    assert [row.id for row in found.examples] == ["0", "0~women>men", "1", "2", "3"]
    assert found.facts == {
        "augment": {"added": 1, "left_out": 0},
        "balance": {"groups": {"f": 2, "m": 2}, "added": 0, "short": []},
    }
    assert found.notes == (
        "Augmented: 1 training rows with groups swapped",
        "Balanced by sex (f 2, m 2): 0 rows repeated",
    )
    by_words = remedied(examples, rows, ["embedded:gender"], "embedded:gender", base_dir=Path())
    assert by_words.facts["balance"]["groups"] == {"men": 1, "women": 1}
    assert remedied(examples, rows, [], None, base_dir=Path()).examples == examples
    with pytest.raises(DataError, match=r"data\.balance: the data have no column 'age'"):
        remedied(examples, rows, [], "age", base_dir=Path())
    with pytest.raises(ConfigError, match=r"data\.augment: unknown 'embedded:x'"):
        remedied(examples, rows, ["embedded:x"], None, base_dir=Path())
