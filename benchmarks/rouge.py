"""How fast is ROUGE beside rouge_score and rouge-score-rs, and how much memory does it take?

    python benchmarks/rouge.py [DATA] [--rounds 9]

DATA is a folder with `summarization/scitldr_*.jsonl` and `qmsum_span_train.jsonl`; without it, the
docstrings of Python's standard library serve. Pairs are two runs of sentences, one a line, that
follow each other in a document: 2,000 of about 54 words and 200 of about 560. Four types, with
the stemmer, one thread each, CPU time. Every implementation must give the same F of every pair
and type before anything is timed; each round times all of them in turn, and ratios are medians
over rounds. Writes `benchmarks/results/rouge.json` and `rouge.md`.
"""

from __future__ import annotations

import os

# One thread each, settled before anything is imported.
os.environ.update(RAYON_NUM_THREADS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rouge_score.rouge_scorer import RougeScorer
from rouge_score_rs.rouge_scorer import RougeScorer as RustScorer

from benchmarks.stream import docstrings
from loratory.metrics.rouge import rouge
from loratory.metrics.rouge.batch import engine
from loratory.runs.environment import hardware, versions
from loratory.sentences import sentences

RESULTS = Path(__file__).parent / "results"
TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
# Name, pairs, words at which a text ends, pairs for rouge_score, and the bars: rouge_score and
# rouge-score-rs, for numpy's loops and for compiled ones.
CASES = (
    ("short", 2000, 45, 100, (150, 1.5), (350, 4.0)),
    ("long", 200, 553, 4, (400, 2.5), (550, 3.5)),
)
COLD_BAR = 2.0
MEMORY_BAR = 200  # MB
FILES = {"short": "scitldr_*.jsonl", "long": "qmsum_span_train.jsonl"}

Pairs = tuple[list[str], list[str]]

COLD = {
    "loratory": """
from loratory.metrics.rouge import rouge
found = rouge(predictions, references, types)
""",
    "rouge-score-rs": """
from rouge_score_rs.rouge_scorer import RougeScorer
found = RougeScorer(types, use_stemmer=True).score_batch(references, predictions)
""",
}
# The peak of this process alone: getrusage would begin with that of the one that started it.
MEMORY = """
import re
from pathlib import Path
from loratory.metrics.rouge import rouge
from loratory.metrics.rouge.batch import engine
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
engine.choose({engine!r})
rouge(["a b"], ["b a"])
before = peak()
rouge(predictions, references, types)
print((peak() - before) * 1024)
"""


def documents(data: Path | None, case: str) -> Iterator[str]:
    """Yield the documents that a case is cut from."""
    if data is None:
        yield from docstrings()
        return
    for file in sorted((data / "summarization").glob(FILES[case])):
        for line in file.read_text(encoding="utf-8").split("\n"):
            if line.strip():
                yield json.loads(line)["document"]


def cut(texts: Iterable[str], size: int) -> Iterator[str]:
    """Yield runs of sentences, one a line, that end when they have so many words."""
    run: list[str] = []
    words = 0
    for text in texts:
        for line in text.split("\n"):
            for sentence in sentences(line):
                found = len(re.findall("[a-z0-9]+", sentence.lower()))
                run += [sentence] if found else []
                words += found
                if words >= size:
                    yield "\n".join(run)
                    run, words = [], 0


def pairs(data: Path | None, case: str, count: int, size: int) -> Pairs:
    """Return predictions and references."""
    runs = list(cut(documents(data, case), size))
    both = list(zip(runs[::2], runs[1::2], strict=False))
    random.Random(0).shuffle(both)
    predictions, references = zip(*both[:count], strict=True)
    return list(predictions), list(references)


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def warm(both: Pairs, few: int, rounds: int) -> dict[str, Any]:
    """Return CPU microseconds a pair of each implementation, and ratios to ours."""
    predictions, references = both
    one, rust = (kind(TYPES, use_stemmer=True) for kind in (RougeScorer, RustScorer))

    def ours(which: engine.Engine) -> Any:
        engine.choose(which)
        return rouge(predictions, references, TYPES)

    work: dict[str, tuple[int, Callable[[], Any]]] = {
        "rouge_score": (
            few,
            lambda: [
                one.score(references[i], predictions[i]) for i in range(len(predictions))[:few]
            ],
        ),
        "rouge-score-rs": (len(predictions), lambda: rust.score_batch(references, predictions)),
        "arrays": (len(predictions), lambda: ours("arrays")),
        "compiled": (len(predictions), lambda: ours("compiled")),
    }
    expected = work["rouge-score-rs"][1]()
    reference = work["rouge_score"][1]()
    for which in ("arrays", "compiled"):
        found = work[which][1]()
        for name in TYPES:
            values = found[name].f.tolist()
            assert values == [score[name].fmeasure for score in expected], (which, name)
            assert values[:few] == [score[name].fmeasure for score in reference], (which, name)
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, (n, function) in work.items():
            times[name].append(seconds(function) / n * 1e6)
    return {
        "microseconds": {name: statistics.median(values) for name, values in times.items()},
        "ratios": {
            which: {
                other: statistics.median(
                    a / b for a, b in zip(times[other], times[which], strict=True)
                )
                for other in ("rouge_score", "rouge-score-rs")
            }
            for which in ("arrays", "compiled")
        },
    }


def run(program: str, both: Pairs, folder: Path) -> tuple[float, str]:
    """Run a program over pairs in a process of its own; return its CPU seconds and its output."""
    file = folder / "pairs.json"
    file.write_text(json.dumps(both), encoding="utf-8")
    head = f"import json\npredictions, references = json.load(open({str(file)!r}))\n"
    # Compiled modules are read, as in any installation.
    quiet = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", f"{head}types = {TYPES!r}\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        env=quiet,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, done.stdout


def cold(both: Pairs, rounds: int, folder: Path) -> dict[str, float]:
    """Return CPU seconds of whole processes, start and import included."""
    times: dict[str, list[float]] = {name: [] for name in COLD}
    for _ in range(rounds + 1):
        for name, program in COLD.items():
            times[name].append(run(program, both, folder)[0])
    # The first round writes compiled modules.
    ours, other = (times[name][1:] for name in COLD)
    return {
        "loratory": statistics.median(ours),
        "rouge-score-rs": statistics.median(other),
        "ratio": statistics.median(a / b for a, b in zip(ours, other, strict=True)),
    }


def memory(both: Pairs, folder: Path) -> dict[str, float]:
    """Return by how many megabytes one pair of 20,000 words raises a process's peak."""
    words = [" ".join(text.split()) for text in both[0] + both[1]]
    stream = " ".join(words).split()
    lines = [
        "\n".join(" ".join(stream[i : i + 20]) for i in range(a, a + 20_000, 20))
        for a in (0, 20_000)
    ]
    return {
        which: float(run(MEMORY.format(engine=which), ([lines[0]], [lines[1]]), folder)[1]) / 1e6
        for which in ("arrays", "compiled")
    }


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# ROUGE: speed and memory",
        "",
        "Written by `benchmarks/rouge.py`. Four types with the stemmer, one thread, CPU time,",
        f"medians of {result['rounds']} interleaved rounds. Every F of every pair is equal in all.",
        "",
        "| pairs | implementation | µs a pair | × rouge_score | × rouge-score-rs | bars |",
        "|---|---|---:|---:|---:|---|",
    ]
    for name, count, _, _, *bars in CASES:
        case = result[name]
        label = f"{count:,} of {case['words']:.0f} words, {case['lines']:.1f} lines"
        lines += [
            f"| {label} | {other} | {case['microseconds'][other]:,.1f} | | | |"
            for other in ("rouge_score", "rouge-score-rs")
        ]
        for which, what, (first, second) in (
            ("arrays", "loratory (numpy, rapidfuzz)", bars[0]),
            ("compiled", "loratory[kernels] (numba)", bars[1]),
        ):
            ratios = case["ratios"][which]
            lines.append(
                f"| {label} | {what} | {case['microseconds'][which]:,.1f} "
                f"| {ratios['rouge_score']:,.0f} | {ratios['rouge-score-rs']:.2f} "
                f"| ≥ {first}, ≥ {second} |"
            )
    start, peak, machine = result["cold"], result["memory"], result["hardware"]
    used = {k: result["versions"].get(k) for k in SHOWN}
    lines += [
        "",
        "From process start, import included, 2,000 short pairs: "
        f"{start['loratory'] * 1e3:.0f} ms, rouge-score-rs {start['rouge-score-rs'] * 1e3:.0f} ms: "
        f"{start['ratio']:.2f} times as long "
        f"(bar: at most {COLD_BAR:g}).",
        "",
        f"One pair of 20,000 words in 1,000 lines each raises the peak memory by "
        f"{peak['arrays']:.0f} MB, with compiled loops by {peak['compiled']:.0f} MB "
        f"(bar: {MEMORY_BAR} MB).",
        "",
        f"Texts: {result['texts']}.",
        "",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}. "
        f"Versions: {', '.join(f'{k} {v}' for k, v in used.items())}.",
        "",
    ]
    return "\n".join(lines)


SHOWN = ("python", "numpy", "rapidfuzz", "numba", "rouge_score", "rouge-score-rs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "rounds": arguments.rounds,
        "texts": "SciTLDR abstracts (short), QMSum transcripts (long)"
        if arguments.data
        else "the standard library's docstrings",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case, count, size, few, *_ in CASES:
            both = pairs(arguments.data, case, count, size)
            every = [text for side in both for text in side]
            result[case] = {
                "pairs": len(both[0]),
                "words": statistics.mean(
                    len(re.findall("[a-z0-9]+", text.lower())) for text in every
                ),
                "lines": statistics.mean(text.count("\n") + 1 for text in every),
                **warm(both, few, arguments.rounds),
            }
            if case == "short":
                result["cold"] = cold(both, arguments.rounds, folder)
        result["memory"] = memory(both, folder)
    result["hardware"] = hardware()
    result["versions"] = {**versions(), **_versions()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "rouge.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    text = table(result)
    (RESULTS / "rouge.md").write_text(text, encoding="utf-8")
    print(text)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in SHOWN if name != "python"}


if __name__ == "__main__":
    main()
