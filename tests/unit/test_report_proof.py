"""What the proof of a run says in report and card, from the record in the manifest."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_report_card import html
from test_report_data import make_folder
from test_report_html import EVIL, Page, check

from loratory.report import render, render_card
from loratory.report.proof import proof
from loratory.report.wording import small

RELOAD = {"same_bits": False, "largest_difference": 0.00123, "bound": 0.041}
MERGE = {
    "largest_difference": 5.054e-05,
    "bound": 0.03793,
    "mean_difference": 7.9e-06,
    "mean_effect_of_adapter": 1.9408,
    "changed_tensors": 210,
    "texts": 2,
    "same_texts": 1,
    "ties": 1,
}


def record(**changes: Any) -> dict[str, Any]:
    """A manifest with a proof that passed, of a decoder."""
    found: dict[str, Any] = {
        "passed": True,
        "problems": [],
        "rows": 4,
        "reload": RELOAD,
        "merge": MERGE,
        "heads": [],
        "frozen_tensors": 272,
        "vocabulary": {"embedding_rows": 49152, "added_tokens": {"<a>": 1, "<b>": 2}},
        "seconds": 15.1,
    }
    return {"model": {"family": "causal"}, "proof": found | changes}


def sentences(**changes: Any) -> dict[str, tuple[str, str]]:
    found = proof(record(**changes))
    assert found is not None
    return {check.name: (check.found, check.sentence) for check in found.checks}


@pytest.mark.parametrize("manifest", [{}, {"proof": None}, {"proof": []}, {"proof": {"passed": 1}}])
def test_a_run_without_a_proof_has_none(manifest: dict[str, Any]):
    assert proof(manifest) is None


def test_a_proof_that_passed():
    found = proof(record())
    assert found is not None and found.passed and found.problems == ()
    assert found.opening.startswith("What was saved is what was trained.")
    assert found.opening.endswith("(it took 15.1 s).")
    assert {check.found for check in found.checks} == {"passed"}
    assert sentences() == {
        "Loaded again": (
            "passed",
            "A fresh process loaded base model and adapter from disk and computed the logits, the "
            "raw scores of each possible next token, of 4 validation rows. They differ from the "
            "trained model's by at most 0.00123, where 0.041 is allowed.",
        ),
        "Merged into the base model": (
            "passed",
            "Merging changes 210 weight tensors. Computed in float32, the merged model's logits "
            "differ from those of base model and adapter by at most 5.05\u00a0×\u00a010⁻⁵, where "
            "0.0379 is allowed; the adapter moves them by 1.94 on average. Of 2 prompts, the "
            "merged model continues 1 by the same text. 1 differs first where two tokens had "
            "nearly the same score.",
        ),
        "Vocabulary": (
            "passed",
            "The embedding has 49,152 rows and the tokenizer 2 added tokens, as in training.",
        ),
        "Base model": (
            "passed",
            "Byte for byte what they were: 272 frozen weight tensors, and the model's files on "
            "disk.",
        ),
    }


def test_the_same_bits_are_called_so():
    same = {"same_bits": True, "largest_difference": 0.0, "bound": 3.8}
    sentence = sentences(reload=same, rows=1)["Loaded again"][1]
    assert sentence.endswith(
        "of 1 validation row. They are the trained model's bit for bit: the largest difference is "
        "0, where 3.8 is allowed."
    )


def test_a_classifier_has_a_head_and_no_texts():
    merge = {key: MERGE[key] for key in ("largest_difference", "bound", "changed_tensors")}
    manifest = record(heads=["pre_classifier", "classifier"], merge=merge)
    manifest["model"]["family"] = "classifier"
    found = proof(manifest)
    assert found is not None
    said = {check.name: check.sentence for check in found.checks}
    assert "the raw scores of each class, of 4" in said["Loaded again"]
    assert said["Merged into the base model"].endswith("where 0.0379 is allowed.")
    assert said["New head"] == (
        "What has no pre-trained weights and was trained whole, pre_classifier, classifier, is "
        "among what was saved."
    )


@pytest.mark.parametrize(
    ("merge", "found", "sentence"),
    [
        ({"skipped": "the method does not merge"}, "not compared", "Not compared: the method does not merge."),  # noqa: E501
        ({"error": "no such layer"}, "failed", "It could not be merged: no such layer"),
    ],
)  # fmt: skip
def test_no_merge_has_a_reason(merge: dict[str, str], found: str, sentence: str):
    assert sentences(merge=merge)["Merged into the base model"] == (found, sentence)


def test_training_every_weight_freezes_none():
    assert sentences(frozen_tensors=0)["Base model"] == (
        "passed",
        "No weight was frozen. The model's files on disk are byte for byte what they were.",
    )


def test_a_proof_that_failed_claims_nothing_its_numbers_do_not_say():
    problem = "Loaded in a fresh process it gives other logits than the trained model."
    reload = {"same_bits": False, "largest_difference": None, "bound": 0.04}
    failed = proof(record(passed=False, problems=[problem], reload=reload))
    assert failed is not None and not failed.passed and failed.problems == (problem,)
    assert failed.opening == (
        "The saved adapter failed its proof: it was not shown to be what was trained."
    )
    found = {check.name: check.found for check in failed.checks}
    assert found == {
        "Loaded again": "failed",
        "Merged into the base model": "",
        "Vocabulary": "",
        "Base model": "",
    }
    said = " ".join(check.sentence for check in failed.checks)
    assert "by at most no finite number, where 0.04 is allowed" in said
    assert "as in training" not in said and "files on disk" not in said
    over = {**MERGE, "largest_difference": 0.038}
    assert sentences(passed=False, merge=over)["Merged into the base model"][0] == "failed"
    assert "Base model" not in sentences(passed=False, frozen_tensors=0)


def test_a_process_that_ended_early_leaves_its_checks_out():
    found = sentences(passed=False, problems=["It cannot be loaded."], reload={}, merge={})
    assert set(found) == {"Vocabulary", "Base model"}


def _with_proof(folder: Path, **changes: Any) -> Path:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["proof"] |= changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("classes", [False, True])
def test_report_and_card_tell_it(tmp_path: Path, classes: bool):
    folder = make_folder(tmp_path / "run", classes=classes)
    page, card = check(render(folder)), render_card(folder)
    assert ("a", {"href": "#saved"}) in page.elements
    body = Page(html(card.split("---\n", 2)[2]))
    for words in (page.words, body.words):
        assert "What was saved is what was trained." in words
        assert "bit for bit: the largest difference is 0, where 3.8 is allowed" in words
        assert "1,272 frozen weight tensors" in words
        assert ("New head" in words) == classes


def test_an_older_run_has_no_such_section(tmp_path: Path):
    folder = make_folder(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["proof"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    page = check(render(folder))
    assert ("a", {"href": "#saved"}) not in page.elements
    assert "aved adapter" not in page.words and "saved adapter" not in render_card(folder)


def test_hostile_text_in_a_proof_stays_text(tmp_path: Path):
    folder = _with_proof(
        make_folder(tmp_path / "run"),
        passed=False,
        problems=[f"Merged, it writes {EVIL!r} instead of '**x**'.", EVIL],
        heads=[EVIL],
        merge={"skipped": EVIL},
    )
    page = check(render(folder))
    assert page.words.count("<script>alert(1)</script>") == 4
    body = Page(html(render_card(folder).split("---\n", 2)[2]))
    assert not {"script", "a", "img"} & {tag for tag, _ in body.elements}
    assert body.words.count("<script>alert(1)</script>") == 4 and "'**x**'" in body.words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.8000000000000003, "3.8"),
        (0.001, "0.001"),
        (0.000999, "9.99\u00a0×\u00a010⁻⁴"),
        (-5.054e-12, "−5.05\u00a0×\u00a010⁻¹²"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (-0.25, "−0.25"),
        (2.5e7, "2.50\u00a0×\u00a010⁷"),
        (None, "None"),
        (float("nan"), "nan"),
        ("x", "x"),
    ],
)
def test_small_numbers(value: Any, text: str):
    assert small(value) == text
