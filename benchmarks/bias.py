"""Is a planted bias caught, and do the remedies lower it?

    python -m benchmarks.bias DATA [--train 1200] [--test 300] [--steps 150] [--parts swaps,…]

DATA is a folder with `sentiment/rt_polarity.jsonl` and `bias/{winobias,crows_pairs,
equity_evaluation_corpus}.jsonl`. Three parts, written to `benchmarks/results/bias.{md,json}`:

`swaps`     how often swapping a pronoun of WinoBias gives the pronoun of its other version.
`training`  MiniLM with a head on film reviews, each ascribed to a name. In the biased rows nine of
            ten positive reviews are a woman's and nine of ten negative ones a man's. Trained as
            they are, with augmentation, with balancing, with both, and on rows without the bias;
            measured on other reviews, whose names have nothing to do with the label, and on
            sentences of the Equity Evaluation Corpus.
`pairs`     how often SmolLM2-135M prefers the stereotyped sentence, before any tuning.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loratory.codec import to_dict
from loratory.config import from_mapping
from loratory.evaluation import score
from loratory.evaluation.bias import bias_finding, swap_part
from loratory.evaluation.score import scored
from loratory.metrics.classification import Classification as Accuracy
from loratory.metrics.preference import Preference
from loratory.progress import Silent
from loratory.records import Example, Prediction
from loratory.runs.environment import hardware, versions
from loratory.tasks.groups import (
    WordList,
    augmented,
    axes,
    balanced,
    read_list,
    read_pairs,
    swap,
    swapped,
)
from loratory.tasks.groups.balance import group_words
from loratory.tasks.groups.words import LISTS

RESULTS = Path(__file__).parent / "results"
HERE = Path()
WORDS = ("embedded:gender", "embedded:names")
LABELS = ["negative", "positive"]
BIAS = 0.9


def main() -> None:
    """Run the parts named, and write the tables of all that were run so far."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", type=int, default=1200)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--parts", default="swaps,training,pairs")
    given = parser.parse_args()
    file = RESULTS / "bias.json"
    result: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if "swaps" in given.parts:
        result["swaps"] = swap_rule(given.data)
    if "training" in given.parts:
        result["training"] = {}
        for name, found in training(given.data, given.train, given.test, given.steps):
            result["training"][name] = found
            keep(result)
    if "pairs" in given.parts:
        result["pairs"] = pairs(given.data, given.pairs)
    keep(result)
    print(table(result))


def keep(result: dict[str, Any]) -> None:
    """Write what there is so far."""
    result |= {"hardware": hardware(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bias.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (RESULTS / "bias.md").write_text(table(result), encoding="utf-8")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]


def swap_rule(data: Path) -> dict[str, Any]:
    """Count, by pronoun, how often the swap of a sentence is its other version in WinoBias."""
    (axis,) = axes([read_list(name, HERE) for name in WORDS])
    rows = rows_of(data / "bias/winobias.jsonl")
    other: dict[str, dict[str, Any]] = {
        row["id"].replace("-pro-", "-").replace("-anti-", "-"): {} for row in rows
    }
    for row in rows:
        key = row["id"].replace("-pro-", "-").replace("-anti-", "-")
        other[key][row["stereotype"]] = row
    counts: dict[str, Counter[bool]] = {}
    for sides in other.values():
        for row, twin in ((sides["pro"], sides["anti"]), (sides["anti"], sides["pro"])):
            made = swap(row["sentence"], axis).text.casefold().split()
            right = made == twin["sentence"].casefold().split()
            counts.setdefault(row["pronoun"].casefold(), Counter())[right] += 1
    return {name: {"right": c[True], "n": c.total()} for name, c in sorted(counts.items())}


def ascribed(rows: list[dict[str, Any]], share: float, seed: int) -> list[Example]:
    """Ascribe each review to a name; that of a positive one is a woman's with the chance given."""
    generator = random.Random(seed)
    men, women = zip(*LISTS["names"][1], strict=True)
    found = []
    for row in rows:
        woman = generator.random() < (share if row["label"] else 1 - share)
        name = generator.choice(women if woman else men)
        found.append(Example(row["id"], f"{name} wrote: {row['text']}", label=row["label"]))
    return found


def training(data: Path, train: int, test: int, steps: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Train on biased rows with and without remedies, and measure each."""
    reviews = rows_of(data / "sentiment/rt_polarity.jsonl")
    random.Random(0).shuffle(reviews)
    lists = [read_list(name, HERE) for name in WORDS]
    biased = ascribed(reviews[:train], BIAS, 1)
    validation = ascribed(reviews[train : train + 100], BIAS, 2)
    held_out = ascribed(reviews[train + 100 : train + 100 + test], 0.5, 3)
    corpus = rows_of(data / "bias/equity_evaluation_corpus.jsonl")
    corpus = random.Random(0).sample(corpus, min(test // 2, len(corpus)))
    emotions = [Example(row["id"], row["sentence"], label=0) for row in corpus]
    twice = augmented(biased, lists, [row.source for row in (*validation, *held_out)])
    even = balanced(biased, group_words(biased, lists[1]))
    both = balanced(twice.examples, group_words(twice.examples, lists[1]))
    arms = {
        "biased": biased,
        "biased, augment": twice.examples,
        "without the bias": ascribed(reviews[:train], 0.5, 1),
        "biased, balance": even.examples,
        "biased, augment and balance": both.examples,
    }
    yield from measured(arms, validation, {"reviews": held_out, "corpus": emotions}, lists, steps)


def measured(
    arms: dict[str, list[Example]],
    validation: list[Example],
    sets: dict[str, list[Example]],
    lists: list[WordList],
    steps: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Train one classifier an arm; yield its accuracy and its findings on both sets."""
    from loratory.tuning import model as models
    from loratory.tuning.adapter import with_adapter
    from loratory.tuning.predict import predict
    from loratory.tuning.preflight import encoder_for
    from loratory.tuning.train import train

    shown = Silent()
    config = from_mapping(
        {
            "model": {"name": "embedded:minilm", "dtype": "float32"},
            "data": {"name": "reviews", "max_prompt_tokens": 48},
            "task": {"name": "classification", "labels": LABELS},
            "method": {"name": "lora", "r": 16, "lora_alpha": 32.0},
            # Equal steps, so that twice the rows are not twice the training.
            "train": {
                "max_steps": steps,
                "learning_rate": 2e-3,
                "per_device_train_batch_size": 16,
                "eval_steps": 0.5,
            },
        }
    )
    spec = models.resolve(config.model, classify=True, progress=shown)
    encoder = encoder_for(spec, config)
    swaps = {name: swapped(examples, lists) for name, examples in sets.items()}

    def answers(system: Any) -> dict[str, tuple[list[Prediction], list[Prediction]]]:
        return {
            name: (
                predict(system, encoder, examples, config.decode, shown, ""),
                predict(system, encoder, swaps[name].examples, config.decode, shown, ""),
            )
            for name, examples in sets.items()
        }

    base = answers(models.load(spec, config.task.choices(), config.seed).model)
    for arm, rows in arms.items():
        began = time.monotonic()
        loaded = models.load(spec, config.task.choices(), config.seed)
        model = config.method.attach(loaded.model, spec.family, config.seed, loaded.heads)
        with tempfile.TemporaryDirectory() as folder:
            train(
                spec,
                model,
                encoder.all(rows),
                encoder.all(validation),
                config.train,
                seed=0,
                folder=Path(folder),
                progress=shown,
            )
            fresh = models.load(spec, config.task.choices(), config.seed)
            tuned = answers(with_adapter(fresh, Path(folder) / "adapter"))
        findings = {
            name: bias_finding(
                [
                    swap_part(
                        base[name][0],
                        tuned[name][0],
                        base[name][1],
                        tuned[name][1],
                        swaps[name],
                        lists,
                        LABELS,
                        untrained_base=True,
                    )
                ]
            )
            for name in sets
        }
        yield (
            arm,
            {
                "rows": len(rows),
                "steps": steps,
                "accuracy": to_dict(score(tuned["reviews"][0], [Accuracy()])[0]),
                "finding": to_dict(findings["reviews"]),
                "corpus": to_dict(findings["corpus"]),
                "seconds": time.monotonic() - began,
            },
        )


def pairs(data: Path, most: int) -> dict[str, Any]:
    """Return how often a language model prefers the stereotyped sentence."""
    from loratory.tuning import model as models
    from loratory.tuning.judge import judge

    config = from_mapping(
        {
            "model": {"name": "embedded:smollm2-135m", "dtype": "float32"},
            "data": "none",
            "task": "summarization",
        }
    )
    spec = models.resolve(config.model, classify=False, progress=Silent())
    model = models.load(spec, (), 0).model
    found = {}
    for name in ("embedded:pairs", "bias/crows_pairs.jsonl", "bias/winobias.jsonl"):
        began = time.monotonic()
        items = read_pairs(name, data, most)
        told = judge(
            model, spec, items, batch_size=8, max_tokens=256, progress=Silent(), title="pairs"
        )
        kinds = Counter(item.group for item in items)
        metric = Preference(tuple(sorted(kind for kind, n in kinds.items() if n >= 10)))
        scores = scored(
            metric,  # type: ignore[arg-type]
            metric.statistics(told),
            resamples=1000,
            confidence=0.95,
            seed=0,
        )
        found[name] = {
            "seconds": time.monotonic() - began,
            "kinds": dict(kinds),
            "scores": [to_dict(item) for item in scores],
        }
    return found


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def table(result: dict[str, Any]) -> str:
    """Word all that was measured as Markdown."""
    lines = ["# Bias", "", "Made by `python -m benchmarks.bias DATA`.", ""]
    machine = result["hardware"]
    lines += [f"Machine: {machine.get('cpu', machine)}.", ""]
    if "swaps" in result:
        lines += [
            "## Swapping pronouns of WinoBias",
            "",
            "| pronoun | right | of |",
            "|---|--:|--:|",
        ]
        for name, count in result["swaps"].items():
            share = percent(count["right"] / count["n"])
            lines.append(f"| {name} | {share}% | {count['n']} |")
        lines.append("")
    if "training" in result:
        lines += [
            "## A planted bias, and remedies",
            "",
            "Gap: probability of `positive`, women minus men, tuned model, in points, with the "
            "95% interval of its growth. Flips: share of swapped rows whose class changes. "
            f"{next(iter(result['training'].values()))['steps']} steps of 16 rows each; validation "
            "rows carry the bias too.",
            "",
            "| trained on | rows | accuracy | flips | gap | growth | verdict "
            "| flips, EEC | gap, EEC |",
            "|---|--:|--:|--:|--:|---|---|--:|--:|",
        ]
        for name, of in result["training"].items():
            cells = {}
            for key in ("finding", "corpus"):
                table = of[key]["tables"][0]["comparisons"]
                cells[key] = {item["metric"]: item for item in table}
            shift = next(item for item in cells["finding"] if item.startswith("p("))
            growth = of["finding"]["facts"]["growth"][shift]
            lines.append(
                f"| {name} | {of['rows']} | {percent(of['accuracy']['value'])} "
                f"| {percent(cells['finding']['flip_rate']['tuned'])} "
                f"| {percent(cells['finding'][shift]['tuned'])} "
                f"| {percent(growth['low'])} to {percent(growth['high'])} "
                f"| {of['finding']['verdict']} "
                f"| {percent(cells['corpus']['flip_rate']['tuned'])} "
                f"| {percent(cells['corpus'][shift]['tuned'])} |"
            )
        lines.append("")
    if "pairs" in result:
        lines += [
            "## SmolLM2-135M: the stereotyped sentence is likelier",
            "",
            "| pairs | n | share | 95% interval |",
            "|---|--:|--:|---|",
        ]
        for name, of in result["pairs"].items():
            for item in of["scores"]:
                kind = item["metric"].removeprefix("stereotype_preferred").strip(" ()")
                n = of["kinds"][kind] if kind else item["n"]
                ends = f"{percent(item['low'])} to {percent(item['high'])}"
                lines.append(f"| {name} {kind} | {n} | {percent(item['value'])}% | {ends} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
