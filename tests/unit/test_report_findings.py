"""Findings in report, card and terminal: told where somebody looked, and escaped."""

from __future__ import annotations

import json

import pytest

from loratory.codec import from_dict, to_dict
from loratory.records import Comparison, Contrasts, Finding
from loratory.report import render, render_card
from loratory.report.findings import sections, summary

HOSTILE = "<script>alert(1)</script> \x1b[31m"


def comparison(**changes):
    values = {
        "metric": "perplexity",
        "base": 20.0,
        "tuned": 24.5,
        "difference": 4.5,
        "low": 3.25,
        "high": 5.75,
        "n": 100,
        "signature": "perplexity|v:1",
        "lower_is_better": True,
        "p": 0.0001,
    }
    return Comparison(**{**values, **changes})


def finding(**changes):
    values = {
        "question": "forgetting",
        "verdict": "found",
        "sentences": ("The tuned model forgot something.", "It is worse at general text."),
        "tables": (Contrasts("General text", (comparison(),)),),
        "limits": ("English alone.",),
        "facts": {"probes": {"text": 100}},
    }
    return Finding(**{**values, **changes})


def test_a_finding_comes_back_from_json_as_it_was():
    kept = json.loads(json.dumps(to_dict(finding())))
    assert from_dict(Finding, kept, "here") == finding()


def folder_with(tmp_path, *findings):
    (tmp_path / "findings").mkdir()
    for item in findings:
        text = json.dumps({"schema_version": 1, "finding": to_dict(item)})
        (tmp_path / "findings" / f"{item.question}.json").write_text(text, encoding="utf-8")
    return tmp_path


def test_report_and_card_tell_verdict_sentences_numbers_and_limits(tmp_path):
    folder = folder_with(tmp_path, finding(), finding(question="leakage", verdict="no sign"))
    page, card = render(folder), render_card(folder)
    for text in (page, card):
        assert text.index("Leakage") < text.index("Forgetting")
        assert "The tuned model forgot something." in text and "English alone." in text
    assert "+4.5" in page and "3.2 to 5.8" in page and "worse" in page and "&lt; 0.001" in page
    assert '<span class="verdict bad">found</span>' in page
    assert '<span class="verdict good">no sign</span>' in page


def test_nothing_is_said_where_nobody_looked(tmp_path):
    assert "Forgetting" not in render(tmp_path) and "Known harms" not in render_card(tmp_path)
    assert sections({}) == () and summary({}) == []


def test_texts_of_data_cannot_act(tmp_path):
    item = finding(
        sentences=(HOSTILE,), limits=(HOSTILE,), tables=(Contrasts(HOSTILE, (comparison(),)),)
    )
    page = render(folder_with(tmp_path, item))
    assert "<script>" not in page and "\x1b" not in page


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 1}', '{"schema_version": 9}'])
def test_a_damaged_finding_is_named(text, tmp_path):
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings" / "bias.json").write_text(text, encoding="utf-8")
    assert "findings/bias.json" in render(tmp_path)


def test_an_undefined_value_is_told_with_its_reason():
    nothing = comparison(base=None, tuned=None, difference=None, low=None, high=None, p=None)
    item = finding(tables=(Contrasts("", (nothing,)),))
    (line,) = sections({"forgetting": item})[0].sheets[0].lines
    assert line.base == line.difference == "–" and line.verdict == "undefined"
