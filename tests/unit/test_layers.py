"""torch, transformers and peft stay where they belong, and out of what must start fast."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import loratory

PACKAGE = Path(loratory.__file__).parent
HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets", "safetensors"}


def imported_at_the_top(file: Path) -> set[str]:
    """Return the packages that importing a module imports: all but those inside functions."""
    found = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in child.names)
            if isinstance(child, ast.ImportFrom) and not child.level:
                found.add((child.module or "").partition(".")[0])
            visit(child)

    visit(ast.parse(file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("file", sorted((PACKAGE / "methods").glob("*.py")), ids=lambda f: f.stem)
def test_methods_import_torch_and_peft_inside_functions_only(file):
    assert not imported_at_the_top(file) & HEAVY


def test_outside_of_tuning_nothing_heavy_is_imported_at_the_top():
    for file in PACKAGE.rglob("*.py"):
        if "tuning" not in file.relative_to(PACKAGE).parts:
            assert not imported_at_the_top(file) & HEAVY, file


def test_the_check_would_find_one(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "class A:\n    import torch.nn\ntry:\n    from peft import x\nfinally:\n    pass\n"
    )
    assert imported_at_the_top(file) == {"torch", "peft"}


@pytest.mark.parametrize(
    "statement",
    [
        "import loratory",
        "import loratory.config",
        "import loratory.cli.program",
        "import loratory.tuning.embedded",
        "from loratory.methods.base import METHODS; [METHODS.get(n)() for n in METHODS.names()]",
    ],
)
def test_what_must_start_fast_loads_nothing_heavy(statement):
    script = f"import sys; {statement}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == []
