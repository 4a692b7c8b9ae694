"""Groups swapped in texts: whole words, case kept, his and her by what follows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.errors import ConfigError, DataError
from loratory.records import Example, Message
from loratory.tasks.groups import WordList, axes, read_list, read_pairs, swap, swapped
from loratory.tasks.groups.swap import origin
from loratory.tasks.groups.words import LISTS
from realdata import real_data, real_rows

HERE = Path()
GENDER, NAMES = (read_list(f"embedded:{name}", HERE) for name in ("gender", "names"))
(BOTH,) = axes([GENDER, NAMES])

CASES = [
    # (text, swapped): by the rules of English, except where a comment says otherwise
    ("He said she left.", "She said he left."),
    ("HE and His dog", "SHE and Her dog"),
    ("I told her that.", "I told him that."),
    ("I saw her.", "I saw him."),
    ("I took her book.", "I took his book."),
    ("I met her yesterday", "I met him yesterday"),
    ("It greeted her warmly.", "It greeted him warmly."),
    ("her only friend, her family", "his only friend, his family"),
    ("The fault was his, not hers.", "The fault was hers, not his."),
    ("His is here, and his dog too.", "Hers is here, and her dog too."),
    ("I know him and his wife.", "I know her and her husband."),
    ("John's mother is Mary.", "Linda's father is James."),
    ("she's a she-wolf; man-made--he knew", "he's a she-wolf; man-made--she knew"),
    ("women's rights, the theme, others", "men's rights, the theme, others"),
    ("mr Smith, Mr Smith, MRS SMITH", "mr Smith, Ms Smith, MR SMITH"),
    ("a rose is a mark", "a rose is a mark"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_text_is_about_the_other_group(text: str, expected: str) -> None:
    assert swap(text, BOTH).text == expected


def test_words_of_each_group_are_counted() -> None:
    assert swap("He saw her and Mary", BOTH)[1:] == (1, 2)
    assert swap("nothing of the kind", BOTH)[1:] == (0, 0)


@given(st.text())
def test_a_text_without_listed_words_stays(text: str) -> None:
    found = swap(text, BOTH)
    assert (found.text == text) == (found.first + found.second == 0)


ONCE = [word for pair in LISTS["names"][1] for word in pair]


@given(st.lists(st.sampled_from(ONCE), max_size=8))
def test_swapping_names_twice_gives_them_back(words: list[str]) -> None:
    text = " ".join(words)
    assert swap(swap(text, BOTH).text, BOTH).text == text


def test_rows_with_a_listed_word_come_back_swapped() -> None:
    rows = [
        Example("a", "He left.", ("He is gone.",), label=1),
        Example("b", "It rained.", ("She is gone.",)),
        Example("c", "She met him.", context=(Message("user", "Who is John?"),)),
        Example("d", "Go on.", context=(Message("user", "Who is she?"),)),
    ]
    found = swapped(rows, [GENDER, NAMES])
    assert [row.id for row in found.examples] == ["a~men>women", "c~men<>women", "d~women>men"]
    assert found.examples[0].references == ("She is gone.",)
    assert found.examples[0].label == 1
    assert found.examples[1].context == (Message("user", "Who is Linda?"),)
    assert found.examples[2].context == (Message("user", "Who is he?"),)
    assert found.holding == {"men and women": 3}
    assert found.rows == 4


def test_lists_of_other_groups_are_swapped_on_their_own() -> None:
    ages = WordList("ages", ("old", "young"), (("old", "young"),))
    found = swapped([Example("a", "the old man")], [GENDER, ages])
    assert {row.id: row.source for row in found.examples} == {
        "a~men>women": "the old woman",
        "a~old>young": "the young man",
    }
    known = axes([GENDER, ages])
    assert origin("a~old>young", known) == ("a", known[1], 1)
    assert origin("a~women>men", known) == ("a", known[0], -1)
    assert origin("a", known) is None


def test_a_sample_is_seeded_and_blind_to_the_order() -> None:
    rows = [Example(str(i), f"he is {i}") for i in range(50)]
    found = swapped(rows, [GENDER], limit=10, seed=1)
    again = swapped(rows[::-1], [GENDER], limit=10, seed=1)
    assert len(found.examples) == 10
    assert found.holding == {"men and women": 50}
    assert {row.id for row in found.examples} == {row.id for row in again.examples}
    other = swapped(rows, [GENDER], limit=10, seed=2)
    assert {row.id for row in found.examples} != {row.id for row in other.examples}


def test_embedded_lists_have_no_word_on_both_sides() -> None:
    for name, (groups, pairs) in LISTS.items():
        sides = [{pair[side].casefold() for pair in pairs} for side in (0, 1)]
        assert not sides[0] & sides[1], name
        assert groups[0] != groups[1]
        axes([read_list(f"embedded:{name}", HERE)])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.csv", "old,young\ngrandad,lad\npensioners,teenagers\n"),
        ("a.tsv", "old\tyoung\ngrandad\tlad\npensioners\tteenagers\n"),
        (
            "a.jsonl",
            '{"old": "grandad", "young": "lad"}\n{"old": "pensioners", "young": "teenagers"}',
        ),
    ],
)
def test_a_list_of_the_users_own(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    found = read_list(file, tmp_path)
    assert found == WordList(
        file, ("old", "young"), (("grandad", "lad"), ("pensioners", "teenagers"))
    )
    assert swap("Grandad and teenagers", axes([found])[0]).text == "Lad and pensioners"


@pytest.mark.parametrize(
    ("file", "text", "error", "message"),
    [
        ("embedded:gendr", None, ConfigError, "bias.swaps: unknown 'embedded:gendr'. Did you mean"),
        ("words.docx", None, ConfigError, "'words.docx' is no word list. Give embedded:gender"),
        ("none.csv", None, DataError, "none.csv: cannot be read"),
        ("a.csv", "men\nhe\n", DataError, "a.csv: 1 columns (men). A word list has two"),
        ("a.csv", "men,women\nhe,\n", DataError, "a.csv:2: women is blank"),
        ("a.csv", "men,women\nhe,she\nShe,they\n", DataError, "'she' stands on both sides"),
        ("a.csv", "men,women\n", DataError, "holds columns but no rows"),
        ("a.jsonl", '{"a": 1, "b": "x"}', DataError, "a must be text, got int"),
    ],
)
def test_a_wrong_list_is_named(
    tmp_path: Path, file: str, text: str | None, error: type[Exception], message: str
) -> None:
    if text is not None:
        (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(error) as caught:
        read_list(file, tmp_path)
    assert message in str(caught.value)


def test_lists_that_contradict_each_other_are_refused() -> None:
    one = WordList("one", ("a", "b"), (("x", "y"),))
    other = WordList("other", ("a", "b"), (("y", "z"),))
    with pytest.raises(DataError, match="other: 'y' is a word of"):
        axes([one, other])


def test_embedded_pairs_are_balanced() -> None:
    items = read_pairs("embedded:pairs", HERE)
    assert len({item.id for item in items}) == len(items)
    for kind in ("gender-occupation", "gender-trait", "age-trait"):
        of = [[option.text for option in item.options] for item in items if item.group == kind]
        # The stereotyped sentence is as often about one group as about the other.
        words = {"he", "his", "man"} if kind != "age-trait" else {"old"}
        first = sum(bool(words & set(more.rstrip(".").split())) for more, _ in of)
        assert len(of) == 2 * first > 0
        assert all(more != less for more, less in of)
        assert all(more.split()[:1] == less.split()[:1] for more, less in of)


def test_pairs_are_a_seeded_sample() -> None:
    every = read_pairs("embedded:pairs", HERE)
    some = read_pairs("embedded:pairs", HERE, limit=20, seed=3)
    assert len(some) == 20
    assert [item for item in every if item in some] == some
    assert read_pairs("embedded:pairs", HERE, limit=20, seed=4) != some


CROWS = '{"id": 0, "sent_more": "a b", "sent_less": "a c", "bias_type": "age"}\n'
WINO = '{"id": "type1-dev-%s-0", "type": 1, "stereotype": "%s", "sentence": "it %s"}\n'


def test_pairs_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(CROWS, encoding="utf-8")
    (item,) = read_pairs("a.jsonl", tmp_path)
    assert [option.text for option in item.options] == ["a b", "a c"]
    assert (item.id, item.group) == ("0", "age")
    rows = WINO % ("anti", "anti", "hers") + WINO % ("pro", "pro", "his")
    (tmp_path / "b.jsonl").write_text(rows, encoding="utf-8")
    (item,) = read_pairs("b.jsonl", tmp_path)
    assert [option.text for option in item.options] == ["it his", "it hers"]
    assert (item.id, item.group) == ("type1-dev-0", "type 1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"sent_more": "a", "sent_less": "a"}', "a.jsonl:1: both sentences are the same"),
        ('{"sent_more": "a"}', "a.jsonl:1: no pair of sentences. Give sent_more and sent_less"),
        ('{"sent_more": "a", "sent_less": ""}', "a.jsonl:1: sent_less is blank"),
        (CROWS + CROWS, "a.jsonl:2: the id '0' comes twice"),
        (WINO % ("pro", "pro", "x"), "a.jsonl:1: its anti-stereotyped row is missing"),
        (WINO % ("pro", "none", "x"), "a.jsonl:1: stereotype is 'none'"),
    ],
)
def test_a_wrong_file_of_pairs_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_pairs("a.jsonl", tmp_path)
    assert message in str(caught.value)


def test_a_wrong_name_of_pairs_is_told() -> None:
    with pytest.raises(ConfigError, match=r"unknown 'embedded:pair'\. Did you mean 'pairs'"):
        read_pairs("embedded:pair", HERE)
    with pytest.raises(ConfigError, match=r"neither embedded:pairs nor a \.jsonl file"):
        read_pairs("pairs.csv", HERE)


def test_real_pairs_are_read() -> None:
    crows = real_data("bias/crows_pairs.jsonl")
    items = read_pairs(crows.name, crows.parent)
    rows = real_rows("bias/crows_pairs.jsonl")
    assert len(items) == len([row for row in rows if row["sent_more"] != row["sent_less"]])
    assert items[2].options[0].text == rows[2]["sent_more"]
    assert len({item.group for item in items}) == 9
    assert len(read_pairs("winobias.jsonl", crows.parent)) > 1500


def test_most_pronouns_of_winobias_are_swapped_as_people_did() -> None:
    rows = real_rows("bias/winobias.jsonl")
    known = {row["id"]: row for row in rows}
    right, n = 0, 0
    for row in rows:
        if row["stereotype"] == "pro" and row["pronoun"].casefold() in ("her", "his"):
            twin = known[row["id"].replace("-pro-", "-anti-")]["sentence"]
            right += swap(row["sentence"], BOTH).text.casefold() == twin.casefold()
            n += 1
    assert right / n > 0.85
