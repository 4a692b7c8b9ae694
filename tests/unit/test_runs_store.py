"""The run folder: made whole or not at all, locked, read only when it can be understood."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loratory.config import from_mapping
from loratory.errors import DataError, RunError
from loratory.progress import Silent
from loratory.records import Comparison, Example, Prediction, Score
from loratory.runs import Run
from loratory.runs.environment import need_loggers
from loratory.runs.stage import stage


def config(folder: Path, **changes):
    base = {"model": "m", "data": "d.csv", "task": "summarization", "output_dir": str(folder)}
    return from_mapping({**base, **changes})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    examples = {"train": [Example("a:1", "text", ("answer",))], "test": []}
    return Run.create(config(tmp_path / "runs"), {"model": {"name": "m"}}, examples)


def test_a_run_is_named_and_opened_again(run: Run) -> None:
    assert re.fullmatch(r"\d{8}-\d{6}-run-[0-9a-f]{8}", run.folder.name)
    again = Run.open(run.folder)
    assert again.config == run.config and again.manifest() == run.manifest()
    assert again.manifest()["run"] == run.folder.name and again.manifest()["status"] == "running"
    assert again.examples("train") == [Example("a:1", "text", ("answer",))]
    assert again.examples("test") == []


def test_equal_configs_have_equal_hashes_and_others_do_not(tmp_path: Path) -> None:
    names = [
        Run.create(config(tmp_path, **changes), {}).folder.name.split("-")[3]
        for changes in ({}, {}, {"seed": 1})
    ]
    assert names[0] == names[1] != names[2]


def test_many_runs_in_one_second_have_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: Run.create(config(tmp_path), {}), range(24)))
    assert len({run.folder for run in runs}) == 24
    assert all(Run.open(run.folder).manifest()["run"] == run.folder.name for run in runs)


def test_a_run_that_cannot_be_filled_is_not_there(tmp_path: Path) -> None:
    def rows():
        yield Example("1", "text")
        raise RunError("the disk is full")

    with pytest.raises(RunError, match="the disk is full"):
        Run.create(config(tmp_path), {}, {"train": rows()})
    assert list(tmp_path.iterdir()) == []


def test_an_output_dir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(RunError, match="file"):
            Run.create(config(folder), {})


def test_facts_are_merged_into_the_manifest(run: Run) -> None:
    run.record(model={"trainable": 3}, seed=4)
    run.record(model={"name": "n"}, extra=None)
    found = run.manifest()
    assert found["model"] == {"name": "n", "trainable": 3}
    assert found["seed"] == 4 and found["extra"] is None and found["schema_version"] == 1


def test_scores_comparison_and_predictions_are_read_back(run: Run) -> None:
    score = Score("rougeL", None, None, None, 3, "rougeL|v:1", reason="no rows \u2028 ␛ \ud800")
    comparison = Comparison("rougeL", 0.1, 0.2, 0.1, 0.05, 0.15, 3, "rougeL|v:1")
    run.write_scores({"base": [score], "tuned": []})
    run.write_comparison([comparison])
    for name in ("tuned", "base", "random", "lead"):
        run.write_predictions(name, [Prediction("a", name)])
    assert run.scores() == {"base": [score], "tuned": []}
    assert run.comparison() == [comparison]
    assert run.systems() == ["base", "tuned", "lead", "random"]
    assert run.predictions("lead") == [Prediction("a", "lead")]


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (lambda run: run.examples("train"), "loratory prepare .*config.yaml"),
        (lambda run: run.predictions("base"), "loratory predict"),
        (lambda run: run.scores(), "loratory score"),
        (lambda run: run.comparison(), "loratory compare"),
        (lambda run: run.need("adapter", "train"), "loratory train"),
    ],
)
def test_a_missing_file_names_the_command_that_makes_it(reader, words, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"yet. Run: {words}"):
        reader(Run.create(config(tmp_path), {}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "damaged, not JSON"),
        ("[" * 100_000, "damaged, not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "run format None"),
        ('{"schema_version": 2, "config": "of the future"}', "Upgrade Loratory"),
    ],
)
def test_a_manifest_that_cannot_be_understood(content: str, words: str, run: Run) -> None:
    (run.folder / "manifest.json").write_text(content)
    # A newer Loratory's recipe is no mistake of this user's.
    (run.folder / "config.yaml").write_text("future: 1\n")
    with pytest.raises(RunError, match=words):
        Run.open(run.folder)


def test_other_damaged_files(run: Run) -> None:
    for name, reader in (("scores.json", run.scores), ("comparison.json", run.comparison)):
        for content in ("{", '{"schema_version": 1}', '{"schema_version": 1, "systems": []}'):
            (run.folder / name).write_text(content)
            with pytest.raises(RunError, match="damaged"):
                reader()
    (run.folder / "scores.json").write_text('{"schema_version": 1, "systems": {"base": 3}}')
    with pytest.raises(RunError, match="damaged"):
        run.scores()
    (run.folder / "data" / "train.jsonl").write_text('{"id": 3}\n')
    with pytest.raises(DataError, match=r"train.jsonl:1: id: expected str, got int"):
        run.examples("train")
    (run.folder / "config.yaml").unlink()
    with pytest.raises(RunError, match=r"no config\.yaml"):
        Run.open(run.folder)


def test_another_process_is_kept_out_until_the_holder_ends(run: Run) -> None:
    code = "import sys\nfrom loratory.runs import Run\n"
    code += f"from pathlib import Path\nrun = Run.open(Path({str(run.folder)!r}))\n"
    code += "with run.locked():\n print('held', flush=True); sys.stdin.readline()\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    words = r"in use by another process\. Wait for it, or stop it\.$"
    with pytest.raises(RunError, match=words), run.locked():
        pass
    holder.kill()  # however it ends
    holder.communicate()
    with run.locked():
        with run.locked():  # a stage inside a run holds what the run holds
            pass
        with pytest.raises(RunError, match="in use"), Run.open(run.folder).locked():
            pass
    with Run.open(run.folder).locked():
        pass


def test_a_stage_tidies_up_what_was_left_half_written(run: Run) -> None:
    folder = run.folder
    for name in ("checkpoint-1", "checkpoint-2", "checkpoint-3"):
        (folder / "checkpoints" / name).mkdir(parents=True)
    for name in ("checkpoint-1", "checkpoint-2"):
        (folder / f"checkpoints/{name}/trainer_state.json").write_text('{"global_step": 1}')
    (folder / "checkpoints/checkpoint-1/seal.json").write_text("{}")
    (folder / ".adapter").mkdir()
    (folder / "data" / ".train.jsonl-0a1b2c3d").write_text("half")
    (folder / "train.jsonl").write_text('{"step": 1}\n{"ste')
    with stage(run, "train", Silent()):
        assert [path.name for path in (folder / "checkpoints").iterdir()] == ["checkpoint-1"]
        assert (folder / "train.jsonl").read_text() == '{"step": 1}\n'
    hidden = [path.name for path in folder.rglob(".*")]
    assert hidden == [".lock"] and len(run.examples("train")) == 1


def test_how_a_stage_ended_is_in_the_manifest(run: Run) -> None:
    for error, status, reason in (
        (RunError("a sentence"), "failed", "a sentence"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
        (KeyboardInterrupt(), "interrupted", "interrupted"),
    ):
        with pytest.raises(type(error)), stage(run, "train", Silent()):
            raise error
        assert run.manifest()["status"] == status
        assert run.manifest()["failed"] == {"stage": "train", "reason": reason}
    with stage(run, "train", Silent()):
        pass
    found = run.manifest()
    assert found["failed"] is None and found["durations"]["train"] >= 0
    json.dumps(found, allow_nan=False)


def test_a_logger_that_is_not_installed() -> None:
    need_loggers(["json"])
    with pytest.raises(Exception, match="pip install no_such_logger"):
        need_loggers(["no_such_logger"])
