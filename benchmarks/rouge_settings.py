"""How far apart are the ROUGE numbers that published settings give the same answers?

    python -m benchmarks.rouge_settings DATA

DATA is a folder with `summarization/scitldr_test.jsonl`. The answers are the first two sentences of
each abstract, the references all of its summaries; both are lower-cased and cut into words and
marks, as the texts of the older papers were. Writes `benchmarks/results/rouge_settings.md`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

from loratory.metrics.rouge import compute
from loratory.metrics.rouge.rouge155 import Rouge155Options, rouge155
from loratory.sentences import sentences

RESULTS = Path(__file__).parent / "results"

Rows = tuple[list[str], list[list[str]]]
Values = tuple[float, float, float]


def tokenised(text: str) -> str:
    """Return a text with a space around every mark."""
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))


def rows(data: Path) -> Rows:
    """Return answers and references, a sentence a line."""
    answers, references = [], []
    for line in (data / "summarization/scitldr_test.jsonl").read_text("utf-8").split("\n"):
        if line.strip():
            row = json.loads(line)
            answers.append("\n".join(map(tokenised, sentences(row["document"])[:2])))
            references.append(
                ["\n".join(map(tokenised, sentences(text))) for text in row["references"]]
            )
    return answers, references


def script(**options: object) -> Callable[[Rows], Values]:
    """Return a way to score as ROUGE-1.5.5 does."""

    def values(both: Rows) -> Values:
        chosen = Rouge155Options(**options)  # type: ignore[arg-type]
        found = rouge155(list(zip(*both, strict=True)), chosen).averages
        one, two, longest = (found[f"ROUGE-{name}"].f.mean for name in ("1", "2", "L"))
        return one, two, longest

    return values


def package(stem: bool, joined: bool = False) -> Callable[[Rows], Values]:
    """Return a way to score as evaluate does, lines joined or not."""

    def values(both: Rows) -> Values:
        answers, references = both
        if joined:
            answers = [" ".join(text.split()) for text in answers]
            references = [[" ".join(text.split()) for text in group] for group in references]
        found = compute(predictions=answers, references=references, use_stemmer=stem, seed=0)
        return found["rouge1"], found["rouge2"], found["rougeLsum"]

    return values


WAYS: dict[str, Callable[[Rows], Values]] = {
    "ROUGE-1.5.5 `-n 4 -w 1.2 -2 -1 -U -m` (pyrouge's defaults)": script(max_n=4, stem=True),
    "ROUGE-1.5.5 `-n 2 -m` (PreSumm)": script(max_n=2, stem=True),
    "the same with an empty database of irregular forms": script(
        max_n=2, stem=True, irregular_forms=False
    ),
    "ROUGE-1.5.5 `-n 2`, no stemming": script(max_n=2),
    "ROUGE-1.5.5 `-n 2 -m -s`, no stop words": script(max_n=2, stem=True, remove_stop_words=True),
    "ROUGE-1.5.5 `-n 2 -m -f B`, best reference": script(max_n=2, stem=True, references="best"),
    "rouge_score with stemmer (PEGASUS, transformers)": package(stem=True),
    "rouge_score without stemmer (T5)": package(stem=False),
    "rouge_score with stemmer, lines joined": package(stem=True, joined=True),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    both = rows(parser.parse_args().data)
    lines = [
        "# One set of answers under many settings",
        "",
        f"Written by `benchmarks/rouge_settings.py`: {len(both[0])} rows of SciTLDR's test split,",
        "all references of each; the answers are the first two sentences of the abstract. F, times",
        "100; of rouge_score, ROUGE-Lsum stands under L.",
        "",
        "| settings | 1 | 2 | L |",
        "|---|---:|---:|---:|",
    ]
    for name, way in WAYS.items():
        lines.append(
            f"| {name} | " + " | ".join(f"{100 * value:.2f}" for value in way(both)) + " |"
        )
    text = "\n".join([*lines, ""])
    (RESULTS / "rouge_settings.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
