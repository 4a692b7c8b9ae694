"""Comparing runs from stored predictions: several seeds as one, and what difference matters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import loratory
from loratory import evaluation
from loratory.codec import from_dict
from loratory.config import EvaluateConfig, from_mapping
from loratory.errors import ConfigError, DataError
from loratory.evaluation.verdict import RELEVANT
from loratory.metrics.classification import Classification
from loratory.records import Comparison, Prediction
from loratory.runs import Run

N = 400
LUCKY = (0.8, 0.5, 0.55)
"""Shares of right answers of three trainings, of which one is far better than the base model."""


def labelled(share: float, seed: int, n: int = N) -> list[Prediction]:
    right = np.random.default_rng(seed).random(n) < share
    return [Prediction(f"row {i}", "", label=0, predicted=int(not r)) for i, r in enumerate(right)]


def make(folder: Path, seed: int, share: float | None, n: int = N, **changes) -> Run:
    """A run whose base model is right in half the rows, with nothing but what is compared."""
    recipe = {
        "model": "m",
        "data": {"name": "d.csv", "seed": 0},
        "task": {"name": "classification", "labels": ["a", "b"]},
        "metrics": ["classification"],
        "output_dir": str(folder / str(seed)),
        "name": f"seed-{seed}",
        "seed": seed,
    }
    run = Run.create(from_mapping({**recipe, **changes}), {"model": {"name": "m"}})
    if share is not None:
        (run.folder / "adapter").mkdir()
        run.write_predictions("base", labelled(0.5, 100, n))
        run.write_predictions("tuned", labelled(share, seed, n))
    return run


def three(folder: Path, shares: tuple[float, ...], **changes) -> list[Run]:
    return [make(folder, seed, share, **changes) for seed, share in enumerate(shares)]


def accuracy(items: list[Comparison]) -> Comparison:
    return next(item for item in items if item.metric == "accuracy")


def alone(run: Run) -> Comparison:
    base, tuned = run.predictions("base"), run.predictions("tuned")
    return accuracy(evaluation.compare(base, tuned, run.config.metrics, resamples=200, trials=200))


def width(item: Comparison) -> float:
    assert item.low is not None and item.high is not None
    return item.high - item.low


def test_seeds_that_disagree_widen_the_interval_and_are_no_improvement(tmp_path: Path) -> None:
    runs = three(tmp_path, LUCKY)
    found = accuracy(loratory.compare_seeds(runs))
    singles = [alone(run) for run in runs]
    assert found.seeds == 3 and found.n == N
    assert found.difference == pytest.approx(np.mean([one.difference for one in singles]))
    assert width(found) > 2 * max(map(width, singles))
    # The lucky training by itself would be believed; the three together are not.
    assert singles[0].improved and not found.improved
    assert found.low is not None and found.low < 0


def test_seeds_that_agree_are_an_improvement(tmp_path: Path) -> None:
    found = accuracy(loratory.compare_seeds(three(tmp_path, (0.8, 0.79, 0.81))))
    assert found.improved and found.low is not None and found.low > 0.1


@pytest.mark.slow
def test_where_only_seeds_vary_no_gain_is_claimed_more_often_than_promised() -> None:
    """Trainings whose true gains scatter around none: 200 sets of three, at most 5% and chance."""
    generator = np.random.default_rng(5)
    claimed = believed = 0
    for trial in range(200):
        base = labelled(0.5, 10_000 + trial, 100)
        shares = np.clip(0.5 + generator.normal(0, 0.15, 3), 0, 1)
        runs = [
            (base, labelled(share, 3 * trial + place, 100)) for place, share in enumerate(shares)
        ]
        several = accuracy(evaluation.compare_seeds(runs, [Classification()]))
        first = accuracy(evaluation.compare(*runs[0], [Classification()], resamples=20, trials=20))
        claimed += several.improved or several.worsened
        believed += first.improved or first.worsened
    # 5% of 200 are 10, and 3.1 standard deviations of a binomial are 9.6 more.
    assert claimed <= 19
    assert believed > 40  # the interval of rows alone is far too narrow for this question


def test_the_table_says_over_how_many_seeds_and_rows(tmp_path: Path, cli) -> None:
    runs = three(tmp_path, LUCKY)
    code, out, err = cli("compare", *(run.folder for run in runs))
    assert (code, err) == (0, "")
    assert out.startswith("base → tuned, 400 test rows") and "Accuracy" in out
    assert " ".join(out.split()).endswith(
        "Means over 3 seeds (0, 1, 2), each on the same 400 test rows; the intervals hold what "
        "other seeds and other rows would change."
    )
    assert max(map(len, out.splitlines())) <= 80
    assert not (runs[0].folder / "comparison.json").exists()


def test_json_has_the_seeds_and_every_number(tmp_path: Path, cli) -> None:
    runs = three(tmp_path, LUCKY)
    code, out, _ = cli("compare", *(run.folder for run in runs), "--json")
    found = json.loads(out)
    assert code == 0 and found["seeds"] == [0, 1, 2]
    assert [from_dict(Comparison, item, "") for item in found["comparison"]] == (
        loratory.compare_seeds(runs)
    )


def refusal(answer) -> str:
    """The one sentence of a command that was refused."""
    assert (answer.code, answer.out) == (2, ""), answer
    (sentence,) = answer.sentences
    return sentence


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": {"name": "lora", "r": 3}}, ": method.r is 3, and 8 in "),
        ({"method": "ia3"}, ': method.name is "ia3", and "lora" in '),
        ({"data": {"name": "d.csv", "seed": 5}}, ": data.seed is 5, and 0 in "),
        (
            {"train": {"learning_rate": 0.1, "max_steps": 5}},
            ": train.max_steps is 5, and -1 in ",
        ),
    ],
)
def test_recipes_that_differ_in_more_than_the_seed(tmp_path: Path, cli, changes, said) -> None:
    one, two = make(tmp_path, 0, 0.7), make(tmp_path, 1, 0.7, **changes)
    sentence = refusal(cli("compare", one.folder, two.folder))
    assert sentence.startswith(f"loratory: {two.folder}{said}{one.folder}")
    assert sentence.endswith("Give runs of one recipe that differ in their seed alone.")
    assert ("1 other field differs too" in sentence) == ("train" in changes)


def test_what_says_the_same_in_other_words_is_no_difference(tmp_path: Path, cli) -> None:
    one, two = make(tmp_path, 0, 0.7), make(tmp_path, 1, 0.7, metrics=[], train={})
    assert cli("compare", one.folder, two.folder).code == 0


def test_another_base_model_under_the_same_name(tmp_path: Path, cli) -> None:
    runs = three(tmp_path, LUCKY[:2])
    for run in runs:
        run.record(model={"fingerprint": f"sha256:{run.config.seed}"})
    sentence = refusal(cli("compare", *(run.folder for run in runs)))
    assert "its base model has other files than that of" in sentence


def test_one_seed_twice(tmp_path: Path, cli) -> None:
    run = make(tmp_path, 7, 0.7)
    sentence = refusal(cli("compare", run.folder, run.folder))
    assert f"{run.folder}: its seed is 7, as that of {run.folder}" in sentence


def test_a_stage_that_was_not_run_is_named(tmp_path: Path, cli) -> None:
    whole, bare = make(tmp_path, 0, 0.7), make(tmp_path, 1, None)
    sentence = refusal(cli("compare", whole.folder, bare.folder))
    assert sentence.endswith(f"has no adapter yet. Run: loratory train {bare.folder}")
    (bare.folder / "adapter").mkdir()
    sentence = refusal(cli("compare", whole.folder, bare.folder))
    assert sentence.endswith(f"Run: loratory predict {bare.folder}")
    bare.write_predictions("base", whole.predictions("base"))
    sentence = refusal(cli("compare", whole.folder, bare.folder))
    assert "has no predictions/tuned/" in sentence and "loratory predict" in sentence


def test_other_test_rows_name_a_row(tmp_path: Path, cli) -> None:
    one, two = make(tmp_path, 0, 0.7), make(tmp_path, 1, 0.7, n=N - 1)
    sentence = refusal(cli("compare", one.folder, two.folder))
    assert sentence.startswith(f"loratory: row 'row {N - 1}': not in {two.folder}.")
    assert "data.seed" not in sentence  # it is set already
    data = {"name": "d.csv"}
    one, two = make(tmp_path, 2, 0.7, data=data), make(tmp_path, 3, 0.7, data=data, n=N - 1)
    sentence = refusal(cli("compare", one.folder, two.folder))
    assert "With data.seed set in the recipe" in sentence
    two.write_predictions("base", list(reversed(labelled(0.5, 100))))
    two.write_predictions("tuned", list(reversed(labelled(0.7, 3))))
    sentence = refusal(cli("compare", one.folder, two.folder))
    assert sentence.startswith(f"loratory: row 'row 0': number 1 of {one.folder} is number 1 ")


def test_runs_and_files_do_not_mix(tmp_path: Path, cli, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = make(tmp_path, 0, 0.7)
    file = run.folder / "predictions" / "base" / "classification.jsonl"
    for sources in ((run.folder, file), (file, run.folder), (run.folder, "-")):
        assert "a file among run folders" in refusal(cli("compare", *sources))
    gone = tmp_path / "gone"
    assert f"{gone}: neither a run folder nor" in refusal(cli("compare", run.folder, gone))
    (tmp_path / "empty").mkdir()
    assert "not a run folder" in refusal(cli("compare", run.folder, tmp_path / "empty"))
    sentence = refusal(cli("compare", run.folder, run.folder, "--samples", "5"))
    assert "--samples: only for files" in sentence


def test_from_python_one_run_has_no_spread(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="seeds: 1 given, and a spread needs at least 2"):
        loratory.compare_seeds([make(tmp_path, 0, 0.7)])
    with pytest.raises(DataError, match="seeds: 0 given"):
        loratory.compare_seeds([])
    with pytest.raises(DataError, match="seeds: 1 given"):
        evaluation.compare_seeds([([], [])], [])


def test_the_recipes_default_is_the_libraries() -> None:
    assert EvaluateConfig().relevant == RELEVANT


def test_what_matters_changes_the_verdict_over_seeds(tmp_path: Path) -> None:
    verdicts = {
        relevant: accuracy(
            loratory.compare_seeds(
                three(tmp_path / str(relevant), (0.52, 0.5, 0.54), evaluate={"relevant": relevant})
            )
        )
        for relevant in (0.02, 0.9)
    }
    assert [item.verdict for item in verdicts.values()] == ["test too small", "no evidence"]
    assert [item.relevant for item in verdicts.values()] == [0.02, 0.9]


def test_what_matters_changes_the_verdict_of_a_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("loratory.pipeline.stages.findings", lambda run: [])  # they need a training
    verdicts = []
    for relevant in (0.02, 0.3, 0.02):
        run = make(tmp_path, 0, 0.52, evaluate={"relevant": relevant})
        loratory.compare(run)
        found = accuracy(run.comparison())
        assert found.relevant == relevant and not found.improved
        verdicts.append(found.verdict)
    assert verdicts == ["test too small", "no evidence", "test too small"]


@pytest.mark.parametrize(
    ("value", "wanted"), [(0, "greater than 0"), (2, "less than 1"), ("2%", "a valid number")]
)
def test_what_cannot_be_the_smallest_difference_that_matters(value, wanted: str) -> None:
    recipe = {"model": "m", "data": "d.csv", "task": "summarization"}
    with pytest.raises(ConfigError) as caught:
        from_mapping({**recipe, "evaluate": {"relevant": value}})
    (problem,) = caught.value.problems
    assert problem == f"evaluate.relevant: got {value!r}; it must be {wanted}."
