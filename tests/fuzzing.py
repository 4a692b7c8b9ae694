"""Files that users might hand over, harmed in every way that one can think of, and what reads them.

`harmed` changes a good file; a target reads one and either takes it or refuses it in a sentence.
Anything else, a traceback, a hang or half an output, is a fault.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save

from loratory.errors import LoratoryError

SECONDS = 20
"""A case that takes longer hangs."""

TEXTS = (
    *("", " ", "\x00", "\ufeff", "\u200b", "\u2028", "\x1b[31m", "\ud7ff", "𝔘", "e\u0301" * 40),
    *("a" * 5000, "../../etc", "/dev/null", "~", "null", "NaN", "-1", "1e999", "0x10", "true"),
    *("<script>", "{{ 7*7 }}", "%s%n", "💥" * 9, "embedded:", "embedded:nothing", "lora", "*a"),
    *("&a", "!!python/object/apply:os.system [ls]", "- - - -", ": :"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**30), 0.5, -0.0, 1e-320, 1e308),
    *([], [[]], {}, {"": {}}, [None], ["a", 1], {"name": 3}, {"name": "lora", "r": "many"}),
    *TEXTS,
)
PIECES = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\r\n", b"\n\n", b"\x1a"),
    *(b'"', b"'", b",", b"\t", b"{", b"}", b"[" * 3000, b'{"a":' * 2000, b"NaN", b"Infinity"),
    *(b"1e9999", b"-", b"&a ", b"*a", b"!!binary ", b"...", b"9" * 5000, b"\\ud800", b"\\u0000"),
    *(b"# ", b"---\n", b"%YAML 9.9\n", b"? ", b"| \n", b"<<: "),
)


def _turned(content: bytes, draw: random.Random) -> bytes:
    return bytes(byte ^ 1 << draw.randrange(8) for byte in content)


def harmed(content: bytes, draw: random.Random) -> bytes:
    """Change some bytes of a file: cut, turned, doubled, moved, or put in."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        size = len(content)
        at = draw.randrange(size + 1)
        to = min(size, at + draw.choice((1, 1, 3, 30, 300)))
        before, within, after = content[:at], content[at:to], content[to:]
        content = draw.choice(
            (
                lambda a, b, c: a,
                lambda a, b, c: b + c,
                lambda a, b, c: a + c,
                lambda a, b, c: a + b + b + c,
                lambda a, b, c: a + draw.choice(PIECES) + b + c,
                lambda a, b, c: a + draw.choice(PIECES) + c,
                lambda a, b, c: a + draw.randbytes(len(b)) + c,
                lambda a, b, c: a + _turned(b, draw) + c,
            )
        )(before, within, after)
    return content


def altered(data: Any, draw: random.Random) -> Any:
    """Change one value somewhere in plain data, or a key, or what is there."""
    if not isinstance(data, dict | list) or not data or draw.random() < 0.2:
        return draw.choice(VALUES)
    if isinstance(data, list):
        place = draw.randrange(len(data))
        if draw.random() < 0.2:
            return data[:place] + data[place + 1 :]
        return [*data[:place], altered(data[place], draw), *data[place + 1 :]]
    key = draw.choice(sorted(data, key=str))
    rest = {name: value for name, value in data.items() if name != key}
    way = draw.random()
    if way < 0.1:
        return rest
    if way < 0.25:
        return {**rest, draw.choice((f"{key}s", key.upper(), *TEXTS)): data[key]}
    return {**data, key: altered(data[key], draw)}


def _dumped(data: Any) -> bytes:
    try:
        return json.dumps(data).encode()
    except (ValueError, RecursionError):
        return b"null"


def _yaml(data: Any) -> bytes:
    try:
        return yaml.safe_dump(data).encode("utf-8", "surrogatepass")
    except (ValueError, yaml.YAMLError):
        return _dumped(data)


RECIPE = {
    "model": {"name": "embedded:smollm2-135m", "dtype": "float32"},
    "data": {"name": "rows.jsonl", "columns": {"document": "text"}, "test_size": 0.2},
    "task": {"name": "summarization", "template": "Sum up: {document}"},
    "method": {"name": "lora", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]},
    "metrics": ["rouge", {"name": "bleu"}],
    "train": {"learning_rate": 5e-4, "max_steps": 10, "eval_steps": 0.5, "report_to": []},
    "evaluate": {"resamples": 100, "confidence": 0.9},
    "leakage": {"similarity": 0.8, "action": "report"},
    "seed": 3,
}
ROWS = [{"document": f"a cat {i} sat", "summary": f"cat {i}", "more": [i]} for i in range(12)]
SAID = [
    {"prediction": f"the cat {i}", "reference": f"a cat {i}", "references": ["x", "y"]}
    for i in range(6)
]
ADAPTER = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "/nowhere",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj"],
}


def recipes(draw: random.Random, folder: Path) -> None:
    """Read a recipe, overrides included."""
    from loratory.config import load

    data = RECIPE
    for _ in range(draw.choice((0, 1, 1, 2))):
        data = altered(data, draw)
    content = _yaml(data)
    file = folder / "recipe.yaml"
    file.write_bytes(harmed(content, draw) if draw.random() < 0.6 else content)
    keys = ("train.learning_rate", "method", "method.r", "model.name", "x.y", "", "a=", "train")
    overrides = [f"{draw.choice(keys)}={draw.choice(TEXTS)}" for _ in range(draw.choice((0, 0, 1)))]
    load(file, overrides)


def rows(draw: random.Random, folder: Path) -> None:
    """Read rows from a file of any kind, and make splits of them."""
    from loratory.tasks.base import TASKS
    from loratory.tasks.source import Source, load_splits

    kind = draw.choice(("jsonl", "json", "csv", "tsv"))
    data = [altered(row, draw) if draw.random() < 0.1 else row for row in ROWS]
    if kind == "jsonl":
        content = b"".join(_dumped(row) + b"\n" for row in data)
    elif kind == "json":
        content = _dumped(data)
    else:
        between = "," if kind == "csv" else "\t"
        lines = [between.join(("document", "summary"))]
        lines += [between.join((row["document"], f'"{row["summary"]}"')) for row in ROWS]
        content = "\n".join(lines).encode()
    file = folder / f"rows.{kind}"
    file.write_bytes(harmed(content, draw) if draw.random() < 0.8 else content)
    task = TASKS.get("summarization")()
    load_splits(Source(name=str(file), seed=1), task.required(), folder, task.inputs)


def predictions(draw: random.Random, folder: Path) -> None:
    """Score a file of predictions, or compare two, as the command does."""
    from loratory.cli.app import app

    data = [altered(row, draw) if draw.random() < 0.2 else row for row in SAID]
    content = b"".join(_dumped(row) + b"\n" for row in data)
    file = folder / "said.jsonl"
    file.write_bytes(harmed(content, draw) if draw.random() < 0.8 else content)
    words = ["score", str(file)]
    if draw.random() < 0.3:
        other = folder / "other.jsonl"
        other.write_bytes(b"".join(_dumped(row) + b"\n" for row in SAID))
        words = ["compare", str(file), str(other)]
    words += ["--json"] if draw.random() < 0.5 else []
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        app(words, standalone_mode=False)


def adapters(draw: random.Random, folder: Path) -> None:
    """Find an adapter in a folder."""
    from loratory.tuning.saved import find

    (folder / "adapter").mkdir()
    data = altered(ADAPTER, draw) if draw.random() < 0.7 else ADAPTER
    content = _dumped(data)
    config = folder / "adapter" / "adapter_config.json"
    config.write_bytes(harmed(content, draw) if draw.random() < 0.4 else content)
    name = draw.choice(("adapter_model.safetensors",) * 4 + ("adapter_model.bin",))
    tensors = save({"base_model.model.q_proj.lora_A.weight": torch.ones(4, 8)})
    weights = folder / "adapter" / name
    weights.write_bytes(harmed(tensors, draw) if draw.random() < 0.7 else tensors)
    find(folder / "adapter", draw.choice((None, "/nowhere/else", str(folder))))


def runs(draw: random.Random, folder: Path) -> None:
    """Open a run folder, and read what stages have left there."""
    from loratory.config import from_mapping, to_yaml
    from loratory.report import render
    from loratory.runs import Run

    (folder / "run").mkdir()
    files = {
        "config.yaml": to_yaml(from_mapping(RECIPE)).encode(),
        "manifest.json": _dumped({"schema_version": 1, "status": "complete", "done": ["train"]}),
        "scores.json": _dumped({"schema_version": 1, "systems": {"base": []}, "places": []}),
        "comparison.json": _dumped({"schema_version": 1, "comparisons": []}),
    }
    name = draw.choice(sorted(files))
    for file, content in files.items():
        changed = harmed(content, draw) if file == name else content
        (folder / "run" / file).write_bytes(changed)
    run = Run.open(folder / "run")
    run.manifest(), run.scores(), run.places(), run.comparison(), run.findings()
    render(folder / "run")


TARGETS: dict[str, Callable[[random.Random, Path], None]] = {
    "recipes": recipes,
    "rows": rows,
    "predictions": predictions,
    "adapters": adapters,
    "runs": runs,
}


class Hangs(BaseException):
    """A case took too long."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hangs(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def tried(name: str, seed: int, folder: Path) -> str:
    """Try one case; return `taken`, or the sentence in which it was refused.

    Args:
        name: of a target.
        seed: of the case.
        folder: empty.

    Raises:
        AssertionError: the sentence is none, or something was left beside the file.
        Exception: whatever escaped.
    """
    before = set()
    try:
        with limited():
            TARGETS[name](random.Random(f"{name} {seed}"), folder)
    except LoratoryError as error:
        said = str(error)
        assert said.strip() and "Traceback" not in said
        return said
    finally:
        left = {path.name for path in folder.rglob("*")} - before
        assert not [path for path in left if path.startswith(".")], left
    return "taken"
