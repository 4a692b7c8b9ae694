"""ROUGE 2.0 as the metric of a recipe."""

import numpy as np
import pytest

from loratory.config import from_mapping
from loratory.errors import ConfigError
from loratory.evaluation.score import score
from loratory.metrics.rouge.rouge2 import Rouge2, rouge2
from loratory.records import Prediction

ROWS = [
    Prediction("1", "the quick car", ("a car",)),
    Prediction("2", "", ("a house", "an old house")),
    Prediction("3", "an old house by the sea", ("a house", "an old house")),
]


def test_the_mean_of_the_chosen_part() -> None:
    texts, groups = [row.text for row in ROWS], [row.references for row in ROWS]
    found = rouge2(texts, groups)
    for part in ("f", "precision", "recall"):
        scores = score(ROWS, [Rouge2(part=part)], resamples=20)  # type: ignore[arg-type]
        expected = [float(np.mean(getattr(values, part))) for values in found.values()]
        assert [x.value for x in scores] == pytest.approx(expected, abs=1e-15)
    assert [x.metric for x in scores] == ["rougeTopic", "rougeTopicUniq"]
    assert scores[0].signature == (
        "rougeTopic|ref:ganesan2018|topic:content|stem:yes|tokens:rouge_score|part:recall|beta:1.0"
        "|v:1"
    )


def test_a_recipe_names_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("data") / "synonyms.txt"
    file.write_text("car, automobile\n", encoding="utf-8")
    recipe = {"model": "gpt2", "data": "a.csv", "task": "summarization"}
    metric = {"name": "rouge2", "types": ["rougeL+Synonyms"], "synonyms": str(file)}
    config = from_mapping({**recipe, "metrics": [metric]})
    assert config.metrics == (Rouge2(types=("rougeL+Synonyms",), synonyms=str(file)),)
    with pytest.raises(ConfigError, match=r"synonyms: 'no\.txt' is neither a source nor a file"):
        from_mapping({**recipe, "metrics": [{**metric, "synonyms": "no.txt"}]})


@pytest.mark.parametrize(
    ("metric", "problems"),
    [
        (Rouge2(part="g"), ["part: unknown 'g'. Available: f, precision, recall."]),  # type: ignore[arg-type]
        (
            Rouge2(synonyms="wordnet"),
            ["synonyms: no type ends in +Synonyms, so they would not be used."],
        ),
        (Rouge2(beta=-1.0), ["beta: -1.0 is not a weight; give 0 or more, 1 for plain F."]),
    ],
)
def test_problems(metric: Rouge2, problems: list[str]) -> None:
    assert metric.problems() == problems
