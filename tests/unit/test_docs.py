"""The pages: generated parts are fresh, links lead somewhere, and what they show works."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from loratory.cli.app import app
from loratory.config import from_mapping, read_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("design/*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
    ]
)
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


@pytest.fixture(params=PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text(path), re.DOTALL | re.MULTILINE)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    return re.sub(r"^```.*?^```$", "", text(path), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The names that headings get, as on GitHub."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_generated_parts_are_fresh(generate: ModuleType) -> None:
    for name in generate.PAGES:
        page = text(ROOT / "docs" / name)
        assert "<!-- generated: " in page
        assert generate.render(page) == page, f"docs/{name} is old: run python docs/generate.py"


def test_help_that_is_kept_is_what_the_commands_say(generate: ModuleType) -> None:
    made = generate.helps()
    kept = {path.stem: text(path) for path in Path(generate.HELP).iterdir()}
    assert sorted(kept) == sorted(["loratory", *COMMANDS])
    assert kept == made, "kept help is old: run python docs/generate.py"


def test_generated_pages_name_every_field_and_command(generate: ModuleType) -> None:
    from loratory.config.schema import SECTIONS, Scalars

    recipe, cli = generate.render(text(ROOT / "docs/recipe.md")), text(ROOT / "docs/cli.md")
    for fields in (Scalars.model_fields, *(s.model_fields for s in SECTIONS.values())):
        for name, info in fields.items():
            assert f"| `{name}` |" in recipe and " ".join(info.description.split()) in recipe
    for name in COMMANDS:
        assert f"## loratory {name}\n\n```text\nUsage: loratory {name} " in cli


def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        goal = (page.parent / file).resolve() if file else page
        assert goal.exists() and goal.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(goal), target


def test_included_results_are_those_that_were_measured() -> None:
    included = re.findall(
        r"<!-- included: (.+?) -->\n(.*?)<!-- /included -->",
        text(ROOT / "docs/rouge.md"),
        re.DOTALL,
    )
    assert included
    for name, part in included:
        assert part in text(ROOT / "benchmarks/results" / name), name


def test_commands_of_the_rouge_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "predictions.txt").write_text("the cats sat\na dog ran\n", encoding="utf-8")
    (tmp_path / "references.txt").write_text("a cat sat\nthe dog ran\n", encoding="utf-8")
    commands = [
        line for block in blocks(ROOT / "docs/rouge.md", "sh") for line in block.split("\n")
    ]
    results = [CliRunner().invoke(app, shlex.split(line)[1:]) for line in commands if line]
    assert len(results) == 5
    assert all(result.exit_code == 0 and "n=2" in result.output for result in results), results


def test_every_page_is_in_the_index() -> None:
    index = text(ROOT / "docs" / "index.md")
    for path in ROOT.glob("docs/*.md"):
        assert path.name == "index.md" or f"]({path.name})" in index, path.name


def shown_commands(path: Path) -> list[str]:
    inline = re.findall(r"`(loratory [^`]*)`", prose(path))
    lines = [line for block in blocks(path, "sh") for line in block.splitlines()]
    return inline + [line for line in lines if line.startswith("loratory ")]


def test_shown_commands_parse(page: Path) -> None:
    for line in shown_commands(page):
        _, name, *words = shlex.split(line, comments=True)
        if name in ("--help", "--version"):
            continue
        assert name in COMMANDS, line
        if words:  # else the text only names the command
            COMMANDS[name].make_context(name, words)


def test_readme_and_cli_page_show_commands() -> None:
    assert len(shown_commands(ROOT / "README.md")) > len(COMMANDS)


def test_readme_lists_every_command() -> None:
    for name in COMMANDS:
        assert f"| `loratory {name}" in text(ROOT / "README.md")


def test_shown_recipes_load(page: Path) -> None:
    for block in blocks(page, "yaml"):
        data = read_yaml(block, page.name)
        if {"model", "task"} <= set(data):
            from_mapping(data)


def test_shown_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


def test_components_shown_work(tmp_path: Path) -> None:
    """In a process of its own, so that nothing stays registered here."""
    names = []
    for path in (ROOT / "docs" / "extending.md", ROOT / "README.md"):
        for block in blocks(path, "python"):
            if "@dataclass" in block:
                names.append(f"shown_{len(names)}")
                (tmp_path / f"{names[-1]}.py").write_text(block, encoding="utf-8")
    assert len(names) == 5
    *first, readme = names
    script = CHECK.replace("SHOWN", ", ".join(first)).replace("README", readme)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["0.75", "0.75", "lora-bias", "headline", "3"]


CHECK = """
import sys
sys.path.insert(0, ".")
import SHOWN
from loratory.config import from_mapping
from loratory.evaluation import score
from loratory.metrics.base import METRICS
from loratory.records import Prediction
from loratory.tasks.embedded.base import DATASETS

rows = [Prediction(str(i), t, ("a b", "c")) for i, t in enumerate(["A b", "c", "d", "a  b"])]
print(score(rows, [METRICS.get("exact")()])[0].value)
del METRICS._classes["exact"]
import README
print(score(rows, [METRICS.get("exact")()])[0].value)
config = from_mapping(
    {"model": "gpt2", "data": "a.csv", "task": "headline", "method": {"name": "lora-bias", "r": 2}}
)
print(config.method.name, config.task.name)
print(len(DATASETS.get("capitals")().rows()))
"""
