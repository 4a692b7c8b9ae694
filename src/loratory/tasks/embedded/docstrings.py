"""Documentation texts and their one-line summaries, from Python's standard library.

Every machine with Python has them: a class, function or method whose author wrote a summary
line and then explained. The explanation is the document, the line is the summary. Sources
are parsed, never imported, so nothing runs, and what only Windows has is read on Linux too:
the rows depend on the version of Python alone.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from loratory import cache
from loratory.tasks.embedded.base import dataset
from loratory.tasks.rows import SourceRow

__all__ = ["Docstrings"]

KIND = "docstrings"
"""Of what is kept in the cache."""

# Left out: tests, what has no prose, what distributions package apart or leave away (so that
# the rows are the same everywhere), and joke modules.
SKIPPED = """
    test tests idlelib lib2to3 turtledemo tkinter turtle ensurepip distutils msilib encodings
    pydoc_data antigravity this sitecustomize usercustomize
""".split()  # noqa: SIM905
MIN_SUMMARY_WORDS, MAX_SUMMARY_WORDS = 3, 40
MIN_BODY_WORDS = 8
MAX_BODY_CHARS = 2_000

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Documented(NamedTuple):
    """A documented definition, read but not yet judged."""

    name: str
    """Qualified, as `json.JSONEncoder.encode`."""
    signature: str
    summary: str
    body: str


@dataset("docstrings")
@dataclass(frozen=True)
class Docstrings:
    """Rows `docstrings:json.dumps` with `document` and `summary`.

    The document is the signature, a blank line and the docstring without its first line.
    """

    name: ClassVar[str]
    about: ClassVar[str] = (
        "About 1,400 texts of the Python standard library's documentation, each with the "
        "one-line summary its author wrote, for summarization (nothing to install)."
    )
    columns: ClassVar[tuple[str, ...]] = ("document", "summary")

    def rows(self) -> list[SourceRow]:
        """Return the rows; they are kept, as reading all sources takes seconds."""
        basis = {"python": sys.version, "library": str(_root()), "code": cache.code("tasks")}
        return cache.kept(
            KIND,
            cache.key(basis),
            self._read,
            lambda rows: json.dumps(rows).encode(),
            lambda known: [SourceRow(name, values) for name, values in json.loads(known)],
        )

    def _read(self) -> list[SourceRow]:
        rows, seen = [], set[str]()
        for item in _standard_library():
            marks = {f"name {item.name}", f"of {_words(item.summary)}", f"by {_words(item.body)}"}
            if _good(item) and seen.isdisjoint(marks):
                seen |= marks
                document = f"{item.signature}\n\n{_cut(item.body)}"
                values = {"document": document, "summary": item.summary}
                rows.append(SourceRow(f"docstrings:{item.name}", values))
        return rows


def _good(item: Documented) -> bool:
    summary, words = item.summary, item.summary.split()
    return bool(
        MIN_SUMMARY_WORDS <= len(words) <= MAX_SUMMARY_WORDS
        # A colon or comma announces what the body then says.
        and re.search(r"[\w.!?)\]'\"`]$", summary)
        and _prose_words(item.body) >= MIN_BODY_WORDS
        # Some authors open with the signature: `dumps(obj) -> str`.
        and "->" not in summary
        and not re.match(r"[\w.]+\(", summary)
        # A summary that stands in the document could be copied.
        and _words(summary) not in _words(item.body)
    )


def _root() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _standard_library() -> Iterator[Documented]:
    root = _root()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).parts):
        parts = [*path.relative_to(root).parent.parts, path.stem]
        module = parts[:-1] if parts[-1] == "__init__" else parts
        # No identifier: a folder of configuration, such as config-3.11-x86_64-linux-gnu.
        if any(p in SKIPPED or p.startswith("_") or not p.isidentifier() for p in module):
            continue
        try:
            source = path.read_text(encoding="utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old escapes in old modules
                tree = ast.parse(source)
        except (OSError, ValueError, SyntaxError):
            continue
        yield from _documented(tree.body, ".".join(module))


def _documented(body: list[ast.stmt], prefix: str) -> Iterator[Documented]:
    for node in body:
        if isinstance(node, Definition):
            name = f"{prefix}.{node.name}"
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                summary, rest = _divide(text)
                if rest:
                    yield Documented(name, _signature(node, name), summary, rest)
            if isinstance(node, ast.ClassDef):
                yield from _documented(node.body, name)
        else:  # definitions under an `if` or `try`
            for part in ("body", "handlers", "orelse", "finalbody"):
                yield from _documented(getattr(node, part, []), prefix)


def _divide(docstring: str) -> tuple[str, str]:
    """Return the first paragraph and the rest; no rest when the paragraph has two lines."""
    summary, _, rest = inspect.cleandoc(docstring).partition("\n")
    if rest.split("\n", 1)[0].strip():
        return summary, ""
    lines = [line.rstrip() for line in rest.strip("\n").split("\n")]
    return summary.strip(), re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _signature(node: Definition, name: str) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {name}({bases})" if bases else f"class {name}"
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{keyword} {name}({ast.unparse(node.args)})"


def _prose_words(body: str) -> int:
    lines = body.split("\n")
    return sum(len(line.split()) for line in lines if not line.lstrip().startswith(">>>"))


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _cut(text: str) -> str:
    if len(text) <= MAX_BODY_CHARS:
        return text
    return text[:MAX_BODY_CHARS].rsplit(None, 1)[0]
