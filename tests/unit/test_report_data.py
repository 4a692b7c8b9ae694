"""Reading run folders, whole, partial and damaged. `make_folder` serves all report tests."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from loratory.codec import to_dict
from loratory.errors import RunError
from loratory.records import Comparison, Example, Place, Prediction, Score
from loratory.report.data import CONSEQUENCES, load

N = 30
FILES = sorted(CONSEQUENCES)


def lines(records: list[Any]) -> str:
    # ASCII, so that even a lone surrogate can be put on disk.
    return "".join(json.dumps(to_dict(record)) + "\n" for record in records)


def comparison(metric: str, base: float, tuned: float, low: float, high: float, **more: Any):
    return Comparison(metric, base, tuned, tuned - base, low, high, N, f"{metric}|v:1", **more)


def place(goal: str, share: float | None, low: float | None, high: float | None, **more: Any):
    """Where the tuned system of `ROUGE` stands."""
    return Place(
        "rougeLsum", "tuned", "random_summary", goal, 0.24, 0.1, 0.3, share, low, high, N, 0,
        "rougeLsum|v:1", **more
    )  # fmt: skip


ROUGE = (
    comparison("rouge1", 0.201, 0.312, 0.08, 0.14),
    comparison("rougeLsum", 0.142, 0.24, 0.071, 0.126),
)
WORDS = Comparison("words", 24.3, 11.2, -13.1, -15.0, -11.0, N, "words|v:1", descriptive=True)
CLASSES = (
    comparison("macro_f1", 0.53, 0.77, 0.1, 0.36),
    comparison("accuracy", 0.55, 0.775, 0.1, 0.35),
    comparison("ece", 0.19, 0.12, -0.1, -0.01, lower_is_better=True),
)


def make_folder(
    folder: Path,
    *,
    text: str = "plain",
    classes: bool = False,
    comparisons: tuple[Comparison, ...] | None = None,
    places: tuple[Place, ...] = (),
) -> Path:
    """Write a whole run folder; `text` stands wherever a stranger's text can stand."""
    for part in ("adapter", "data", "predictions/base", "predictions/tuned", "predictions/lead"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    task = "classification" if classes else "summarization"
    labels = [f"bad {text}", f"good {text}"]
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    config = {
        "name": "docstrings",
        "seed": 0,
        "model": {"name": f"model {text}", "revision": None},
        "task": {"name": task, "instruction": text},
        "method": {"name": "lora", "r": 8, "target_modules": ["q", text]},
        "train": {"learning_rate": 5e-4, "bf16": True, "note": text},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    manifest: dict[str, Any] = {
        "schema_version": 1,
        "status": "complete",
        "run": f"20260509-docstrings-{text}",
        "created": "2026-05-09T07:35:25+00:00",
        "loratory": "0.1.0",
        "seed": 3,
        "versions": {"torch": "2.8.0", text: text},
        "hardware": {"cpu": text, "cores": 2, "memory_bytes": 8 * 2**30, "accelerator": None},
        "model": {
            "name": f"model {text}",
            "family": "classifier" if classes else "causal",
            "dtype": "bfloat16",
            "parameters": 134515008,
            "trainable": 2442240,
            "trainable_percent": 1.8156,
            "fingerprint": text,
            "expected_memory_bytes": 1.2e9,
            "expected_memory": {"weights": 3e8, "activations": 9e8, "loading": 4e8},
            "peak_memory_bytes": 1.5e9,
        },
        "data": {
            "name": f"data {text}",
            "fingerprint": {"train": "e01b", "test": text},
            "rows": {"train": 1360, "validation": 40, "test": N},
            "dropped": {text: 3, "empty": 0},
            "cut": {
                "train": {
                    "rows": 1360,
                    "source_rows": 12,
                    "source_tokens": 2345,
                    "answer_rows": 3,
                    "answer_tokens": 4,
                },
                "test": {
                    "rows": N,
                    "source_rows": 0,
                    "source_tokens": 0,
                    "answer_rows": 0,
                    "answer_tokens": 0,
                },
            },
        },
        "proof": {
            "passed": True,
            "problems": [],
            "rows": 4,
            "reload": {"same_bits": True, "largest_difference": 0.0, "bound": 3.8},
            "merge": {
                "largest_difference": 5.054e-05,
                "bound": 0.03793,
                "mean_difference": 8e-06,
                "mean_effect_of_adapter": 1.94,
                "changed_tensors": 210,
                "texts": 2,
                "same_texts": 2,
                "ties": 0,
            },
            "heads": [f"score {text}"] if classes else [],
            "frozen_tensors": 1272,
            "vocabulary": {"embedding_rows": 49152, "added_tokens": {"<|end|>": 2, text: 3}},
            "seconds": 15.1,
        },
        "training": {
            "steps": 45,
            "best_step": 20,
            "best_eval_loss": 2.1,
            "stopped_early": False,
            "examples_per_second": 1.92,
        },
        "durations": {"prepare": 1.23, "train": 181.0, text: 7200},
    }
    if classes:
        manifest["labels"] = labels
    (folder / "manifest.json").write_text(json.dumps(manifest))
    log: list[dict[str, Any]] = [{"step": s, "loss": 3 - s / 20} for s in range(1, 31)]
    log += [{"step": 10, "eval_loss": 2.5}, {"step": 20, "eval_loss": 2.1}]
    log += [{"step": 30, "eval_loss": 2.2}, {"step": 31, "loss": math.nan}]
    (folder / "train.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))

    def answer(i: int, system: str) -> Prediction:
        name = f"test:{i} {text}"
        if classes:
            right = {"base": i % 3 == 0, "tuned": i % 5 != 0, "lead": False}[system]
            label, share = i % 2, 0.5 + (i + 1) / 100
            guess = label if right else 1 - label
            odds = (share, 1 - share) if guess == 0 else (1 - share, share)
            return Prediction(name, labels[guess], (), "", label, guess, odds)
        words = f"the summary number {i} of the text".split()
        kept = {"base": i % 4, "tuned": 3 + i % 5, "lead": 0}[system]
        said = " ".join(words[:kept]) + (f" {text}" if kept else "")
        return Prediction(name, said, (" ".join(words),), text, finished=i % 6 != 0)

    examples = [
        Example(f"test:{i} {text}", f"source {i} {text}", (), i % 2 if classes else None)
        for i in range(N)
    ]
    (folder / "data" / "test.jsonl").write_text(lines(examples))
    for system in ("base", "tuned", "lead"):
        answers = [answer(i, system) for i in range(N)]
        (folder / "predictions" / system / f"{task}.jsonl").write_text(lines(answers))
    if comparisons is None:
        comparisons = CLASSES if classes else (*ROUGE, WORDS)
    systems = {}
    for system, shift in {"base": 0.0, "tuned": 0.1, "lead " + text: 0.05}.items():
        systems[system] = [
            to_dict(
                Score(c.metric, (c.base or 0) + shift, (c.base or 0) + shift - 0.02, 0.4, N,
                      f"{c.signature} {text}", lower_is_better=c.lower_is_better)
            )
            for c in comparisons
        ]  # fmt: skip
    scores: dict[str, Any] = {"schema_version": 1, "systems": systems}
    if places:
        scores["places"] = [to_dict(item) for item in places]
    (folder / "scores.json").write_text(json.dumps(scores))
    compared = {"schema_version": 1, "comparisons": [to_dict(c) for c in comparisons]}
    (folder / "comparison.json").write_text(json.dumps(compared))
    return folder


def remove(folder: Path, path: str) -> None:
    place = folder / path
    shutil.rmtree(place) if place.is_dir() else place.unlink()


def test_a_whole_folder_lacks_nothing(tmp_path: Path):
    data = load(make_folder(tmp_path / "run"))
    assert data.missing == ()
    assert (data.name, data.task, data.labels) == ("docstrings", "summarization", ())
    assert len(data.answers("base")) == len(data.answers("tuned")) == N
    assert data.log.validation == ((10, 2.5), (20, 2.1), (30, 2.2))
    assert data.log.not_finite == (31,)
    assert len(data.log.train) == 30


def test_places_are_read_and_not_missed_in_an_older_run(tmp_path: Path):
    places = (place("human", 0.7, 0.6, 0.8), place("lead", None, None, None, reason="no"))
    assert load(make_folder(tmp_path / "run", places=places)).places == places
    older = load(make_folder(tmp_path / "older"))
    assert older.places == () and older.missing == ()


@pytest.mark.parametrize("path", FILES)
def test_each_missing_part_is_named(tmp_path: Path, path: str):
    folder = make_folder(tmp_path / "run")
    remove(folder, path)
    (item,) = load(folder).missing
    assert (item.path, item.why, item.consequence) == (path, "missing", CONSEQUENCES[path])


def test_an_empty_folder_lacks_everything(tmp_path: Path):
    assert [item.path for item in load(tmp_path).missing] == list(CONSEQUENCES)
    assert load(tmp_path).name == tmp_path.name


def test_no_folder_is_an_error(tmp_path: Path):
    with pytest.raises(RunError, match="no such run folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("manifest.json", "{", "Expecting"),
        ("manifest.json", "[]", "expected a mapping, got list"),
        ("manifest.json", '{"schema_version": 2}', "version 2, this Loratory reads 1"),
        ("config.yaml", "a: [", "while parsing"),
        ("config.yaml", "", "expected a mapping, got NoneType"),
        ("scores.json", '{"systems": {"base": [{"metric": "a"}]}}', "needs the field 'value'"),
        ("scores.json", '{"systems": {"base": 3}}', "base: expected a list, got int"),
        ("scores.json", "{}", "expected a mapping, got NoneType"),
        ("scores.json", '{"systems": {}, "places": 3}', "places: expected a list, got int"),
        ("comparison.json", "{}", "comparisons: expected a list, got NoneType"),
        ("data/test.jsonl", '{"id": 1}\n', "data/test.jsonl:1: id: expected str, got int."),
        ("predictions/base/summarization.jsonl", "?\n", "not JSON"),
        ("train.jsonl", '?\n{"step": 1, "loss": 2.0}\n', "line 1: not a JSON object"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(tmp_path: Path, path: str, text: str, says: str):
    folder = make_folder(tmp_path / "run")
    (folder / path).write_text(text)
    data = load(folder)
    found = data.lacks(path)
    assert found is not None and says in found.why
    assert str(tmp_path) not in found.why


def test_a_torn_last_line_of_the_log_is_no_fault(tmp_path: Path):
    folder = make_folder(tmp_path / "run")
    (folder / "train.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    data = load(folder)
    assert data.log.train == ((1, 2.0),) and data.missing == ()


def test_unreadable_answers_of_a_system_are_told_twice(tmp_path: Path):
    folder = make_folder(tmp_path / "run")
    (folder / "predictions/tuned/summarization.jsonl").write_text("?")
    assert [item.path for item in load(folder).missing] == [
        "predictions/tuned",
        "predictions/tuned/summarization.jsonl",
    ]


def test_a_run_without_a_name_of_its_own_is_called_by_its_folder(tmp_path: Path):
    folder = make_folder(tmp_path / "run")
    (folder / "config.yaml").write_text("name: run\n")
    assert load(folder).name == "20260509-docstrings-plain"
