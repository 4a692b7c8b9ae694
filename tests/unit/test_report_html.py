"""The HTML report: well formed, self-contained, safe with anybody's text, and honest."""

import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_report_data import FILES, ROUGE, WORDS, comparison, make_folder, place, remove

from loratory.report import render, render_card
from loratory.report.data import load
from loratory.report.facts import cut_rows, run_facts

EVIL = (
    "<script>alert(1)</script></style></title><img src=x onerror=alert(1)>"
    '<a href=\'javascript:alert(1)\'>" onmouseover="x" {{ 7 * 7 }} {% raw %} &lt;b&gt; -->'
    "\x1b[31mred\x1b[0m\x07\x00\x9b\u202e\u2028\ud800"
)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page strictly: every element that opens is closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"<{tag}>: an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def check(html: str) -> Page:
    """Assert what holds for every report, whatever is in the folder."""
    page = Page(html)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form", "link", "img"}
        for name, value in attrs.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            assert name not in {"src", "srcset", "action", "data", "xlink:href", "style"}
            if name == "href":
                assert value is not None and value.startswith("#") and value[1:] in ids
            if name == "aria-labelledby":
                assert value is not None and set(value.split()) <= set(ids)
        if tag == "th":
            assert attrs.get("scope") in {"col", "row", "colgroup"}
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == tags.count("main") == tags.count("style") == 1
    levels = [int(tag[1]) for tag in tags if tag in {"h1", "h2", "h3", "h4"}]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert tags.count("table") == tags.count("caption")
    assert ("meta", {"charset": "utf-8"}) in page.elements
    policy = next(a["content"] for t, a in page.elements if "http-equiv" in a and t == "meta")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "url(" not in html and "@import" not in html and "@font-face" not in html
    for char in html:
        assert char in "\n\t" or not (ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0)
    assert "\u202e" not in html
    html.encode()
    return page


@pytest.mark.parametrize("classes", [False, True])
def test_a_whole_run(tmp_path: Path, classes: bool):
    folder = make_folder(tmp_path / "run", classes=classes)
    html = render(folder)
    page = check(html)
    assert len(html) < 200_000
    assert "What is missing" not in page.words and "not complete" not in page.words
    assert html == render(folder)
    assert str(tmp_path) not in html
    for part in ("134,515,008", "2,442,240 (1.82%)", "3 min 1 s",
                 "2,345 tokens in 12 of 1,360 sources, 4 tokens in 3 of 1,360 answers",
                 "Measured at most1.4 GiB", "Expected1.1 GiB (80% of the measured)",
                 "Expected: activations858 MiB",
                 "9 May 2026, 07:35 UTC", "loratory run config.yaml", "best: 2.1 at step 20",
                 "8.0 GiB", "not a finite number at 1 logged step"):  # fmt: skip
        assert part in page.words, part
    assert ("Confusion" in page.words) == classes
    assert page.elements.count(("caption", {})) >= 2
    headline = "Accuracy rose from 55.0 to 77.5" if classes else "ROUGE-Lsum rose from 14.2 to 24.0"
    assert headline in page.words


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"expected_memory_bytes": None, "expected_memory": None, "peak_memory_bytes": 2**31},
         "Measured at most 2.0 GiB"),
        ({"expected_memory_bytes": 2**30, "peak_memory_bytes": None},
         "Expected 1.0 GiB"),
        ({"expected_memory_bytes": 2**30, "peak_memory_bytes": 2**31,
          "expected_memory": {"weights": 2**29, "loading": 2**30}},
         "Measured at most 2.0 GiB Expected 1.0 GiB (50% of the measured) "
         "Expected: loading 1.0 GiB"),
        ({}, ""),
    ],
)  # fmt: skip
def test_memory_as_expected_and_as_measured(tmp_path: Path, model: dict[str, Any], says: str):
    folder = make_folder(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"model": model}))
    groups = {group.title: group.items for group in run_facts(load(folder))}
    memory = groups.get("Memory in training", ())
    assert " ".join(f"{name} {value}" for name, value in memory) == says


def test_what_was_cut_is_told_by_split_and_only_where_it_was():
    nothing = {"source_rows": 0, "source_tokens": 0, "answer_rows": 0, "answer_tokens": 0}
    cut = {
        "train": {"rows": 1360, **nothing, "source_rows": 12, "source_tokens": 2345},
        "validation": {"rows": 40, **nothing},
        "test": {"rows": 60, **nothing, "answer_rows": 1, "answer_tokens": 7},
        "else": {"rows": 3},
    }
    assert cut_rows({"data": {"cut": cut}}) == {
        "train": "2,345 tokens in 12 of 1,360 sources",
        "test": "7 tokens in 1 of 60 answers",
    }


def test_p_values_have_a_column_where_there_are_any(tmp_path: Path):
    tested = (replace(ROUGE[0], p=0.0421), replace(ROUGE[1], p=0.0001), replace(WORDS, p=0.5))
    html = render(make_folder(tmp_path / "run", comparisons=tested))
    assert "p\u00a0&lt;\u00a00.001, n\u00a0=\u00a030)" in html  # no line ends within
    page = check(html)
    heads = [attrs.get("title") for tag, attrs in page.elements if tag == "abbr"]
    assert heads == ["two-sided; corrected by Holm where several values were judged together"]
    assert "0.042" in page.words and "p < 0.001, n = 30" in page.words
    assert "corrected by Holm for the metrics judged together" in page.words
    without = check(render(make_folder(tmp_path / "old")))
    assert "abbr" not in {tag for tag, _ in without.elements}
    assert "corrected by Holm" not in without.words
    mixed = check(render(make_folder(tmp_path / "mixed", comparisons=(tested[0], ROUGE[1]))))
    cells = [sum(tag == name for tag, _ in mixed.elements) for name in ("td", "th")]
    both = [sum(tag == name for tag, _ in page.elements) for name in ("td", "th")]
    # A row without a p value has the cell all the same: only the row of words is gone.
    assert (both[0] - cells[0], both[1] - cells[1]) == (3, 5)


def test_where_the_scores_stand(tmp_path: Path):
    places = (place("lead_sentence", 1.4, 1.2, 1.6), place("human", 0.71, 0.64, 0.79))
    page = check(render(make_folder(tmp_path / "run", places=places)))
    assert "Where the scores stand" in page.words
    assert (
        "Tuned, ROUGE-Lsum 24.2: fair (band), 140% (95% interval 120% to 160%) of the way from "
        "random summary to the best baseline (lead sentence), 71% (95% interval 64% to 79%) of "
        "the way from random summary to human agreement (30 rows have several references)."
    ) in page.words
    undefined = (place("human", None, None, None, reason="no"),)
    for folder in (make_folder(tmp_path / "b", places=undefined), make_folder(tmp_path / "c")):
        assert "stand" not in check(render(folder)).words.split("Loss")[1]
        assert "(band)" not in render(folder)


def test_hostile_names_of_baselines_stand_as_text(tmp_path: Path):
    places = (replace(place(EVIL, 0.4, 0.2, 0.6), start=f"random {EVIL}"),)
    html = render(make_folder(tmp_path / "run", places=places))
    assert "of the way from random <script>alert(1)</script>" in check(html).words


@pytest.mark.parametrize("classes", [False, True])
def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path, classes: bool):
    items = (comparison("m" + EVIL, 0.1, 0.2, 0.05, 0.15), comparison("rouge1", 0.1, 0.2, 0.0, 0.3))
    folder = make_folder(tmp_path / "run", text=EVIL, classes=classes, comparisons=items)
    html = render(folder)
    page = check(html)
    assert "<script" not in html and "alert(1)>" not in html
    assert "<script>alert(1)</script>" in page.words
    assert "{{ 7 * 7 }} {% raw %} &lt;b&gt; -->␛[31mred␛[0m␇␀⟨U+009B⟩⟨U+202E⟩" in page.words
    # Shown at least in a source, an answer, a fingerprint, a version, a signature, a dropped
    # reason and, among classes, the labels.
    assert page.words.count("onerror=alert(1)") > 100
    assert len(html) < 500_000


def test_hostile_recipe_and_status(tmp_path: Path):
    folder = make_folder(tmp_path / "run")
    (folder / "config.yaml").write_text(f"name: {json.dumps(EVIL)}\ntask: [{json.dumps(EVIL)}]\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"status": EVIL, "created": EVIL, "loratory": EVIL, "seed": EVIL, "labels": 7}
    manifest |= {"model": EVIL, "data": [EVIL], "training": {"best_step": EVIL}, "durations": 3}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "This run is not complete. Its status is “<script>" in check(render(folder)).words


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("path", FILES)
def test_each_missing_stage_is_named(tmp_path: Path, path: str, classes: bool):
    folder = make_folder(tmp_path / "run", classes=classes)
    remove(folder, path)
    assert f"{path} is missing:" in check(render(folder)).words


def test_an_empty_folder_still_gives_a_report(tmp_path: Path):
    page = check(render(tmp_path))
    assert "This run cannot be judged" in page.words
    for path in FILES:
        assert f"{path} is missing" in page.words
    for section in ("No scores", "No loss curve", "No examples", "Not recorded", "No recipe"):
        assert section in page.words


@pytest.mark.parametrize(
    ("low", "high", "tuned", "says"),
    [
        (0.05, 0.15, 0.24, "the interval is clear of zero"),
        (-0.01, 0.15, 0.24, "There is no evidence of a change in ROUGE-Lsum"),
        (-0.2, -0.05, 0.02, "fell from 14.0 to 2.0"),
        (-0.2, -0.05, 0.02, "the tuned model is worse"),
    ],
)
def test_the_outcome_stands_on_top(
    tmp_path: Path, low: float, high: float, tuned: float, says: str
):
    items = (comparison("rougeLsum", 0.14, tuned, low, high),)
    page = check(render(make_folder(tmp_path / "run", comparisons=items)))
    assert says in page.words
    assert page.words.index(says) < page.words.index("Scores are out of 100")


def test_only_descriptive_metrics_judge_nothing(tmp_path: Path):
    items = (
        replace(comparison("words", 20, 10, -12, -8), descriptive=True),
        replace(comparison("finished", 0.5, 1, 0.3, 0.7), descriptive=True),
    )
    page = check(render(make_folder(tmp_path / "run", comparisons=items)))
    assert "No metric that could be better or worse was compared." in page.words
    assert "better" not in page.words.split("About the answers")[0].split("compared.")[1]


def test_a_damaged_comparison_is_not_called_absent(tmp_path: Path):
    folder = make_folder(tmp_path / "run")
    (folder / "comparison.json").write_text("{")
    words = check(render(folder)).words
    assert "its comparison could not be read" in words
    assert "comparison.json could not be read (Expecting" in words


def test_an_opening_that_is_cut_ends_in_an_ellipsis(tmp_path: Path):
    for words, end in ((60, "…</span></summary>"), (20, " word</span></summary>")):
        html = render(make_folder(tmp_path / str(words), text="word " * words))
        openings = [line for line in html.splitlines() if 'class="opening"' in line]
        assert openings and all(line.endswith(end) for line in openings)


def test_a_long_run_stays_small(tmp_path: Path):
    folder = make_folder(tmp_path / "run", text="word " * 3000)
    log = "".join(
        f'{{"step": {s}, "loss": {1 + 1 / s}, "eval_loss": 2.0}}\n' for s in range(1, 20000)
    )
    (folder / "train.jsonl").write_text(log)
    html = render(folder)
    check(html)
    assert len(html) < 700_000


def _places(tree: object) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (key,)
            yield from ((key, *rest) for rest in _places(value))


@pytest.mark.parametrize("other", [None, 7, "x", [1], {"a": 1}])
def test_a_manifest_of_other_types_still_gives_a_report(tmp_path: Path, other: object):
    folder = make_folder(tmp_path / "run")
    # What else is read and shown takes the time here and is not what is tried.
    for path in ("predictions", "scores.json", "comparison.json", "data"):
        remove(folder, path)
    manifest = json.loads((folder / "manifest.json").read_text())
    for path in _places(manifest):
        changed = json.loads(json.dumps(manifest))
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = other
        (folder / "manifest.json").write_text(json.dumps(changed))
        check(render(folder))
        render_card(folder)


def test_a_failed_run_says_where_and_why(tmp_path: Path):
    folder = make_folder(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"status": "failed", "failed": {"stage": "train", "reason": f"no {EVIL}"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "It failed in the stage “train”: no <script>" in check(render(folder)).words
