"""The model card: front matter the Hub reads, and Markdown that no text can break out of."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from test_report_data import FILES, ROUGE, WORDS, comparison, make_folder, place, remove
from test_report_html import EVIL, Page

from loratory.report import render_card
from loratory.report.markdown import code, fenced, inline


def split(card: str) -> tuple[dict[str, Any], str]:
    _, front, body = re.split(r"^---\n", card, maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(front), body


def html(markdown: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)


def program(card: str) -> str:
    return card.split("```python\n")[1].split("\n```")[0]


def table(card: str) -> list[list[str]]:
    """The cells of the score table, by row."""
    lines = [line for line in card.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def set_model(folder: Path, name: str, family: str = "causal") -> Path:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["model"] |= {"name": name, "family": family}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_front_matter(tmp_path: Path):
    folder = set_model(make_folder(tmp_path / "run"), "HuggingFaceTB/SmolLM2-135M")
    front, _ = split(render_card(folder))
    assert list(front) == [
        "base_model", "library_name", "pipeline_tag", "tags", "metrics", "model-index",
    ]  # fmt: skip
    assert front["base_model"] == "HuggingFaceTB/SmolLM2-135M"
    assert front["library_name"] == "peft"
    assert front["pipeline_tag"] == "summarization"
    assert front["tags"] == ["loratory", "lora", "summarization"]
    assert front["metrics"] == ["rouge"]
    (result,) = front["model-index"][0]["results"]
    assert result["task"] == {"type": "summarization"}
    assert result["metrics"][1] == {"type": "rouge", "name": "ROUGE-Lsum", "value": 24.2}
    assert "words" not in json.dumps(front)


def test_p_values_have_a_column_where_there_are_any(tmp_path: Path):
    tested = (replace(ROUGE[0], p=0.0421), replace(ROUGE[1], p=0.0001), WORDS)
    card = render_card(make_folder(tmp_path / "run", comparisons=tested))
    head, rule, *rows = table(card)
    assert head[4] == "p" and len({len(row) for row in (head, rule, *rows)}) == 1
    assert [row[4] for row in rows] == ["0.042", "&lt; 0.001", "–"]
    assert "p is two-sided, corrected by Holm over the metrics." in card
    older = render_card(make_folder(tmp_path / "old"))
    assert "p" not in table(older)[0] and "randomisation" not in older


def test_where_the_scores_stand(tmp_path: Path):
    places = (place("human", 0.71, 0.64, 0.79),)
    card = render_card(make_folder(tmp_path / "run", places=places))
    assert (
        "Tuned, ROUGE-Lsum 24.2: fair (band), 71% (95% interval 64% to 79%) of the way from "
        "random summary to human agreement (30 rows have several references)."
    ) in card


@pytest.mark.parametrize("name", ["/home/me/model", "./model", "embedded:minilm", "a/b/c.gguf"])
def test_a_place_on_disk_is_no_base_model_of_the_hub(tmp_path: Path, name: str):
    front, _ = split(render_card(set_model(make_folder(tmp_path / "run"), name)))
    assert "base_model" not in front


def test_loading_a_generator(tmp_path: Path):
    card = render_card(set_model(make_folder(tmp_path / "run"), "org/model"))
    assert program(card) == (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'name = "org/model"\n'
        "tokenizer = AutoTokenizer.from_pretrained(name)\n"
        "base = AutoModelForCausalLM.from_pretrained(name)\n"
        'model = PeftModel.from_pretrained(base, "adapter").eval()'
    )


def test_loading_a_classifier_gives_the_head_its_size(tmp_path: Path):
    text = program(render_card(make_folder(tmp_path / "run", classes=True)))
    assert "AutoModelForSequenceClassification.from_pretrained(name, num_labels=2, " in text
    assert 'id2label={0: "bad plain", 1: "good plain"}' in text
    ast.parse(text)


def test_an_embedded_model_is_unpacked_first(tmp_path: Path):
    text = program(render_card(set_model(make_folder(tmp_path / "run"), "embedded:smollm2-135m")))
    assert 'name = locate(ModelConfig(name="embedded:smollm2-135m"), Silent())' in text
    ast.parse(text)


@pytest.mark.parametrize("classes", [False, True])
def test_hostile_text_stays_text(tmp_path: Path, classes: bool):
    evil = EVIL + "\n---\n```\n# Owned\n| a | b |\n[x](javascript:alert(1)) https://evil.example"
    items = (comparison("m" + evil, 0.1, 0.2, 0.05, 0.15), comparison("rouge1", 0.1, 0.2, 0.0, 0.3))
    folder = make_folder(tmp_path / "run", text=evil, classes=classes, comparisons=items)
    card = render_card(folder)
    assert card == render_card(folder)
    assert not any(ord(char) < 0x20 and char != "\n" for char in card)
    card.encode()
    front, body = split(card)
    assert front["library_name"] == "peft" and "base_model" not in front
    page = Page(html(body))
    tags = [tag for tag, _ in page.elements]
    assert not {"script", "a", "img", "style"} & set(tags)
    assert [tags.count(tag) for tag in ("h1", "h2", "table", "hr")] == [1, 6, 1, 0]
    # Head and two rows; a bar in a name would make more cells.
    assert (tags.count("tr"), tags.count("th") % 7, tags.count("td")) == (3, 0, 14)
    ast.parse(program(card))


@pytest.mark.parametrize("path", FILES)
def test_a_card_needs_no_stage(tmp_path: Path, path: str):
    folder = make_folder(tmp_path / "run")
    remove(folder, path)
    front, body = split(render_card(folder))
    assert front["library_name"] == "peft" and "## Limits" in body


def test_an_empty_folder_claims_nothing(tmp_path: Path):
    front, body = split(render_card(tmp_path))
    assert set(front) == {"library_name", "tags"}
    for says in ("not been judged", "No scores", "no adapter", "data was not", "recipe was not"):
        assert says in body


@pytest.mark.parametrize(
    "text",
    ["a_b*c*", "# no", "- no", "1. no", "2) no", "---", "+ x", "`x` ``y``", "<b>&amp;", "a|b",
     "[x](y)", "![x](y)", "~~x~~", "\\*", "10 = 5", "a\n\nb", "http://x.y"],
)  # fmt: skip
def test_inline_and_code_show_what_came(text: str):
    flat = " ".join(text.split())
    for markdown in (inline(text), code(text)):
        page = Page(html(markdown))
        assert {tag for tag, _ in page.elements} <= {"p", "code"}
        assert page.words == flat


def test_a_fence_is_longer_than_any_inside():
    assert fenced("a\n````\nb", "yaml") == "`````yaml\na\n````\nb\n`````"
