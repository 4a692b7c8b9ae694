"""The run as a model card: README.md with the front matter that the Hub reads.

Text from a model, a data set or a recipe enters it only through `loratory.report.markdown`.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from loratory.methods.base import METHODS
from loratory.report import wording
from loratory.report.data import ReportData, fact, load
from loratory.report.facts import cut_rows, dropped_rows, splits
from loratory.report.findings import sections as found
from loratory.report.front import base_model, front_matter, method_name
from loratory.report.markdown import code, fenced, inline
from loratory.report.proof import proof
from loratory.report.standing import standing
from loratory.report.table import Cell, Row, Table, score_table, system_name

__all__ = ["render_card"]

AUTO_CLASSES = {
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "classifier": "AutoModelForSequenceClassification",
}


def render_card(folder: Path) -> str:
    """Return a run folder's model card as Markdown.

    The same folder always gives the same text. What was not recorded is left out or said to
    be missing. A licence is not written: it follows from the base model and the data.

    Raises:
        RunError: `folder` is not a folder.
    """
    data = load(folder)
    table = score_table(data)
    lead = wording.headline(data.comparisons)
    stands = standing(data.scores, data.places, lead.metric) if lead else ()
    sections = [
        f"# {inline(data.name)}",
        f"**{inline(wording.outcome(lead))}**" if lead else "This run has not been judged.",
        _opening(data),
        "## Scores",
        *_scores(table),
        *map(inline, stands),
        *_findings(data),
        "## How to load it",
        *_loading(data),
        *_proof(data),
        "## Data",
        _data(data),
        "## Training",
        *_training(data),
        "## Limits",
        _limits(data, table),
    ]
    front = yaml.safe_dump(front_matter(data), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def _opening(data: ReportData) -> str:
    method, base, task = method_name(data), base_model(data), data.task
    words = f"An adapter for {inline(base)}" if base else "An adapter"
    words += f", tuned with {inline(method)}" if method else ", tuned"
    words += f" for {inline(task)} by Loratory." if task else " by Loratory."
    status = fact(data.manifest, "status")
    if status not in (None, "complete"):
        words = f"This run is not complete; its status is “{inline(status)}”. {words}"
    return f"{words} The full account is in `report.html` of the run folder."


def _scores(table: Table) -> list[str]:
    if not table.rows:
        return ["No scores were recorded."]
    systems = [system_name(system) for system in table.systems]
    p = ["p"] if table.tested else []
    head = ["Metric", *systems[:2], "Difference", *p, "", *systems[2:], "n"]
    numbers = "---:|" * (3 + len(p))
    lines = [
        _table_line([inline(cell) for cell in head]),
        f"|---|{numbers}---|" + "---:|" * (len(systems) - 1),
        *(_table_line(_score_row(row, row.verdict, table.tested)) for row in table.rows),
        *(_table_line(_score_row(row, "", table.tested)) for row in table.descriptive),
    ]
    but = f", but for {', '.join(map(inline, table.unscaled))}" if table.unscaled else ""
    test = "p is two-sided, corrected by Holm over the metrics. " if p else ""
    signatures = [f"- {inline(name)}: {code(text)}" for name, text in table.signatures]
    return [
        "\n".join(lines),
        f"In brackets: {table.confidence} bootstrap intervals, paired for the difference. {test}"
        f"Scores are out of 100{but}; ↓ means that lower is better.",
        "Metric signatures, which hold everything that changes these numbers:",
        "\n".join(signatures),
    ]


def _score_row(row: Row, verdict: str, tested: bool) -> list[str]:
    change = f"{row.difference} [{row.interval}]" if row.interval else row.difference
    return [
        inline(row.name) + (" ↓" if row.lower_is_better else ""),
        *(_score_cell(cell) for cell in row.cells[:2]),
        inline(change),
        *([inline(row.p or "–")] if tested else []),
        verdict if row.comparison else "",
        *(_score_cell(cell) for cell in row.cells[2:]),
        str(row.n),
    ]


def _score_cell(cell: Cell) -> str:
    beside = f" [{cell.interval}]" if cell.interval else f" ({cell.reason})" if cell.reason else ""
    return inline(cell.value + beside)


def _table_line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _loading(data: ReportData) -> list[str]:
    if data.lacks("adapter"):
        return ["The run folder holds no adapter, so there is nothing to load."]
    family = str(fact(data.manifest, "model", "family"))
    auto = AUTO_CLASSES.get(family, "AutoModelForCausalLM")
    base = base_model(data) or "the base model"
    imports = ["from peft import PeftModel", f"from transformers import {auto}, AutoTokenizer"]
    before = f"name = {_literal(base)}"
    if base.startswith("embedded:") or base.endswith(".gguf"):
        # Not in a form that from_pretrained trains or reads; Loratory has unpacked it.
        imports = [
            "from loratory.config import ModelConfig",
            "from loratory.progress import Silent",
            "from loratory.tuning.locate import locate",
            *imports,
        ]
        before = f"name = locate(ModelConfig(name={_literal(base)}), Silent())"
    method = str(fact(data.config, "method", "name"))
    if method in METHODS.names() and (module := METHODS.get(method).defined_in):
        imports = [f"import {module}  # peft then knows the method", *imports]
    options = {}
    revision = fact(data.config, "model", "revision")
    if revision:
        options["revision"] = _literal(str(revision))
    if family == "classifier":
        options["num_labels"] = str(len(data.labels))
        names = ", ".join(f"{i}: {_literal(label)}" for i, label in enumerate(data.labels))
        options["id2label"] = f"{{{names}}}"
    arguments = "".join(f", {key}={value}" for key, value in options.items())
    code_lines = [
        *imports,
        "",
        before,
        "tokenizer = AutoTokenizer.from_pretrained(name)",
        f"base = {auto}.from_pretrained(name{arguments})",
        'model = PeftModel.from_pretrained(base, "adapter").eval()',
    ]
    return [
        "`adapter` is the folder beside this file, or the adapter's name on the Hub.",
        fenced("\n".join(code_lines), "python"),
    ]


def _literal(text: str) -> str:
    """Return text as a Python string on one line; JSON's escapes are Python's too."""
    return json.dumps(wording.clean(text), ensure_ascii=False)


def _proof(data: ReportData) -> list[str]:
    found = proof(data.manifest)
    if found is None:
        return []
    lines = [f"- {inline(problem)}" for problem in found.problems]
    lines += [
        f"- **{inline(check.name)}**{f' ({check.found})' if check.found else ''}: "
        f"{inline(check.sentence)}"
        for check in found.checks
    ]
    return ["## The saved adapter", inline(found.opening), *(["\n".join(lines)] if lines else [])]


def _findings(data: ReportData) -> list[str]:
    lines = []
    for section in found(data.findings):
        about = " ".join(inline(sentence) for sentence in section.sentences)
        lines.append(f"- **{section.title}** ({inline(section.verdict)}): {about}")
        lines += [f"  - {inline(limit)}" for limit in section.limits]
    return ["## Known harms", "\n".join(lines)] if lines else []


def _data(data: ReportData) -> str:
    name = fact(data.manifest, "data", "name")
    rows = splits(data.manifest)
    if not name and not rows:
        return "The data was not recorded."
    lines = [f"- Name: {inline(name)}"] if name else []
    lines += [
        f"- {inline(wording.metric_name(split))} rows: {inline(n)}" for split, n in rows.items()
    ]
    lines += [
        f"- Dropped, {inline(why)}: {inline(n)}" for why, n in dropped_rows(data.manifest).items()
    ]
    lines += [
        f"- Cut in {inline(split)}: {inline(what)}"
        for split, what in cut_rows(data.manifest).items()
    ]
    if data.labels:
        lines.append(f"- Classes: {', '.join(inline(label) for label in data.labels)}")
    return "\n".join(lines)


def _training(data: ReportData) -> list[str]:
    wanted = ("seed", "task", "method", "train")
    recipe = {key: data.config[key] for key in wanted if key in data.config}
    if not recipe:
        return ["The recipe was not recorded."]
    versions = fact(data.manifest, "versions")
    used = versions if isinstance(versions, dict) else {}
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    made = ", ".join(f"{inline(name)} {inline(version)}" for name, version in used.items())
    return [
        fenced(text, "yaml"),
        "Repeat it with `loratory run config.yaml`."
        + (f" It was made with {made}." if made else ""),
    ]


def _limits(data: ReportData, table: Table) -> str:
    sizes = [row.n for row in table.rows]
    lines = []
    if sizes:
        lines.append(
            f"- Measured on {max(sizes):,} test rows of the data above; the intervals say how far "
            "such a sample can be trusted, and nothing about other data."
        )
    unfinished = sum(not item.finished for item in data.answers("tuned"))
    if unfinished:
        lines.append(
            f"- {unfinished:,} of {len(data.answers('tuned')):,} answers of the tuned model hit "
            "the length limit and were scored as cut."
        )
    lines.append(
        "- The adapter inherits the base model's faults. Nothing here measures safety or "
        "truthfulness, nor a bias that is not named above."
    )
    if "finished" in {row.metric for row in table.descriptive} or not data.labels:
        lines.append(
            "- Overlap with a reference is not correctness: read the examples in the report."
        )
    lines.append("- The licences of the base model and of the data apply to this adapter.")
    return "\n".join(lines)
