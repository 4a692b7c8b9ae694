"""What the base model makes of probes is asked once, and again whenever it might answer otherwise.

One training serves all: only the stage `probe` is run again, in copies of its folder.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from test_repeat import Recorder

import loratory
from loratory import cache
from loratory.runs import Run

NOTE = "Base judgements taken from the cache: "
PROBES = {"text", "choices", "pairs"}


@pytest.fixture
def run(finished, workshop: Path, monkeypatch) -> Run:
    """A complete run, and a cache in which nothing is yet."""
    done = Run.open(finished())
    monkeypatch.setenv("LORATORY_CACHE", str(workshop / "cache"))
    return done


def probed(run: Run, recipe: dict | None = None) -> tuple[set[str], set[str]]:
    """Ask again; return what the base model was asked, and what was taken from the cache."""
    for section, values in (recipe or {}).items():
        content = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))
        content[section] |= values
        (run.folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    heard = Recorder()
    loratory.probe(Run.open(run.folder), heard)
    asked = {task.removesuffix(", base") for task in heard.work if task.endswith(", base")}
    notes = [note.removeprefix(NOTE) for note in heard.notes if note.startswith(NOTE)]
    assert len(notes) <= 1
    return asked, {name for note in notes for name in note.split(", ")}


def write_items(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def findings(run: Run) -> dict[str, bytes]:
    loratory.compare(run)
    return {path.name: path.read_bytes() for path in (run.folder / "findings").iterdir()}


def judgements(run: Run) -> dict[Path, bytes]:
    folder = run.folder / "probes"
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.jsonl")}


def test_the_base_model_is_asked_once_and_the_findings_are_equal(run: Run) -> None:
    assert probed(run) == (PROBES, set())
    first, found = judgements(run), findings(run)
    assert probed(run) == (set(), PROBES)
    assert judgements(run) == first and len(first) == 2 * 4
    assert findings(run) == found and {"forgetting.json", "bias.json"} <= set(found)


@pytest.mark.parametrize(
    ("recipe", "kept"),
    [
        ({"forgetting": {"max_tokens": 16}}, set()),
        ({"decode": {"batch_size": 3}}, set()),
        ({"forgetting": {"rows": 3}}, {"pairs"}),
        ({"bias": {"rows": 3}}, {"text", "choices"}),
        # Probes are not decoded, and know neither labels nor the training.
        ({"decode": {"max_new_tokens": 3}}, PROBES),
        ({"evaluate": {"relevant": 0.1}}, PROBES),
    ],
)
def test_what_might_change_an_answer_is_asked_again(run: Run, recipe, kept) -> None:
    probed(run)
    assert probed(run, recipe) == (PROBES - kept, kept)


def test_another_item_is_asked_again(run: Run, workshop: Path) -> None:
    rows = [{"id": str(i), "text": f"the cat sat on mat {i}. a dog ran away."} for i in range(4)]
    write_items(workshop / "own.jsonl", rows)
    recipe = {"forgetting": {"probes": ["own.jsonl"]}, "bias": {"probes": []}}
    assert probed(run, recipe) == ({"own"}, set())
    before = run.judgements("base", "own")
    assert probed(run) == (set(), {"own"})
    rows[2]["text"] += " again."
    write_items(workshop / "own.jsonl", rows)
    assert probed(run) == ({"own"}, set())
    after = run.judgements("base", "own")
    assert [row.id for row in after] == [row.id for row in before]
    assert after[2].loglikelihoods != before[2].loglikelihoods


def test_another_base_model_is_asked_again(run: Run) -> None:
    probed(run)
    folder = Path(run.config.model.name)
    settings = folder / "generation_config.json"
    before = settings.read_bytes()
    try:
        settings.write_text(json.dumps({**json.loads(before), "top_k": 7}), encoding="utf-8")
        assert probed(run) == (PROBES, set())
    finally:
        settings.write_bytes(before)
    assert probed(run) == (set(), PROBES)


def test_swapped_rows_are_answered_once(run: Run) -> None:
    rows = [
        dataclasses.replace(row, source=f"he has a dog {i}")
        for i, row in enumerate(run.examples("test"))
    ]
    run.write_examples("test", rows)
    assert probed(run) == ({*PROBES, "swapped rows"}, set())
    first = judgements(run)
    assert run.swapped("base")
    assert probed(run) == (set(), {*PROBES, "swapped rows"})
    assert judgements(run) == first
    assert probed(run, {"decode": {"max_new_tokens": 3}}) == ({"swapped rows"}, PROBES)
    rows[0] = dataclasses.replace(rows[0], source="he has a cat")
    run.write_examples("test", rows)
    assert probed(run) == ({"swapped rows"}, PROBES)


def test_a_damaged_file_is_made_again(run: Run) -> None:
    probed(run)
    first = judgements(run)
    kept = sorted(Path(os.environ["LORATORY_CACHE"], "judgements").iterdir())
    assert len(kept) == len(PROBES)
    for path, damage in zip(kept, (b"", first_line(kept[1]), b"\xff\xfe"), strict=True):
        path.write_bytes(damage)
    assert probed(run) == (PROBES, set())
    assert judgements(run) == first
    assert probed(run) == (set(), PROBES)


def first_line(path: Path) -> bytes:
    whole = path.read_bytes()
    return whole[: whole.index(b"\n") + 1]


def test_other_code_asks_again(run: Run, workshop: Path, monkeypatch) -> None:
    # Base and tuned would otherwise be asked by different code, and their differences be its.
    probed(run)
    package = workshop / "changed"
    shutil.copytree(Path(cache.PACKAGE), package)
    (package / "tuning/greedy.py").write_text(
        "# slower, and rounding otherwise\n", encoding="utf-8"
    )
    monkeypatch.setattr(cache, "PACKAGE", package)
    cache.code.cache_clear()
    try:
        assert probed(run) == (PROBES, set())
    finally:
        cache.code.cache_clear()
