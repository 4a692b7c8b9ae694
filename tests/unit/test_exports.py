"""What `import loratory` offers."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys

import pytest

import loratory
from crossed import few


def test_the_list_is_sorted_and_every_name_is_there() -> None:
    assert loratory.__all__ == sorted(loratory.__all__)
    for name in loratory.__all__:
        value = getattr(loratory, name)
        assert value.__module__.startswith("loratory.") and value.__doc__
    assert set(loratory.__all__) <= set(dir(loratory))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = loratory.nonsense


def test_no_function_is_named_like_a_subpackage() -> None:
    """Importing `loratory.report.html` would put the package in a function's place."""
    packages = {module.name for module in pkgutil.iter_modules(loratory.__path__)}
    assert not packages & set(loratory.__all__)


def natural(name: str) -> list[tuple[str, int]]:
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name)]


def test_every_module_says_what_it_offers() -> None:
    for module in pkgutil.walk_packages(loratory.__path__, "loratory."):
        if module.name.startswith("loratory.tuning."):
            continue  # they load torch; their tests import them
        loaded = importlib.import_module(module.name)
        names = getattr(loaded, "__all__", [])
        # Constants, then classes, then functions, numbers by their size, as ruff sorts them.
        order = sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), natural(n)))
        assert names == order, module.name
        assert all(hasattr(loaded, name) for name in names), module.name


FIRST = ["loratory.report.html", "loratory.runs", "loratory.pipeline"]


@pytest.mark.parametrize("first", few(FIRST, FIRST[:1]))
def test_the_order_of_imports_changes_nothing(first: str) -> None:
    code = f"import {first}, loratory\n"
    code += "from loratory import *\n"
    code += "assert all(callable(getattr(loratory, name)) for name in loratory.__all__)\n"
    code += "from loratory.report.html import render; assert callable(render)\n"
    code += "import loratory.report.html as html; assert html.render is render\n"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_the_tree_of_errors() -> None:
    from loratory import errors

    for name in errors.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(errors, name), loratory.LoratoryError)
            assert name in (errors.__doc__ or "")
