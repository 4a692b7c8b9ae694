"""What the commands print of comparisons and places, as text and as JSON."""

import json

import pytest
from test_report_data import CLASSES, ROUGE, WORDS, comparison, place

from loratory.cli import show
from loratory.codec import from_dict, to_dict
from loratory.records import Comparison, Score


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_compared_under_the_names_of_two_systems(capsys: pytest.CaptureFixture[str]) -> None:
    items = [comparison("rougeLsum", 0.142, 0.24, 0.071, 0.126, p=0.00004), *ROUGE[:1], WORDS]
    show.compared(items, "old.jsonl", "new.jsonl", as_json=False)
    out = capsys.readouterr().out
    title, head, _, first, second, *_ = out.splitlines()
    assert title.rstrip() == "old.jsonl → new.jsonl, 30 test rows"
    assert head.split() == ["metric", "old.jsonl", "new.jsonl", "change", "95%", "interval", "p"]
    assert " ".join(first.split()) == "ROUGE-Lsum 14.2 24.0 +9.8 7.1 to 12.6 < 0.001 improved"
    assert second.split()[-2:] == ["14.0", "improved"]  # no p was recorded
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("items", [CLASSES, ROUGE])
def test_a_verdict_fits_into_eighty_columns(
    items: tuple[Comparison, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    none = comparison("weighted_precision", 0.5, 0.51, -0.12, 0.14, p=0.5)
    show.compared([*items, none], "base", "tuned", as_json=False)
    out = capsys.readouterr().out
    assert "no evidence" in out and max(map(len, out.splitlines())) <= 80


def test_a_long_name_is_folded_and_no_number_is(capsys: pytest.CaptureFixture[str]) -> None:
    name = "predictions of the model in runs/2026-01-01.jsonl"
    show.compared(ROUGE, name, "b" * 30, as_json=False)
    out = capsys.readouterr().out
    assert " ".join(out.split()).startswith(f"{name} → {'b' * 30}, 30 test rows")
    assert "bbbbbbbbb" in out and "bbbbbbbbbb" not in out.split("rows", 1)[1]
    assert "20.1" in out and "improved" in out and max(map(len, out.splitlines())) <= 80


def test_different_numbers_of_rows_have_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    other = Comparison("bleu", 0.1, 0.2, 0.1, 0.05, 0.15, 1200, "s", p=0.5)
    show.compared([ROUGE[0], other], "a", "b", as_json=False)
    out = capsys.readouterr().out
    assert " n " in out.splitlines()[1] and "1,200" in out.splitlines()[-1]


def test_names_of_systems_do_not_act(capsys: pytest.CaptureFixture[str]) -> None:
    show.compared(ROUGE, "[bold]a", "\x1b[31mb", as_json=False)
    out = capsys.readouterr().out
    assert out.startswith("[bold]a → ␛[31mb,") and "\x1b" not in out


def test_compared_as_json_has_every_number_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    items = [comparison("rougeLsum", 0.1, 0.3, 0.071, 0.126, p=1 / 10_001)]
    show.compared(items, "a", "b", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["base"], found["tuned"]) == ("a", "b")
    assert [from_dict(Comparison, item, "") for item in found["comparison"]] == items


def test_scores_say_where_base_and_tuned_stand(capsys: pytest.CaptureFixture[str]) -> None:
    systems = {
        name: [Score("rougeLsum", value, value, value, 30, "rougeLsum|v:1")]
        for name, value in (("base", 0.1), ("tuned", 0.24), ("lead", 0.2))
    }
    places = [place("lead", 1.4, 1.2, 1.6)]
    show.scores(systems, as_json=False, places=places)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["base", "  rougeLsum 10.00 [10.0, 10.0] n=30 rougeLsum|v:1"]
    assert lines[-1] == (
        "Tuned, ROUGE-Lsum 24.0: fair (band), 140% (95% interval 120% to 160%) of the way from "
        "random summary to the best baseline (lead)."
    )
    show.scores(systems, as_json=True, places=places)
    assert json.loads(capsys.readouterr().out)["places"] == [to_dict(places[0])]
    show.scores(systems, as_json=True)
    assert set(json.loads(capsys.readouterr().out)) == {"scores"}
