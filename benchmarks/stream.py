"""How fast does `loratory score` go through a large file, and does its memory stay flat?

    python benchmarks/stream.py [--rows 1000000] [--words 54] [--texts FOLDER] [--processes 2]

Writes pairs of real text to a file, cut from the docstrings of Python's standard library or from
the text files of a folder: a window of words, and one a little further on. Scores them by
`rouge` with the stemmer on, measures the resident memory of all its processes meanwhile, and
writes rate, sizes and the machine to `benchmarks/results/stream.json` and `stream.md`.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from loratory.cli.console import progress
from loratory.runs.environment import hardware, versions

RESULTS = Path(__file__).parent / "results"
SHOWN = ("loratory", "numba", "numpy", "python", "rapidfuzz")
STEP = 0.25  # seconds between two measurements
COMMAND = (sys.executable, "-c", "from loratory.cli import main; main()")


def docstrings() -> Iterator[str]:
    """Yield the docstrings of the standard library, files in order of their names."""
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


def folder_texts(folder: Path) -> Iterator[str]:
    """Yield the text files of a folder, in order of their names."""
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".txt", ".md", ".rst"):
            yield file.read_text(encoding="utf-8", errors="replace")


def write_pairs(file: Path, texts: Iterator[str], rows: int, words: int, seed: int = 0) -> int:
    """Write so many pairs; return how many words the text has that they are cut from."""
    stream = [word for text in texts for word in text.split()]
    generator = random.Random(seed)
    with file.open("w", encoding="utf-8") as out:
        for _ in range(rows):
            start = generator.randrange(len(stream) - 3 * words)
            later = start + generator.randrange(words)
            length = generator.randrange(words // 2, words * 3 // 2)
            pair = {
                "prediction": " ".join(stream[start : start + length]),
                "reference": " ".join(stream[later : later + words]),
            }
            out.write(json.dumps(pair, ensure_ascii=False) + "\n")
    return len(stream)


def measure(file: Path, processes: int) -> dict[str, Any]:
    """Score a file and return seconds, scores, and memory over time in bytes."""
    began = time.perf_counter()
    program = subprocess.Popen(
        [*COMMAND, "score", str(file), "--json", "--processes", str(processes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    parent = psutil.Process(program.pid)
    sizes: list[tuple[float, int]] = []
    while program.poll() is None:
        try:
            family = [parent, *parent.children(recursive=True)]
            total = sum(one.memory_info().rss for one in family)
        except psutil.NoSuchProcess:  # one has just ended
            continue
        sizes.append((round(time.perf_counter() - began, 2), total))
        time.sleep(STEP)
    seconds = time.perf_counter() - began
    out, _ = program.communicate()
    if program.returncode:
        raise SystemExit(f"loratory score ended with status {program.returncode}: {out.decode()}")
    return {"seconds": seconds, "sizes": sizes, **json.loads(out)}


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    machine, sizes = result["hardware"], result["sizes"]
    used = {k: v for k, v in result["versions"].items() if k in SHOWN}
    tenths = [sizes[i * (len(sizes) - 1) // 10] for i in range(11)]
    lines = [
        "# Scoring a large file",
        "",
        "Written by `benchmarks/stream.py`: `loratory score FILE --json`, four types of ROUGE with",
        "the stemmer, bootstrap included.",
        "",
        "| | |",
        "|---|---|",
        f"| rows | {result['rows']:,} pairs of about {result['words']} words |",
        f"| file | {result['bytes'] / 1e6:,.0f} MB |",
        f"| cut from | {result['texts']}, {result['text_words']:,} words |",
        f"| processes | {result['processes']} beside the one that reads |",
        f"| time | {result['seconds']:.1f} s, start and bootstrap included |",
        f"| rate | {result['rows_per_second']:,.0f} pairs a second |",
        f"| most memory | {result['peak_bytes'] / 1e6:,.0f} MB resident, all processes together |",
        f"| machine | {machine['cpu']}, {machine['cores']} cores, "
        f"{(machine['memory_bytes'] or 0) / 1e9:.0f} GB, {machine['system']} |",
        f"| versions | {', '.join(f'{k} {v}' for k, v in used.items())} |",
        "",
        "Resident memory of all processes together over time:",
        "",
        "| seconds | MB |",
        "|---:|---:|",
        *(f"| {at:.1f} | {size / 1e6:,.0f} |" for at, size in tenths),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the pairs, score them, and keep what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--words", type=int, default=54)
    parser.add_argument("--texts", type=Path, help="folder of .txt, .md and .rst files")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, progress() as shown:
        file = Path(scratch) / "pairs.jsonl"
        shown.stage("write")
        texts = folder_texts(args.texts) if args.texts else docstrings()
        text_words = write_pairs(file, texts, args.rows, args.words)
        shown.stage("score")
        found = measure(file, args.processes)
        result = {
            "rows": args.rows,
            "words": args.words,
            "bytes": file.stat().st_size,
            "texts": "a folder of texts" if args.texts else "the standard library's docstrings",
            "text_words": text_words,
            "processes": args.processes,
            "rows_per_second": args.rows / found["seconds"],
            "peak_bytes": max(size for _, size in found["sizes"]),
            **found,
            "hardware": hardware(),
            "versions": {**versions(), **kernels()},
        }
    args.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (args.results / "stream.json").write_text(f"{text}\n", encoding="utf-8")
    (args.results / "stream.md").write_text(table(result), encoding="utf-8")


def kernels() -> dict[str, str]:
    """Return the version of numba, where it is installed: ROUGE is quicker with it."""
    try:
        return {"numba": version("numba")}
    except PackageNotFoundError:
        return {}


if __name__ == "__main__":
    main()
