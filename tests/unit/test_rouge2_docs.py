"""What the page on ROUGE 2.0 and length control shows is what it prints."""

import contextlib
import io
import re
from itertools import pairwise
from pathlib import Path

import pytest

from loratory.config import from_mapping, read_yaml
from loratory.metrics.rouge.length_control import RougeLengthControlled
from loratory.metrics.rouge.rouge2 import Rouge2, rouge2
from loratory.metrics.rouge.rouge2.synonyms import SYNONYMS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rouge-beyond.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
SHOWN = [
    (code, printed)
    for (kind, code), (below, printed) in pairwise(BLOCKS)
    if (kind, below) == ("python", "text") and "print(" in code
]


@pytest.mark.parametrize(("code", "printed"), SHOWN, ids=["rouge2", "length_control"])
def test_code_prints_what_is_shown(code: str, printed: str) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    assert out.getvalue() == printed


def test_the_source_shown_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name: SYNONYMS.get(name) for name in SYNONYMS.names()}
    monkeypatch.setattr(SYNONYMS, "_classes", known)
    (code,) = (code for kind, code in BLOCKS if kind == "python" and "@synonym_source" in code)
    exec(code, {"__name__": "shown"})
    found = rouge2(["renal", "renal"], ["kidney", "heart"], ["rouge1+Synonyms"], synonyms="medical")
    assert found["rouge1+Synonyms"].f.tolist() == [1, 0]


def test_recipes_shown_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synonyms.txt").write_text("car, automobile\n", encoding="utf-8")
    recipe = {"model": "gpt2", "data": "a.csv", "task": "summarization"}
    found = [
        from_mapping({**recipe, **read_yaml(block, PAGE.name)}).metrics[1]
        for kind, block in BLOCKS
        if kind == "yaml"
    ]
    types = ("rouge1+Synonyms", "rougeTopic", "rougeTopic+Synonyms")
    assert found == [Rouge2(types=types, synonyms="synonyms.txt"), RougeLengthControlled()]
