"""Probes: what is read from files and from Python's reference, and what is refused."""

from __future__ import annotations

import json

import pytest

from loratory.errors import ConfigError, DataError
from loratory.tasks.probes import PROBES, Option, load_probe, load_probes, replay_texts
from loratory.tasks.probes.passages import passages
from realdata import real_data


def write(folder, *rows, name="probe.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_every_form_of_a_row_is_read(tmp_path):
    forms = {
        "choice": {"query": "Question: Why?", "choices": ["a", "b"], "gold": 1},
        "plain choice": {"query": "It is", "choices": ["a", "b", "c"], "gold": 0, "id": 7},
        "cloze": {"context": "One two", "continuation": "three"},
        "gap": {"context_options": ["He", "She"], "continuation": "ran.", "gold": 1},
        "text": {"text": "Some text.", "title": "beside"},
        "sentence": {"sentence": "One sentence.", "group": "g"},
    }
    by_form = {name: load_probe(write(tmp_path, row))[0] for name, row in forms.items()}
    # Worded as lm-evaluation-harness words arc_easy and piqa.
    assert by_form["choice"].options == (
        Option("Question: Why?\nAnswer:", " a"),
        Option("Question: Why?\nAnswer:", " b"),
    )
    assert by_form["plain choice"].id == "7" and by_form["plain choice"].gold == 0
    assert by_form["cloze"].options == (Option("One two", " three"),)
    assert by_form["cloze"].greedy and by_form["cloze"].gold is None
    assert by_form["gap"].options == (Option("He", " ran."), Option("She", " ran."))
    assert by_form["text"].options == (Option("", "Some text."),)
    assert by_form["sentence"].group == "g"
    assert [item.plain for item in by_form.values()] == [False] * 4 + [True] * 2
    assert by_form["text"].id.endswith("probe.jsonl:1")


def test_a_row_may_say_what_stands_before_its_options(tmp_path):
    row = {"query": "Q", "choices": ["a", "b"], "gold": 0, "delimiter": "\nA: "}
    assert load_probe(write(tmp_path, row))[0].options[1] == Option("Q", "\nA: b")


GOOD = {"query": "Q", "choices": ["a", "b"], "gold": 0}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**GOOD, "answer": 1}, "unknown field 'answer'. A row of a probe has one of: choices,"),
        ({"query": "Q", "choices": ["a", "b"]}, "'gold' is missing"),
        ({"choices": ["a", "b"], "gold": 0}, "'query' is missing"),
        ({}, "is missing"),
        ({"text": "a", "sentence": "b"}, "'sentence' does not go with 'text'"),
        ({**GOOD, "gold": 2}, "gold is 2; it must be the place of the right option, 0 to 1."),
        ({**GOOD, "gold": True}, "gold is True"),
        ({**GOOD, "choices": ["a"]}, "choices must be a list of at least two texts."),
        ({**GOOD, "choices": ["a", " "]}, "choices[1] is blank"),
        ({**GOOD, "choices": ["a", 3]}, "choices[1] must be text, got int"),
        ({**GOOD, "delimiter": 1}, "delimiter must be text, got int"),
        ({**GOOD, "id": [1]}, "id must be text or a whole number, got list"),
        ({"text": "  "}, "text is blank"),
    ],
)
def test_a_wrong_row_is_named_with_its_file_and_field(tmp_path, row, said):
    path = write(tmp_path, GOOD, row)
    with pytest.raises(DataError) as caught:
        load_probe(path)
    assert str(caught.value).startswith(f"{path}:2: ") and said in str(caught.value)


def test_a_file_holds_items_of_one_kind(tmp_path):
    path = write(tmp_path, GOOD, GOOD, {"text": "a"})
    with pytest.raises(DataError, match=r"probe.jsonl:3: of another kind than .*:1. Give texts"):
        load_probe(path)


def test_an_id_that_comes_twice_is_named(tmp_path):
    path = write(tmp_path, {"id": "a", "text": "x"}, {"id": "a", "text": "y"})
    with pytest.raises(DataError, match=r"probe.jsonl:2: its id 'a' is also that of .*:1"):
        load_probe(path)


def test_unknown_probes_are_refused():
    with pytest.raises(ConfigError) as caught:
        load_probes(["embedded:texts"], 10, 0)
    assert str(caught.value).startswith("forgetting.probes[0]: unknown 'embedded:texts'.")
    assert "embedded:choices, embedded:text" in str(caught.value)
    with pytest.raises(ConfigError, match=r"probes\[0\]: a.csv is no .jsonl file"):
        load_probes(["a.csv"], 10, 0)
    with pytest.raises(ConfigError, match="embedded:text is named twice"):
        load_probes(["embedded:text", "embedded:text"], 10, 0)
    with pytest.raises(DataError, match="cannot be read"):
        load_probes(["nowhere.jsonl"], 10, 0)


def test_samples_hang_on_seed_and_content_alone(tmp_path):
    rows = [{"id": str(i), "text": f"text {i}"} for i in range(50)]
    one = write(tmp_path, *rows)
    (tmp_path / "b").mkdir()
    other = write(tmp_path / "b", *rows[::-1])
    found = load_probes([one, other], 8, 3)
    assert list(found) == ["probe", "probe-2"]
    first, second = ([item.id for item in items] for items in found.values())
    assert len(first) == 8 and sorted(first) == sorted(second)
    assert first == sorted(first, key=int)  # in the file's order
    assert {item.id for item in load_probes([one], 8, 4)["probe"]} != set(first)
    assert len(load_probes([one], 80, 0)["probe"]) == 50


def test_the_embedded_probes_are_whole_and_stable():
    assert PROBES.names() == ["choices", "text"]
    for name in PROBES.names():
        items = PROBES.get(name)().items()
        assert items == PROBES.get(name)().items()
        assert len({item.id for item in items}) == len(items) >= 100
    for item in PROBES.get("choices")().items():
        assert len({option.text for option in item.options}) == 4
        assert len({option.context for option in item.options}) == 1
        lengths = [len(option.text) for option in item.options]
        assert item.gold in range(4) and max(lengths) <= 3 * min(lengths)
    golds = [item.gold for item in PROBES.get("choices")().items()]
    assert min(golds.count(place) for place in range(4)) >= len(golds) / 8


def test_length_alone_does_not_tell_the_right_ending():
    items = PROBES.get("choices")().items()

    def right(pick) -> float:
        lengths = [[len(option.text) for option in item.options] for item in items]
        hits = [
            sizes.index(pick(sizes)) == item.gold
            for sizes, item in zip(lengths, items, strict=True)
        ]
        return sum(hits) / len(hits)

    assert right(max) < 0.4 and right(min) < 0.4


def test_replayed_and_held_out_passages_have_no_paragraph_in_common():
    held_out, replay = (
        {block for item in passages(part) for block in item.text.split("\n\n")}
        for part in ("held out", "replay")
    )
    assert held_out and replay and not held_out & replay
    texts = replay_texts("embedded:replay", load_probe("embedded:text"))
    assert len(texts) == len(passages("replay")) >= 40


def test_replay_leaves_out_what_a_probe_asks(tmp_path):
    path = write(tmp_path, {"text": "One  text."}, {"text": "Another text."})
    probe = write(tmp_path, {"text": "one text."}, name="asked.jsonl")
    assert replay_texts(path, load_probe(probe)) == ["Another text."]
    with pytest.raises(ConfigError, match=r"every text of .* is also in a probe"):
        replay_texts(path, load_probe(path))
    with pytest.raises(ConfigError, match=r"remedy.replay_data: unknown 'embedded:text'"):
        replay_texts("embedded:text", ())
    bad = write(tmp_path, {"text": "a", "label": 1}, name="bad.jsonl")
    with pytest.raises(DataError, match=r"bad.jsonl:1: unknown field 'label'"):
        replay_texts(bad, ())


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("arc_easy", 2376),
        ("commonsense_qa", 1221),
        ("copa", 100),
        ("lambada_openai", 5153),
        ("openbook_qa", 500),
        ("piqa", 1838),
        ("wikitext2_test", 62),
        ("winograd_wsc273", 273),
        ("winogrande", 1267),
    ],
)
def test_the_real_sets_are_read_whole(name, rows):
    items = load_probe(str(real_data(f"forgetting/{name}.jsonl")))
    assert len(items) == rows
