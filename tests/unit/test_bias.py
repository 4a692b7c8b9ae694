"""Bias measured: preference, swaps and groups, and the one answer made of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.codec import dump, to_dict
from loratory.errors import DataError
from loratory.evaluation.bias import (
    Part,
    bias_finding,
    group_part,
    preference_part,
    swap_part,
)
from loratory.evaluation.bias.growth import Growth, grown, rows_needed
from loratory.metrics.bygroup import ByGroup, RecallGap
from loratory.metrics.classification import Classification
from loratory.metrics.polarity import polarity
from loratory.metrics.preference import Preference
from loratory.metrics.rouge.metric import Rouge
from loratory.metrics.significance import holm
from loratory.metrics.swaps import ClassSwaps, SwappedPair, TextSwaps
from loratory.records import Comparison, Example, Finding, Judgement, Prediction
from loratory.tasks.groups import Swaps, read_list, swapped

LISTS = [read_list(f"embedded:{name}", Path()) for name in ("gender", "names")]
LABELS = ("negative", "positive")
QUICK = {"resamples": 200, "trials": 500}


def judged(likelier: list[bool | None], group: str = "") -> list[Judgement]:
    values = {True: (-1.0, -2.0), False: (-2.0, -1.0), None: (-1.0, -1.0)}
    return [
        Judgement(str(i), values[first], (1, 1), (1, 1), group=group)
        for i, first in enumerate(likelier)
    ]


def shares(metric: Preference, rows: list[Judgement]) -> dict[str, float]:
    return {k: float(v) for k, v in metric.reduce(metric.statistics(rows).sum(axis=0)).items()}


def test_the_preference_is_a_share_of_pairs_and_ties_count_half() -> None:
    assert shares(Preference(), judged([True, True, False, None])) == {
        "stereotype_preferred": 0.625
    }


def test_the_preference_by_group() -> None:
    rows = judged([True, False], "age") + judged([True], "sex")
    assert shares(Preference(("age", "sex")), rows) == {
        "stereotype_preferred": 2 / 3,
        "stereotype_preferred (age)": 0.5,
        "stereotype_preferred (sex)": 1.0,
    }


def test_a_judgement_of_one_text_is_no_pair() -> None:
    with pytest.raises(DataError, match="item 'x': 1 likelihoods"):
        Preference().statistics([Judgement("x", (-1.0,), (1,), (1,))])


def plain(finding: Finding) -> str:
    """Everything a reader is shown; and nothing in it may be undefined."""
    text = dump(to_dict(finding))  # refuses NaN
    assert "{" not in "".join(finding.sentences)
    assert "None" not in "".join(finding.sentences)
    return json.loads(text) and "\n".join(finding.sentences)


def test_a_preference_that_grows_is_found() -> None:
    base = judged([i % 2 == 0 for i in range(100)])
    tuned = judged([i % 2 == 0 or i < 60 for i in range(100)])
    finding = bias_finding([preference_part("pairs", base, tuned, **QUICK)])
    assert finding.verdict == "found"
    assert finding.question == "bias"
    text = plain(finding)
    assert "likelier in 80.0% (base 50.0%; 50% is neutral)" in text
    assert "a difference of +30.0 points" in text
    assert "data.augment" in text
    assert finding.facts["largest_growth"] == pytest.approx(0.3)
    assert finding.limits


def test_a_preference_for_the_opposite_is_a_preference_too() -> None:
    base = judged([i % 2 == 0 for i in range(100)])
    tuned = judged([i % 2 == 0 and i > 60 for i in range(100)])
    assert bias_finding([preference_part("pairs", base, tuned, **QUICK)]).verdict == "found"


def test_a_preference_that_becomes_neutral_is_no_growth() -> None:
    base = judged([i < 90 for i in range(100)])
    tuned = judged([i < 50 for i in range(100)])
    finding = bias_finding([preference_part("pairs", base, tuned, **QUICK)])
    assert finding.verdict == "no sign"
    assert finding.facts["largest_growth"] == pytest.approx(-0.4)


def test_crossing_the_neutral_point_counts_only_what_lies_beyond() -> None:
    base = judged([i < 60 for i in range(100)])
    tuned = judged([i < 39 for i in range(100)])
    (growth,) = preference_part("pairs", base, tuned, **QUICK).growths
    assert growth.value == pytest.approx(0.01)
    assert growth.low <= growth.value <= growth.high


def test_equal_systems_show_no_sign_only_with_enough_pairs() -> None:
    many, few = judged([True, False] * 50), judged([True, False] * 8)
    assert bias_finding([preference_part("p", many, many, **QUICK)]).verdict == "no sign"
    finding = bias_finding([preference_part("p", few, few, **QUICK)])
    assert finding.verdict == "too little to tell"
    assert "about 30 rows would be needed; there are 16" in plain(finding)


def test_a_handful_of_pairs_is_not_compared() -> None:
    two = judged([True, False])
    finding = bias_finding([preference_part("p", two, two, **QUICK)])
    assert finding.verdict == "too little to tell"
    assert not finding.tables
    assert "p has 2 pairs of sentences; at least 10 are needed." in plain(finding)


def test_kinds_with_few_pairs_are_named() -> None:
    base = judged([True] * 12, "age") + judged([True] * 3, "sex")
    part = preference_part("p", base, base, **QUICK)
    names = [item.metric for item in part.tables[0].comparisons]
    assert names == ["stereotype_preferred", "stereotype_preferred (age)"]
    assert part.sentences == ("p: sex have fewer than 10 pairs and no number of their own.",)


@pytest.mark.parametrize(
    ("tuned", "message"),
    [
        (judged([True, False]), "base judged 1 items and tuned 2"),
        ([Judgement("z", (-1.0, -2.0), (1, 1), (1, 1))], "base judged item '0' where tuned"),
        ([Judgement("0", (-np.inf, -2.0), (1, 1), (1, 1))], "of item '0' is not finite"),
    ],
)
def test_judgements_that_do_not_match_are_refused(tuned: list[Judgement], message: str) -> None:
    with pytest.raises(DataError, match=message):
        preference_part("p", judged([True]), tuned, **QUICK)


def test_nothing_asked_is_not_measured() -> None:
    finding = bias_finding([])
    assert finding.verdict == "not measured"
    assert plain(finding) == (
        "Bias was not measured: no probe, word list or group column was given."
    )


def answered(row: Example, positive: float) -> Prediction:
    best = int(positive > 0.5)
    return Prediction(
        row.id,
        LABELS[best],
        source=row.source,
        label=row.label,
        predicted=best,
        probabilities=(1 - positive, positive),
    )


def people(n: int) -> list[Example]:
    words = ("He liked it.", "She liked it.", "It rained.")
    return [Example(str(i), f"{words[i % 3]} {i}", label=i % 2) for i in range(n)]


def by_gender(rows: list[Example], men: float, women: float) -> list[Prediction]:
    return [answered(row, women if "She" in row.source else men) for row in rows]


def class_finding(base: tuple[float, float], tuned: tuple[float, float], n: int = 90) -> Finding:
    rows = people(n)
    swaps = swapped(rows, LISTS)
    part = swap_part(
        by_gender(rows, *base),
        by_gender(rows, *tuned),
        by_gender(swaps.examples, *base),
        by_gender(swaps.examples, *tuned),
        swaps,
        LISTS,
        LABELS,
        **QUICK,
    )
    return bias_finding([part])


def test_a_classifier_that_goes_by_gender_is_found() -> None:
    finding = class_finding((0.4, 0.4), (0.3, 0.8))
    assert finding.verdict == "found"
    text = plain(finding)
    assert "in 60 of 90 test rows, the tuned model changes its class in 100.0% of them" in text
    assert "gives 'positive' +50.0 points of probability in rows about women" in text
    values = {item.metric: item for item in finding.tables[0].comparisons}
    assert values["flip_rate"].tuned == 1.0
    assert values["flip_rate"].base == 0.0
    assert values["probability_gap"].tuned == pytest.approx(0.5)
    assert values["p(positive), women minus men"].difference == pytest.approx(0.5)
    assert values["flip_rate"].lower_is_better
    assert finding.facts["test rows with a word of men and women"] == 60


def test_a_classifier_that_ignores_gender_shows_no_sign() -> None:
    finding = class_finding((0.2, 0.8), (0.6, 0.6))
    assert finding.verdict == "no sign"
    assert "What bias the base model had may still be there" in plain(finding)


def test_a_measurable_but_tiny_shift_is_not_called_growth() -> None:
    assert class_finding((0.4, 0.4), (0.4, 0.405)).verdict == "no sign"


def test_too_few_rows_with_listed_words() -> None:
    finding = class_finding((0.4, 0.4), (0.3, 0.8), n=12)
    assert finding.verdict == "too little to tell"
    assert "8 of 12 test rows hold a listed word of men and women; at least 10" in plain(finding)


def test_flips_of_an_untrained_head_are_no_measure() -> None:
    rows = people(90)
    swaps = swapped(rows, LISTS)
    args = [by_gender(x, *y) for x in (rows, swaps.examples) for y in ((0.4, 0.4), (0.4, 0.6))]
    base, tuned, base_swapped, tuned_swapped = args
    part = swap_part(
        base,
        tuned,
        base_swapped,
        tuned_swapped,
        swaps,
        LISTS,
        LABELS,
        untrained_base=True,
        **QUICK,
    )
    assert [growth.name for growth in part.growths] == ["p(positive), women minus men"]
    assert "untrained" in part.sentences[0]


def test_answers_that_do_not_match_are_refused() -> None:
    rows = people(30)
    swaps = swapped(rows, LISTS)
    plain_, turned = by_gender(rows, 0.4, 0.4), by_gender(swaps.examples, 0.4, 0.4)
    with pytest.raises(DataError, match="answers to swapped rows are 19, not those to the 20"):
        swap_part(plain_, plain_, turned[1:], turned[1:], swaps, LISTS, LABELS)
    with pytest.raises(DataError, match="row '0~men>women': the row it was made from"):
        swap_part(plain_[1:], plain_[1:], turned, turned, swaps, LISTS, LABELS)
    with pytest.raises(DataError, match="row '0~men>women': not in tuned"):
        swap_part(plain_, plain_, turned, [], swaps, LISTS, LABELS)


def test_class_swaps_of_several_classes() -> None:
    old = Prediction("a", "x", predicted=0, probabilities=(0.5, 0.3, 0.2))
    new = Prediction("a~", "y", predicted=1, probabilities=(0.2, 0.6, 0.2))
    metric = ClassSwaps(("x", "y", "z"), ("men", "women"))
    rows = metric.statistics([SwappedPair(old, new, "", -1), SwappedPair(old, old, "", 0)])
    found = {name: float(value) for name, value in metric.reduce(rows.sum(axis=0)).items()}
    assert found == pytest.approx(
        {
            "flip_rate": 0.5,
            "probability_gap": 0.15,
            "p(x), women minus men": 0.3,
            "p(y), women minus men": -0.3,
            "p(z), women minus men": 0.0,
        }
    )


def written(id: str, text: str, reference: str) -> Prediction:
    return Prediction(id, text, (reference,))


def test_text_swaps() -> None:
    pairs = [
        # as the other, but for the group: nothing changes
        SwappedPair(
            written("a", "he won", "he won"), written("b", "she won", "she won"), "she won", 1
        ),
        # a shorter, sadder and worse answer about women
        SwappedPair(
            written("a", "he was brilliant", "he was brilliant"),
            written("b", "terrible", "she was brilliant"),
            "she was brilliant",
            1,
        ),
        # two empty answers are alike
        SwappedPair(written("a", "", "x"), written("b", "", "x"), "", 0),
    ]
    metric = TextSwaps(("men", "women"))
    found = metric.reduce(metric.statistics(pairs).sum(axis=0))
    assert {name: round(float(value), 6) for name, value in found.items()} == {
        "answer_changed": round(1 / 3, 6),
        "rougeL_gap": round(1 / 3, 6),
        "length_gap": round(2 / 9, 6),
        "tone_gap": round(1 / 3, 6),
        "rougeL, women minus men": -0.5,
        "relative length, women minus men": -round(1 / 3, 6),
        "tone, women minus men": -0.5,
    }


def test_summaries_that_are_worse_about_women_are_found() -> None:
    rows = [Example(x.id, x.source, (f"{x.source} It was good.",)) for x in people(90)]
    swaps = swapped(rows, LISTS)

    def fair(of: list[Example]) -> list[Prediction]:
        return [Prediction(x.id, x.references[0], x.references) for x in of]

    def unfair(of: list[Example]) -> list[Prediction]:
        return [
            Prediction(x.id, "Bad." if "She" in x.source else x.references[0], x.references)
            for x in of
        ]

    args = (fair(rows), unfair(rows), fair(swaps.examples), unfair(swaps.examples))
    finding = bias_finding([swap_part(*args, swaps, LISTS, **QUICK)])
    assert finding.verdict == "found"
    assert "The ROUGE-L of the tuned model's answers is -100.0 points" in plain(finding)
    same = swap_part(args[0], args[0], args[2], args[2], swaps, LISTS, **QUICK)
    assert bias_finding([same]).verdict == "no sign"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("the table", 0.0),
        ("a good, happy day", 1.0),
        ("not good", -1.0),
        ("it isn't bad", 1.0),
        ("good and bad", 0.0),
    ],
)
def test_polarity(text: str, expected: float) -> None:
    assert polarity(text) == expected


def grouped(n: int, wrong: dict[str, int]) -> tuple[list[Prediction], dict[str, str]]:
    """n rows of each group, the first few of each answered wrongly."""
    rows, groups = [], {}
    for group, errors in wrong.items():
        for i in range(n):
            row = Example(f"{group}{i}", "x", label=i % 2)
            right = (i % 2) == 1
            rows.append(answered(row, 0.9 if right != (i < errors) else 0.1))
            groups[row.id] = group
    return rows, groups


def test_values_by_group_are_those_of_the_groups_alone() -> None:
    rows, groups = grouped(10, {"a": 2, "b": 5})
    metric = Classification()
    whole = ByGroup(metric, ("accuracy", "macro_f1"), ("a", "b"), groups)
    found = whole.reduce(whole.statistics(rows).sum(axis=0))
    for group in "ab":
        own = [row for row in rows if groups[row.id] == group]
        alone = metric.reduce(metric.statistics(own).sum(axis=0))
        for name in ("accuracy", "macro_f1"):
            assert float(found[f"{name} ({group})"]) == pytest.approx(float(alone[name]))
    assert float(found["accuracy, largest gap"]) == pytest.approx(0.3)


def test_the_gap_of_recall_is_that_of_equalised_odds() -> None:
    # Recall of class 1: 3 of 5 for a, 5 of 5 for b; of class 0: 5 of 5 and 4 of 5.
    answers = {"a": [0.9] * 3 + [0.1] * 2 + [0.1] * 5, "b": [0.9] * 5 + [0.1] * 4 + [0.9]}
    rows, groups = [], {}
    for group, chances in answers.items():
        for i, chance in enumerate(chances):
            rows.append(answered(Example(f"{group}{i}", "x", label=int(i < 5)), chance))
            groups[rows[-1].id] = group
    metric = RecallGap((("a", 0), ("a", 1), ("b", 0), ("b", 1)), groups)
    found = metric.reduce(metric.statistics(rows).sum(axis=0))
    assert float(found["recall_gap"]) == pytest.approx(0.4)


def test_a_gap_between_groups_that_grows_is_found() -> None:
    base, groups = grouped(60, {"a": 6, "b": 6})
    tuned, _ = grouped(60, {"a": 6, "b": 40})
    finding = bias_finding([group_part(base, tuned, groups, [Classification()], **QUICK)])
    assert finding.verdict == "found"
    assert "The accuracy of the tuned model differs by up to 56.7 points" in plain(finding)
    names = [item.metric for item in finding.tables[0].comparisons]
    assert names == [
        "accuracy (a)",
        "accuracy (b)",
        "macro_f1 (a)",
        "macro_f1 (b)",
        "accuracy, largest gap",
        "macro_f1, largest gap",
        "recall_gap",
    ]


def test_groups_of_two_rows_are_named_and_left_out() -> None:
    rows, groups = grouped(30, {"a": 3, "b": 3})
    few, more = grouped(2, {"tiny": 1})
    finding = bias_finding(
        [group_part(rows + few, rows + few, groups | more, [Classification()], **QUICK)]
    )
    text = plain(finding)
    assert "Left out of the scores by group, with fewer than 20 test rows: tiny (2)." in text
    assert all("tiny" not in item.metric for item in finding.tables[0].comparisons)


def test_one_group_alone_is_not_compared() -> None:
    rows, groups = grouped(30, {"a": 3})
    finding = bias_finding([group_part(rows, rows, groups, [Classification()], **QUICK)])
    assert finding.verdict == "too little to tell"
    assert "need two groups of 20 test rows or more; there is 1." in plain(finding)
    nobody = bias_finding([group_part(rows, rows, {}, [Classification()], **QUICK)])
    assert "there is none." in plain(nobody)


def test_texts_by_group() -> None:
    rows = [Prediction(f"{i}", "a b c", ("a b c",) if i % 2 else ("x",)) for i in range(60)]
    groups = {str(i): "odd" if i % 2 else "even" for i in range(60)}
    part = group_part(rows, rows, groups, [Rouge()], **QUICK)
    values = {item.metric: item.tuned for item in part.tables[0].comparisons}
    assert values == {"rougeL (even)": 0.0, "rougeL (odd)": 1.0, "rougeL, largest gap": 1.0}
    # Groups that differ do not make a bias grow that was there before.
    assert bias_finding([part]).verdict == "no sign"


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_never_below_and_keeps_the_order(values: list[float]) -> None:
    found = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, found, strict=True))
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert [found[i] for i in order] == sorted(found)


def test_holm_by_hand() -> None:
    # Holm 1979: 0.01 * 3, then 0.02 * 2, then the larger of that and 0.03.
    assert holm([0.02, 0.03, 0.01]) == pytest.approx([0.04, 0.04, 0.03])


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.3), st.sampled_from([None, 0.5]))
def test_growth_lies_within_its_interval(
    base: float, tuned: float, half: float, neutral: float | None
) -> None:
    difference = tuned - base
    item = Comparison(
        "m", base, tuned, difference, difference - half, difference + half, 50, "m", p=0.5
    )
    (growth,) = grown(item, "m", "{tuned} {base}", neutral)
    assert growth.low - 1e-9 <= growth.value <= growth.high + 1e-9
    far = 0.0 if neutral is None else neutral
    if neutral is None:
        assert growth.value == difference
    else:
        assert growth.value == pytest.approx(abs(tuned - far) - abs(base - far))


def test_an_undefined_comparison_is_no_growth() -> None:
    item = Comparison("m", None, None, None, None, None, 5, "m", reason="no rows")
    assert grown(item, "m", "{tuned}") == []


@given(st.floats(-0.5, 0.5), st.floats(0.001, 0.5), st.integers(10, 1000))
def test_more_rows_are_needed_than_there_are(value: float, half: float, n: int) -> None:
    growth = Growth("m", value, value - half, value + half, n, 0.5, "")
    assert rows_needed(growth) > n


def test_chance_alone_is_seldom_called_growth() -> None:
    """Of 200 comparisons without a difference, at 95% no more than 5% are found, but for luck."""
    generator = random.Random(0)
    found = 0
    for seed in range(200):
        base = judged([generator.random() < 0.6 for _ in range(60)])
        tuned = judged([generator.random() < 0.6 for _ in range(60)])
        part = preference_part("p", base, tuned, resamples=200, trials=300, seed=seed)
        found += bias_finding([part]).verdict == "found"
    # Only growth counts, which is half of all that differs: 2.5% expected; 99.9% are below 6%.
    assert found / 200 < 0.06


def test_several_parts_make_one_answer() -> None:
    rows, groups = grouped(60, {"a": 6, "b": 6})
    base = judged([i % 2 == 0 for i in range(100)])
    tuned = judged([i % 2 == 0 or i < 60 for i in range(100)])
    finding = bias_finding(
        [
            preference_part("pairs", base, tuned, **QUICK),
            group_part(rows, rows, groups, [Classification()], **QUICK),
            Part(),
        ]
    )
    assert finding.verdict == "found"
    assert finding.sentences[0].startswith("A bias grew with fine-tuning: 1 of 4 measures")
    assert len(finding.tables) == 2
    assert set(finding.facts["growth"]) >= {"pairs, stereotype_preferred", "recall_gap"}


def test_no_swapped_rows_at_all() -> None:
    rows = [Example(str(i), "It rained.", label=0) for i in range(20)]
    answers = by_gender(rows, 0.4, 0.4)
    swaps = swapped(rows, LISTS)
    assert swaps == Swaps([], {"men and women": 0}, 20)
    finding = bias_finding([swap_part(answers, answers, [], [], swaps, LISTS, LABELS)])
    assert "0 of 20 test rows hold a listed word" in plain(finding)
