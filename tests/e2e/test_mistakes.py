"""What a user can get wrong: one clear sentence, status 2, and nothing left behind."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import loratory
from loratory.runs import Run

Arrange = Callable[..., dict]


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def many(row: dict, number: int = 40) -> list[dict]:
    """Return rows of different text, as a real set has them."""
    return [{key: f"{value} {i}" for key, value in row.items()} for i in range(number)]


GOOD = many({"document": "a cat sat on the mat", "summary": "cat"})
LABELLED = [{"text": f"good film {i}", "label": ("neg", "pos")[i % 2]} for i in range(40)]

# (task, the data file's content, words that the sentence must hold)
DATA: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "missing column": (
        "summarization",
        lines(*many({"document": "a", "sumary": "b"})),
        ("no column 'summary'", "Did you mean 'sumary'?", "data.columns.summary=sumary"),
    ),
    "empty file": ("summarization", b"", ("rows.jsonl: the file is empty",)),
    "blank text": (
        "summarization",
        lines(*GOOD, {"document": " \t\u200b", "summary": "b"}),
        ("rows.jsonl:41: document is blank",),
    ),
    "no text": (
        "summarization",
        lines(*GOOD, {"document": 3, "summary": "b"}),
        ("rows.jsonl:41: document must be text, got int",),
    ),
    "label outside the set": (
        "classification",
        lines(*LABELLED, {"text": "fair film", "label": "fair"}),
        ("rows.jsonl:41: unknown label 'fair'", "Allowed: neg, pos"),
    ),
    "label missing": (
        "classification",
        lines(*LABELLED, {"text": "fair film"}),
        ("rows.jsonl:41: label is missing", "Allowed: neg, pos"),
    ),
    "one class": (
        "classification",
        lines(*[{"text": f"film {i}", "label": "pos"} for i in range(40)]),
        ("fewer than two classes",),
    ),
    "not UTF-8": (
        "summarization",
        lines(*GOOD) + '{"document": "é", "summary": "b"}\n'.encode("latin-1"),
        ("rows.jsonl:41: not UTF-8", "0xE9", "Save it as UTF-8"),
    ),
    "a row of 10 MB": (
        "summarization",
        lines(*GOOD, {"document": "x" * 10_000_001, "summary": "b"}),
        ("rows.jsonl:41: the row is over the limit of 10,000,000 bytes",),
    ),
    "not JSON": ("summarization", lines(*GOOD) + b"{oops\n", ("rows.jsonl:41: not JSON",)),
    "lone surrogate": (
        "summarization",
        lines(*GOOD, {"document": "a\ud800", "summary": "b"}),
        ("rows.jsonl:41", "U+D800"),
    ),
}

# (changes to the recipe, words)
RECIPES: dict[str, tuple[dict, tuple[str, ...]]] = {
    "no such model": ({"model": {"name": "./nowhere"}}, ("model.name", "nowhere")),
    "model needs a network": (
        {"model": {"name": "no-such/model-here"}},
        ("no-such/model-here", "cannot be reached", "embedded:smollm2-135m"),
    ),
    "no embedded model": ({"model": {"name": "embedded:smolm2-135m"}}, ("Did you mean 'smollm2",)),
    "no such file": ({"data": {"name": "sun.jsonl"}}, ("no such file", "Did you mean 'sum.jsonl'")),
    "data needs a network": (
        {"data": {"name": "no-such/data-here"}},
        ("no-such/data-here", "cannot reach the Hub", "embedded:"),
    ),
    "wrong kind of file": ({"data": {"name": "sum.xlsx"}}, ("sum.xlsx",)),
    "a folder as data": ({"data": {"name": "./"}}, ("a folder",)),
    "more test rows than rows": ({"data": {"test_size": 500}}, ("500",)),
    "wrong target modules": (
        {"method": {"target_modules": ["q_prj"]}},
        ("method.target_modules: q_prj", "Available", "q_proj"),
    ),
    "no such texts to replay": (
        {"remedy": {"replay_data": "nowhere.jsonl"}},
        ("remedy.replay_data", "nowhere.jsonl"),
    ),
    "probes as texts to replay": (
        {"remedy": {"replay_share": 0.5, "replay_data": "embedded:text"}},
        ("remedy.replay_data: unknown 'embedded:text'", "embedded:replay"),
    ),
    "a prompt beyond the model": ({"data": {"max_prompt_tokens": 100_000}}, ("max_prompt_tokens",)),
    "unwritable output_dir": ({"output_dir": "sum.jsonl/runs"}, ("cannot be written",)),
    "a logger that is not there": ({"train": {"report_to": ["trackio"]}}, ("pip install trackio",)),
    "out of range": ({"method": {"r": 0}}, ("method.r: got 0",)),
}


def check_answer(answer, words: tuple[str, ...]) -> None:
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    (sentence,) = answer.sentences
    assert answer.err.splitlines()[-1] == sentence, "something follows the sentence"
    for word in words:
        assert word in sentence
    assert list(Path().glob("**/runs/*")) == []


@pytest.mark.parametrize("case", DATA)
def test_bad_data(case, cli, recipe, workshop) -> None:
    task, content, words = DATA[case]
    (workshop / "rows.jsonl").write_bytes(content)
    labels = {"labels": ["neg", "pos"]} if task == "classification" else {}
    path = recipe(task, data={"name": "rows.jsonl"}, task={"name": task, **labels})
    check_answer(cli("run", path), words)


@pytest.mark.parametrize("case", RECIPES)
def test_bad_recipe(case, cli, recipe, workshop) -> None:
    (workshop / "sum.xlsx").write_bytes(b"PK")
    changes, words = RECIPES[case]
    check_answer(cli("run", recipe(**changes)), words)


def test_weights_that_are_damaged_or_pickled(cli, recipe, tiny_models, workshop) -> None:
    broken = shutil.copytree(tiny_models("llama"), workshop / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    answer = cli("run", recipe(model={"name": str(broken)}))
    assert answer.code == 2 and len(answer.sentences) == 1, answer.err
    weights.rename(broken / "pytorch_model.bin")
    answer = cli("check", recipe(model={"name": str(broken)}))
    assert answer.code == 2 and "can run code when opened" in answer.sentences[0]


def test_five_mistakes_are_five_sentences(cli, workshop) -> None:
    (workshop / "five.yaml").write_text(
        "model: {name: m, dtype: float23}\n"
        "data: {name: d.csv, max_prompt_tokens: many}\n"
        "task: sumarization\n"
        "method: {name: lora, rank: 8}\n"
        "trian: {learning_rate: 1}\n",
        encoding="utf-8",
    )
    answer = cli("run", "five.yaml")
    assert answer.code == 2 and len(answer.sentences) == 5
    shown = dict(line.removeprefix("loratory: ").split(": ", 1) for line in answer.sentences)
    assert "Did you mean 'float32'? Available: auto, bfloat16, float32." in shown["model.dtype"]
    assert "got 'many'; it must be a valid integer" in shown["data.max_prompt_tokens"]
    assert "Did you mean 'summarization'?" in shown["task.name"]
    assert "Available: bias, " in shown["method.rank"]
    assert "Did you mean 'train'?" in shown["trian"]

    as_json = cli("run", "five.yaml", "--json")
    assert as_json.code == 2 and as_json.err == ""
    error = json.loads(as_json.out)["error"]
    assert error["type"] == "ConfigError" and len(error["problems"]) == 5


def test_recipes_that_are_not(cli, workshop) -> None:
    (workshop / "list.yaml").write_text("- a\n")
    (workshop / "bad.yaml").write_text("model: x\ndata: [\n")
    (workshop / "latin.yaml").write_bytes("name: é\n".encode("latin-1"))
    (workshop / "empty.yaml").write_text("")
    for name, words in {
        "absent.yaml": "no such recipe",
        ".": "a folder",
        "list.yaml": "a recipe is a mapping",
        "bad.yaml": "bad.yaml, line 3: not valid YAML",
        "latin.yaml": "not UTF-8",
        "empty.yaml": "a recipe is a mapping",
    }.items():
        check_answer(cli("run", name), (words,))


def test_run_folders_that_are_not(cli, recipe, workshop) -> None:
    for command in ("train", "predict", "score", "compare", "report"):
        answer = cli(command, "nowhere")
        assert answer.code == 2 and len(answer.sentences) == 1
        answer = cli(command, ".")
        assert answer.code == 2 and "not a run folder" in answer.sentences[0]
    run = json.loads(cli("prepare", recipe(), "--json").out)["run"]
    for command, first in {"predict": "train", "score": "predict", "compare": "predict"}.items():
        answer = cli(command, run)
        assert answer.code == 2
        assert f"Run: loratory {first} {run}" in answer.sentences[0]
    shutil.rmtree(Path(run) / "data")
    answer = cli("train", run)
    assert f"Run: loratory prepare {run}/config.yaml" in answer.sentences[0]
    answer = cli("score", run, "--metric", "rouge")
    assert answer.code == 2 and "--metric" in answer.sentences[0]


def test_a_run_folder_in_use(cli, finished) -> None:
    run = finished()
    with (run / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for command in ("train", "score", "report"):
            answer = cli(command, run)
            assert answer.code == 2 and len(answer.sentences) == 1
            assert "in use by another process" in answer.sentences[0]
    assert cli("train", run).code == 0


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter(file, cli, finished) -> None:
    run = finished()
    shutil.rmtree(run / "predictions")
    path = run / "adapter" / file
    path.write_bytes(path.read_bytes()[:40])
    answer = cli("predict", run)
    assert answer.code == 2 and len(answer.sentences) == 1 and "adapter" in answer.sentences[0]
    failed = json.loads((run / "manifest.json").read_text())["failed"]
    assert failed["stage"] == "predict" and "adapter" in failed["reason"]
    assert not (run / "predictions").exists()


def test_an_adapter_of_another_model(cli, finished) -> None:
    other, run = finished("classification"), finished()
    shutil.rmtree(run / "adapter")
    shutil.copytree(other / "adapter", run / "adapter")
    answer = cli("predict", run)
    assert answer.code == 2 and len(answer.sentences) == 1 and "adapter" in answer.sentences[0]


def test_an_error_of_ours_is_recorded_and_not_hidden(recipe, monkeypatch) -> None:
    run = loratory.prepare(recipe())

    def broken(*args, **kwargs):
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patch:
        patch.setattr("loratory.tuning.train.train", broken)
        with pytest.raises(ZeroDivisionError):
            loratory.train(run)
    assert run.manifest()["status"] == "failed"
    assert run.manifest()["failed"] == {"stage": "train", "reason": "ours"}
    loratory.train(Run.open(run.folder))
    assert run.manifest()["status"] == "running" and run.manifest()["failed"] is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (RuntimeError("[enforce fail] . PytorchStreamWriter failed writing"), "the disk is full"),
        (RuntimeError("unexpected pos 64 vs 0"), "the disk is full"),
        (Exception("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written"),
        (RuntimeError("CUDA out of memory. Tried"), "per_device_train_batch_size"),
        (MemoryError(), "per_device_train_batch_size"),
    ],
)
def test_a_machine_that_gives_out_is_one_sentence(error, words, cli, finished, monkeypatch) -> None:
    def fails(*args, **kwargs):
        raise error

    run = finished()
    monkeypatch.setattr("loratory.tuning.train.train", fails)
    answer = cli("train", run)
    assert answer.code == 2 and len(answer.sentences) == 1, answer.err
    assert words in answer.sentences[0]
