"""Plans, folders and summaries of sweeps; the trials themselves are run in e2e."""

import dataclasses
import json
from pathlib import Path

import pytest

from loratory.config import from_mapping, load, to_mapping
from loratory.errors import ConfigError, DataError, RunError
from loratory.sweep import Budget, Sweep, Trial, plan, summary

RECIPE = {
    "model": "some/model",
    "data": "rows.csv",
    "task": "summarization",
    "method": {"name": "lora", "r": 3},
    "seed": 5,
}


def test_trials_differ_in_method_and_seed_alone() -> None:
    recipe = from_mapping(RECIPE)
    trials = plan(recipe, ["lora", {"name": "lora", "r": 4}][:1], 2, Budget(steps=7))
    assert list(trials) == [("lora", 5), ("lora", 6)]
    for (_, seed), config in trials.items():
        assert config.seed == seed and config.data.seed == 5
        assert config.method == recipe.method
        assert (config.train.max_steps, config.train.early_stopping_patience) == (7, None)
    one, other = (to_mapping(config) for config in trials.values())
    assert {key for key in one if one[key] != other[key]} == {"seed", "name"}


def test_a_budget_of_tokens_or_seconds_has_no_schedule() -> None:
    for budget in (Budget(tokens=100), Budget(seconds=2.5)):
        (config,) = plan(from_mapping(RECIPE), ["lora"], 1, budget).values()
        assert config.train.lr_scheduler_type == "constant"
        assert (config.train.max_tokens, config.train.max_seconds) == (
            budget.tokens,
            budget.seconds,
        )
    (config,) = plan(from_mapping(RECIPE), ["lora"], 1).values()
    assert config.train == from_mapping(RECIPE).train


def test_mistakes_are_told_together() -> None:
    recipe = from_mapping(RECIPE)
    with pytest.raises(ConfigError) as caught:
        plan(recipe, ["lora", "lora", "lorra"], 0, Budget(steps=0, tokens=5))
    text = "\n".join(caught.value.problems)
    assert "--steps: 0 is not above 0." in text
    assert "--steps and --tokens: give one" in text
    assert "--seeds: 0" in text and "'lora' is given twice" in text
    with pytest.raises(ConfigError, match=r"unknown 'lorra'. Did you mean 'lora'"):
        plan(recipe, ["lorra"], 1)
    with pytest.raises(ConfigError, match="--methods: none"):
        plan(recipe, [], 1)


@pytest.fixture
def folder(tmp_path: Path) -> Sweep:
    recipe = from_mapping({**RECIPE, "output_dir": str(tmp_path)})
    trials = plan(recipe, ["lora"], 2)
    trials |= {("other", seed): config for (_, seed), config in trials.items()}
    made = Sweep.create(trials, recipe, {"seeds": 2})
    made.facts |= {"headline": "rouge1", "lower_is_better": {"rouge1": False, "ece": True}}
    return made


def test_a_folder_is_read_as_it_was_written(folder: Sweep) -> None:
    assert load(folder.recipe(folder.trials[0])).seed == 5
    done = dataclasses.replace(folder.trials[1], values={"rouge1": 0.5}, trainable=3)
    folder.record(1, done)
    again = Sweep.open(folder.folder)
    assert again.trials == folder.trials and again.trials[1] == done
    assert again.facts == json.loads(json.dumps(folder.facts))
    assert [trial.done for trial in again.trials] == [False, True, False, False]


def test_a_folder_from_before_engines_is_read(folder: Sweep) -> None:
    path = folder.folder / "sweep.json"
    data = json.loads(path.read_text("utf-8"))
    assert data["schema_version"] == 2
    for trial in data["trials"]:
        for name in ("fault", "threads", "began", "ended"):
            del trial[name]
    path.write_text(json.dumps({**data, "schema_version": 1}), encoding="utf-8")
    assert Sweep.open(folder.folder).trials == folder.trials


@pytest.mark.parametrize(
    "text", ["{", '{"trials": [{"x": 1}]}', '{"trials": [], "schema_version": 9}']
)
def test_a_damaged_folder_is_refused(folder: Sweep, text: str) -> None:
    (folder.folder / "sweep.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"sweep\.json"):
        Sweep.open(folder.folder)
    with pytest.raises(RunError, match="not a sweep folder"):
        Sweep.open(folder.folder / "runs")


def fill(folder: Sweep, values: dict[str, list[float]], metric: str = "rouge1") -> None:
    for place, trial in enumerate(folder.trials):
        value = values[trial.method][trial.seed - 5]
        folder.record(
            place,
            dataclasses.replace(
                trial,
                values={metric: value},
                base={metric: 0.1},
                trainable=100 if trial.method == "lora" else 50,
                train_seconds=2.0,
                peak_bytes=1 << 20,
                adapter_bytes=2048,
            ),
        )


def test_a_clear_leader_is_named(folder: Sweep) -> None:
    fill(folder, {"lora": [0.50, 0.52], "other": [0.20, 0.22]})
    found = summary(folder)
    assert [row.method for row in found.rows] == ["lora", "other"]
    assert [(row.leads, row.pareto) for row in found.rows] == [(True, True), (False, True)]
    assert found.sentence == "lora leads in ROUGE-1, beyond what seeds explain."
    assert (
        "| lora | 51.0 ± 1.4 (2) | 100 | 2 KiB | 2 s | 1 MiB | leads, Pareto |" in found.markdown()
    )
    assert "Base model: 10.0." in found.markdown()


def test_no_winner_is_named_inside_the_noise(folder: Sweep) -> None:
    fill(folder, {"lora": [0.50, 0.30], "other": [0.35, 0.42]})
    found = summary(folder)
    assert all(row.leads for row in found.rows)
    assert found.sentence == (
        "lora has the best mean in ROUGE-1; seed noise does not part it from other."
    )


def test_a_metric_may_be_better_when_lower(folder: Sweep) -> None:
    fill(folder, {"lora": [0.50, 0.51], "other": [0.20, 0.21]}, "ece")
    found = summary(folder, "ece")
    assert found.rows[0].method == "other" and found.rows[0].leads
    assert [row.pareto for row in found.rows] == [True, False]


def test_what_was_refused_is_told(folder: Sweep) -> None:
    for place, trial in enumerate(folder.trials):
        values = {"rouge1": 0.5} if trial.method == "lora" else {}
        problem = "" if values else "method.other: not for this model."
        folder.record(place, dataclasses.replace(trial, values=values, problem=problem))
    found = summary(folder)
    assert found.sentence == "Only lora has a result."
    assert "other has no result: method.other: not for this model." in found.markdown()
    with pytest.raises(DataError, match=r"no trial has 'rouge'. Did you mean 'rouge1'"):
        summary(folder, "rouge")


def test_nothing_but_refusals_says_why(tmp_path: Path) -> None:
    empty = Sweep(tmp_path, [Trial("a", 0, problem="method.a: wrong.")], {})
    with pytest.raises(DataError, match=r"no trial has a result: method.a: wrong"):
        summary(empty)


def test_a_method_counts_with_the_rate_that_validated_best(tmp_path: Path) -> None:
    recipe = from_mapping({**RECIPE, "output_dir": str(tmp_path)})
    made = Sweep.create(plan(recipe, ["lora"], 2), recipe, {}, rates=[1e-3, 1e-2])
    assert [(trial.seed, trial.learning_rate) for trial in made.trials] == [
        (5, 1e-3),
        (5, 1e-2),
        (6, None),
    ]
    assert made.rate("lora") is None
    made.facts |= {"headline": "rouge1", "lower_is_better": {"rouge1": False}}
    # The rate that tests best is not the one that validates best.
    for place, (loss, value) in enumerate([(2.0, 0.9), (1.5, 0.4)]):
        trial = dataclasses.replace(
            made.trials[place], validation_loss=loss, values={"rouge1": value}
        )
        made.record(place, trial)
    assert made.rate("lora") == 1e-2
    last = dataclasses.replace(
        made.trials[2], learning_rate=1e-2, validation_loss=1.7, values={"rouge1": 0.6}
    )
    made.record(2, last)
    found = summary(Sweep.open(made.folder))
    (row,) = found.rows
    assert row.quality.mean == 0.5 and row.quality.n == 2
    assert "| lora (learning rate 0.01) | 50.0" in found.markdown()
