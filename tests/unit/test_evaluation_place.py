"""Human agreement and the place of a score: cases on paper, laws, and real references."""

import dataclasses
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory import evaluation
from loratory.codec import from_dict, to_dict
from loratory.errors import ConfigError, DataError
from loratory.metrics.classification import Classification
from loratory.metrics.extractiveness import Extractiveness
from loratory.metrics.generation import Length
from loratory.metrics.rouge import Rouge, rouge
from loratory.records import Place, Prediction
from loratory.tasks.summarization import Summarization
from realdata import real_rows

ONE = [Rouge(types=("rouge1",))]


def row(id: str, text: str, *references: str) -> Prediction:
    return Prediction(id, text, references)


def f1(a: str, b: str) -> float:
    return float(rouge([a], [b], ["rouge1"])["rouge1"].f[0])


def test_two_references_on_paper() -> None:
    # "a b" against "a c" shares 1 of 2 words both ways: F 1/2 for either reference.
    # "a" against "a b" is P 1, R 1/2: F 2/3, and against "a c" the same.
    (found,) = evaluation.human_agreement([row("1", "a", "a b", "a c")], ONE)
    assert found.human.value == 1 / 2 and found.system.value == pytest.approx(2 / 3, abs=1e-15)
    assert found.human.n == found.system.n == 1 and found.left_out == 0
    assert (
        found.human.signature == "rouge1|ref:rouge_score|stem:yes|split:newline|refs:jackknife|v:1"
    )
    assert found.system.signature == found.human.signature


def test_three_references_take_the_best_of_the_other_two() -> None:
    # Left out "a b": best of ("a c", "d") for it is 1/2. "a c": best of ("a b", "d") 1/2.
    # "d": best of ("a b", "a c") 0. People: 1/3. The text "d" reaches 1, 1 and 0: 2/3.
    (found,) = evaluation.human_agreement([row("1", "d", "a b", "a c", "d")], ONE)
    assert found.human.value == pytest.approx(1 / 3, abs=1e-15)
    assert found.system.value == pytest.approx(2 / 3, abs=1e-15)


def test_rows_weigh_the_same_whatever_their_references() -> None:
    rows = [row("1", "x", "a", "a"), row("2", "x", "a", "b", "c", "d")]
    (found,) = evaluation.human_agreement(rows, ONE)
    assert found.human.value == 1 / 2  # 1 and 0


def test_rows_with_one_reference_are_counted_and_left_out() -> None:
    rows = [row("1", "a", "a b", "a c"), row("2", "z", "q"), row("3", "z", "q")]
    (found,) = evaluation.human_agreement(rows, ONE)
    assert (found.human.n, found.left_out) == (1, 2)
    assert found.human.value == 1 / 2
    with pytest.raises(DataError, match="no row has two references"):
        evaluation.human_agreement(rows[1:], ONE)


@pytest.mark.parametrize("metric", [Length(), Extractiveness(), Classification()])
def test_metrics_without_references_are_refused(metric: object) -> None:
    full = dataclasses.replace(row("1", "a", "a", "b"), source="s", label=0, predicted=0)
    with pytest.raises(ConfigError, match=f"{metric.name}: does not score against references"):  # type: ignore[attr-defined]
        evaluation.human_agreement([full], [*ONE, metric])  # type: ignore[list-item]


def test_the_source_stays_for_metrics_that_read_it() -> None:
    seen: list[Prediction] = []

    class Spy(Rouge):
        def statistics(self, predictions: list[Prediction]):  # type: ignore[no-untyped-def]
            seen.extend(predictions)
            return super().statistics(predictions)

    answer = dataclasses.replace(row("1", "t", "a", "b"), source="s", finished=False, new_tokens=9)
    evaluation.human_agreement([answer], [Spy(types=("rouge1",))])
    assert [(p.id, p.text, p.references) for p in seen] == [
        ("1", "a", ("b",)),
        ("1", "b", ("a",)),
        ("1", "t", ("b",)),
        ("1", "t", ("a",)),
    ]
    assert {p.source for p in seen} == {"s"}
    assert [p.finished for p in seen] == [True, True, False, False]  # people finish


texts = st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(" ".join)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(texts, st.lists(texts, min_size=2, max_size=4)), min_size=1, max_size=4))
def test_it_is_the_mean_over_the_sets_that_lack_one(pairs: list[tuple[str, list[str]]]) -> None:
    rows = [row(str(i), text, *references) for i, (text, references) in enumerate(pairs)]
    (found,) = evaluation.human_agreement(rows, ONE, resamples=2)
    human, system = [], []
    for text, references in pairs:
        rest = [references[:i] + references[i + 1 :] for i in range(len(references))]
        human.append(mean(max(f1(a, b) for b in r) for a, r in zip(references, rest, strict=True)))
        system.append(mean(max(f1(text, b) for b in r) for r in rest))
    assert found.human.value == pytest.approx(mean(human), abs=1e-12)
    assert found.system.value == pytest.approx(mean(system), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(texts, min_size=2, max_size=4), min_size=1, max_size=4))
def test_the_order_of_references_does_not_matter(groups: list[list[str]]) -> None:
    def human(turn: int) -> float | None:
        rows = [row(str(i), "a", *group[::turn]) for i, group in enumerate(groups)]
        return evaluation.human_agreement(rows, ONE, resamples=2)[0].human.value

    assert human(1) == pytest.approx(human(-1), abs=1e-12)


def made(n: int = 40, references: int = 2) -> dict[str, list[Prediction]]:
    """Systems that share 1, 2, 3 and 4 of the references' six words, people sharing five."""
    words = ["a", "b", "c", "d", "e"]
    refs = [" ".join([*words, f"own{j}"]) for j in range(references)]

    def system(shared: int) -> list[Prediction]:
        return [
            row(str(i), " ".join([*words[:shared], *"uvwxyz"[: 6 - shared]]), *refs)
            for i in range(n)
        ]

    return {
        "base": system(1),
        "tuned": system(4),
        "lead": system(3),
        "majority": system(2),
        "random_summary": system(0),
    }


def test_places_on_paper() -> None:
    places = evaluation.place(made(), ONE)
    told = [(p.system, p.start, p.goal, p.share) for p in places]
    # All texts have six words, so F is the share of words: 1/6, 4/6, 3/6, 2/6, 0 and, for
    # people, 5/6.
    assert told == [
        ("base", "random_summary", "lead", pytest.approx(1 / 3)),
        ("tuned", "random_summary", "lead", pytest.approx(4 / 3)),
        ("base", "random_summary", "human", pytest.approx(1 / 5)),
        ("tuned", "random_summary", "human", pytest.approx(4 / 5)),
    ]
    last = places[-1]
    assert (last.value, last.at_start, last.at_goal) == pytest.approx((4 / 6, 0, 5 / 6))
    assert (last.n, last.left_out, last.confidence, last.reason) == (40, 0, 0.95, None)
    assert last.signature.endswith("|refs:jackknife|v:1")
    assert "jackknife" not in places[0].signature
    assert last.low == pytest.approx(last.share) and last.high == pytest.approx(last.share)
    assert from_dict(Place, to_dict(last), "here") == last


def test_a_system_at_a_mark_stands_there() -> None:
    systems = made()
    systems["base"], systems["tuned"] = systems["random_summary"], systems["lead"]
    base, tuned = evaluation.place(systems, ONE)[:2]
    assert (base.share, base.low, base.high) == (0, 0, 0)
    assert (tuned.share, tuned.low, tuned.high) == pytest.approx((1, 1, 1))


def test_without_several_references_there_is_no_way_to_people() -> None:
    assert {p.goal for p in evaluation.place(made(references=1), ONE)} == {"lead"}


def test_rows_without_several_references_are_told() -> None:
    systems = {name: [*rows, row("more", "a b", "a c")] for name, rows in made().items()}
    people = [p for p in evaluation.place(systems, ONE) if p.goal == "human"]
    assert {(p.n, p.left_out) for p in people} == {(40, 1)}
    assert people[1].share == pytest.approx(4 / 5)


def test_without_a_random_baseline_there_is_no_place() -> None:
    systems = made()
    del systems["random_summary"]
    assert evaluation.place(systems, ONE) == []
    only = {name: rows for name, rows in made().items() if name not in ("base", "tuned")}
    assert evaluation.place(only, ONE) == []
    assert {p.system for p in evaluation.place(made(), ONE, of=("lead", "no"))} == {"lead"}


def test_a_way_that_may_have_no_length_gives_no_share() -> None:
    systems = made()
    systems["lead"] = systems["majority"] = systems["random_summary"]
    found = evaluation.place(systems, ONE)
    assert [(p.share, p.low, p.high) for p in found[:2]] == [(None, None, None)] * 2
    assert found[0].reason == "lead is not clearly better than random_summary on these rows"
    assert found[0].value is not None and found[2].share is not None


def test_where_lower_is_better_the_way_leads_down() -> None:
    def rows(confidence: float) -> list[Prediction]:
        odds = (1 - confidence, confidence)
        return [Prediction(str(i), "", label=1, predicted=1, probabilities=odds) for i in range(20)]

    systems = {"tuned": rows(0.9), "majority": rows(0.8), "random": rows(0.6)}
    ece = next(p for p in evaluation.place(systems, [Classification()]) if p.metric == "ece")
    assert (ece.value, ece.at_start, ece.at_goal) == pytest.approx((0.1, 0.4, 0.2))
    assert ece.share == pytest.approx(1.5)


def test_an_undefined_value_has_its_own_reason() -> None:
    rows = [Prediction(str(i), "", label=1, predicted=1) for i in range(5)]
    systems = {"tuned": rows, "majority": rows, "random": rows}
    found = evaluation.place(systems, [Classification()])
    # No baseline has a calibration error, so no way leads to one.
    assert "ece" not in {p.metric for p in found}
    sure = [dataclasses.replace(r, probabilities=(0.1, 0.9)) for r in rows]
    found = evaluation.place({**systems, "majority": sure}, [Classification()])
    ece = next(p for p in found if p.metric == "ece")
    assert ece.share is None and ece.reason == "not every prediction has probabilities"


def test_what_only_describes_has_no_place() -> None:
    assert {p.metric for p in evaluation.place(made(), [*ONE, Length()])} == {"rouge1"}


def test_systems_must_have_answered_the_same_rows() -> None:
    systems = made()
    systems["lead"] = systems["lead"][:-1]
    with pytest.raises(DataError, match="row '39': not in lead"):
        evaluation.place(systems, ONE)


def test_each_value_goes_to_its_own_best_baseline() -> None:
    # "a b" has both words in order; "b c a" all three, in another.
    def system(text: str) -> list[Prediction]:
        return [row(str(i), text, "a b c") for i in range(5)]

    systems = {
        "tuned": system("a b c"),
        "order": system("a b"),
        "bag": system("c b a"),
        "random": system("x"),
    }
    found = evaluation.place(systems, [Rouge(types=("rouge1", "rouge2"))])
    assert [(p.metric, p.goal) for p in found] == [("rouge1", "bag"), ("rouge2", "order")]


@pytest.mark.parametrize("name", ["opinosis", "scitldr_dev"])
def test_people_agree_more_than_random_answers_do(name: str) -> None:
    """Real references: people lie beyond random answers, and one of them is no system to beat."""
    task = Summarization()
    rows = [
        {key: found[key] for key in ("document", "summary", "references")}
        for found in real_rows(f"summarization/{name}.jsonl")
    ]
    examples = [x for i, found in enumerate(rows) for x in task.example(found, str(i))][:120]
    half = len(examples) // 2
    train, test = examples[:half], examples[half:]
    systems = task.baselines(train, test, 0)
    systems["tuned"] = [Prediction(x.id, x.references[-1], x.references, x.source) for x in test]
    several = sum(len(x.references) > 1 for x in test)
    (found,) = evaluation.human_agreement(systems["random_summary"], ONE, resamples=200)
    assert found.human.n == several and found.left_out == len(test) - several
    assert found.human.low is not None and found.system.high is not None
    assert found.human.low > found.system.high
    places = evaluation.place(systems, ONE, resamples=200)
    people = next(p for p in places if p.goal == "human")
    assert people.at_goal == found.human.value and people.at_start == found.system.value
    # One of the references is the system here, and it stands among the sets it is scored on.
    assert people.share is not None and people.share > 1
