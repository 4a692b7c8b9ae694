"""Where systems stand: which are spoken of, and when a band is named."""

from dataclasses import replace

from test_report_data import N, place

from loratory.records import Score
from loratory.report.standing import standing


def score(metric: str, value: float | None) -> Score:
    return Score(metric, value, value, value, N, f"{metric}|v:1")


def test_a_band_stands_only_beside_a_place() -> None:
    scores = {"base": [score("rougeLsum", 0.3)], "tuned": [score("rougeLsum", 0.4)]}
    (sentence,) = standing(scores, [place("lead", 0.5, 0.4, 0.6)], "rougeLsum")
    assert sentence == (
        "Tuned, ROUGE-Lsum 40.0: moderate (band), 50% (95% interval 40% to 60%) of the way from "
        "random summary to the best baseline (lead)."
    )
    assert standing(scores, [], "rougeLsum") == ()
    assert standing(scores, [place("lead", 0.5, 0.4, 0.6)], "rouge1") == ()
    assert (
        standing({"tuned": [score("rougeLsum", None)]}, [place("lead", 0, 0, 0)], "rougeLsum") == ()
    )


def test_other_metrics_have_no_band() -> None:
    scores = {"tuned": [score("bleu", 0.3)]}
    found = replace(place("lead", 0.5, 0.4, 0.6), metric="bleu")
    assert standing(scores, [found], "bleu")[0].startswith("Tuned, BLEU 30.0: 50% (95%")
