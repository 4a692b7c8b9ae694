"""Length-controlled ROUGE: its closed form against sampling, its laws, and real rows."""

import math
from collections import Counter
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.config import from_mapping
from loratory.errors import ConfigError, DataError
from loratory.evaluation.score import score
from loratory.metrics.rouge import rouge
from loratory.metrics.rouge.length_control import (
    RougeLengthControlled,
    rouge_length_controlled,
)
from loratory.metrics.rouge.length_control.chance import (
    Bag,
    RandomOutput,
    expected_minimum,
    random_outputs,
)
from loratory.metrics.rouge.tokenize import Vocabulary
from loratory.records import Prediction
from realdata import real_rows

SOURCE = "the cat sat on the mat and the dog sat by the door"


def exact_minimum(most: int, length: int, size: int, kind: int, replacement: bool) -> Fraction:
    """The mean by definition, in whole numbers."""
    copies, rest = (0, length) if replacement else divmod(length, size)
    total = Fraction(0)
    for times in range(rest + 1):
        if replacement:
            share = Fraction(kind, size)
            ways = math.comb(rest, times) * share**times * (1 - share) ** (rest - times)
        else:
            drawn = math.comb(kind, times) * math.comb(size - kind, rest - times)
            ways = Fraction(drawn, math.comb(size, rest))
        total += ways * min(copies * kind + times, most)
    return total


@settings(deadline=None)
@given(st.integers(0, 8), st.integers(0, 40), st.integers(1, 25), st.integers(1, 25), st.booleans())
def test_the_closed_form_is_the_definition(
    most: int, length: int, size: int, kind: int, replacement: bool
) -> None:
    kind = min(kind, size)
    found = expected_minimum(most, length, size, kind, replacement)
    assert found == pytest.approx(
        float(exact_minimum(most, length, size, kind, replacement)), abs=1e-11
    )


def test_the_closed_form_holds_for_long_texts() -> None:
    # A million words, of which ten thousand are the word: 2,000 drawn hold 20 of them.
    assert expected_minimum(10**6, 2000, 10**6, 10**4, False) == 20
    for most in (100, 1000):
        found = expected_minimum(most, 2000, 10**6, 10**4, False)
        assert found == pytest.approx(20, abs=1e-5)
    assert expected_minimum(1, 2000, 10**6, 1, True) == pytest.approx(0.002, abs=2e-6)
    assert expected_minimum(3, 5, 1, 1, True) == expected_minimum(3, 5, 1, 1, False) == 3


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("length", [1, 3, 4, 6])
def test_the_mean_over_every_possible_output(length: int, replacement: bool) -> None:
    words = ["a", "a", "b", "c"]
    reference = Counter({0: 1, 1: 1, 9: 2})
    bag = Bag(words, {"a": 0, "b": 1, "c": 2}.__getitem__, replacement)
    if replacement:
        outputs = list(product("aabc", repeat=length))
    else:
        full, rest = divmod(length, 4)
        outputs = [(*words * full, *order[:rest]) for order in permutations(words)]
    hits = [min(o.count("a"), 1) + min(o.count("b"), 1) for o in outputs]
    assert bag.expected_hits(length, reference) == pytest.approx(np.mean(hits), abs=1e-12)


@pytest.mark.parametrize("replacement", [True, False])
def test_draws_are_what_the_closed_form_averages(replacement: bool) -> None:
    words = SOURCE.split()
    vocabulary = Vocabulary(stem=False)
    bag = Bag(words, vocabulary.number, replacement)
    reference = Counter(["the", "the", "cat", "sat", "door", "x"])
    numbered = Counter({vocabulary.number(word): n for word, n in reference.items()})
    for length in (2, 5, len(words), len(words) + 4):
        hits = [(Counter(o) & reference).total() for o in bag.draw(length, 4000, seed=1)]
        error = np.std(hits) / math.sqrt(len(hits))
        # Four standard errors of the mean; without any spread the two are equal.
        assert abs(np.mean(hits) - bag.expected_hits(length, numbered)) <= 4 * error + 1e-12


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32), st.booleans())
def test_a_longer_output_begins_as_a_shorter_one(length: int, seed: int, replacement: bool) -> None:
    bag = Bag(SOURCE.split(), len, replacement)
    longer, shorter = (list(bag.draw(n, 3, seed)) for n in (length + 5, length))
    assert [output[:length] for output in longer] == shorter
    if not replacement:
        size = len(SOURCE.split())
        for output in longer:
            for start in range(0, length + 5 - size + 1, size):
                assert Counter(output[start : start + size]) == Counter(SOURCE.split())
            assert not Counter(output[: size - 1]) - Counter(SOURCE.split())


def test_random_outputs_have_the_lines_of_the_prediction() -> None:
    bag = Bag(SOURCE.split(), len, replacement=False)
    rows = [RandomOutput([2, 0, 3], bag, 1), RandomOutput([1], bag, 2)]
    ((run, texts),) = random_outputs(rows, draws=4)
    assert list(run) == [0, 1]
    lines = [[len(line.split()) for line in text.split("\n")] for text in texts]
    assert lines == [[2, 0, 3]] * 4 + [[1]] * 4


def test_rows_that_fill_the_memory_are_taken_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = ["the cat", "a dog sat by the door", "", "mat", "the mat and the dog"]
    columns = predictions, [["the cat sat", "a dog"]] * 5, [SOURCE] * 5
    whole = rouge_length_controlled(*columns)
    module = "loratory.metrics.rouge.length_control.chance"
    monkeypatch.setattr(f"{module}._WORDS", 50)
    monkeypatch.setattr(f"{module}._PLACES", 30)
    runs = rouge_length_controlled(*columns)
    for name, values in whole.items():
        assert values.random.tolist() == runs[name].random.tolist()


def test_raw_is_rouge_and_the_closed_form_is_what_many_draws_give() -> None:
    prediction, reference = "a cat sat on a mat", "the cats sat by the door"
    found = rouge_length_controlled([prediction], [reference], [SOURCE], part="recall")
    plain = rouge([prediction], [reference], ["rouge1", "rouge2", "rougeL"])
    for name, values in plain.items():
        assert found[name].raw.tolist() == values.recall.tolist()
    # The same reference twice makes the mean of rouge1 an estimate.
    several = rouge_length_controlled(
        [prediction], [[reference, reference]], [SOURCE], ["rouge1"], part="recall", draws=3000
    )
    exact, estimate = found["rouge1"].random[0], several["rouge1"].random[0]
    assert exact != estimate
    assert exact == pytest.approx(estimate, abs=4 * 0.2 / math.sqrt(3000))


def test_by_hand() -> None:
    # Two of {a, a, b, c}: P(a drawn) = 5/6, P(b drawn) = 1/2. Hits of "a b" are 4/3 of 2.
    found = rouge_length_controlled(["a c"], ["a b"], ["a a b c"], ["rouge1"])["rouge1"]
    assert found.raw[0] == 1 / 2
    assert found.random[0] == pytest.approx(2 / 3, abs=1e-12)
    assert found.controlled[0] == pytest.approx((1 / 2 - 2 / 3) / (1 / 3), abs=1e-12)


def test_a_copy_of_the_source_earns_nothing() -> None:
    found = rouge_length_controlled([SOURCE], ["the cat sat by the door"], [SOURCE], ["rouge1"])
    assert found["rouge1"].raw[0] > 0.6
    assert found["rouge1"].controlled[0] == pytest.approx(0, abs=1e-12)


def test_where_chance_is_perfect_nothing_is_left() -> None:
    found = rouge_length_controlled(["a a"], ["a a"], ["a"], ["rouge1", "rougeL"])
    for values in found.values():
        assert values.raw[0] == values.random[0] == 1 and math.isnan(values.controlled[0])
    rows = [Prediction("1", "a a", ("a a",), source="a")]
    (value, *_) = score(rows, [RougeLengthControlled(types=("rouge1",))], resamples=5)
    assert value.metric == "rouge1-controlled" and value.value is None
    assert value.reason == "random words of this length score 1 as well"


def papers(many: int) -> list[Prediction]:
    rows = real_rows("summarization/scitldr_dev.jsonl")[:many]
    return [
        Prediction(
            id=row["id"],
            text=" ".join(row["document"].split()[: 20 + i % 7]),
            references=tuple(row["references"]),
            source=row["document"],
        )
        for i, row in enumerate(rows)
    ]


def test_rows_stand_alone_on_real_rows() -> None:
    rows = papers(60)
    metric = RougeLengthControlled()
    whole = metric.statistics(rows)
    parts = np.concatenate([metric.statistics(rows[40:]), metric.statistics(rows[:40])])
    assert whole.tolist() == np.concatenate([parts[20:], parts[:20]]).tolist()


def test_random_answers_score_nothing_on_real_rows() -> None:
    rows = papers(120)
    generator = np.random.default_rng(7)
    texts = []
    for row in rows:
        words = row.source.split()
        texts.append(" ".join(words[i] for i in generator.permutation(len(words))[:25]))
    columns = [list(row.references) for row in rows], [row.source for row in rows]
    chance = rouge_length_controlled(texts, *columns)
    lead = rouge_length_controlled([row.text for row in rows], *columns)
    for name in chance:
        low = chance[name].raw - chance[name].random
        error = low.std() / math.sqrt(len(rows))
        assert abs(low.mean()) < 4 * error
        assert lead[name].controlled.mean() > 4 * error


def test_longer_answers_get_more_by_chance_on_real_rows() -> None:
    rows = papers(60)
    references, sources = [row.references[0] for row in rows], [row.source for row in rows]
    means = []
    for length in (5, 20, 80):
        texts = [" ".join(source.split()[:length]) for source in sources]
        found = rouge_length_controlled(texts, references, sources, ["rouge1"], part="recall")
        means.append(found["rouge1"].random.mean())
    assert means[0] < means[1] < means[2]


def test_the_seed_fixes_the_draws() -> None:
    columns = ["the cat sat by the mat"], ["a cat sat on the mat by the door"], [SOURCE]
    one, same, other = (
        rouge_length_controlled(*columns, seed=seed)["rougeL"].random[0] for seed in (1, 1, 3)
    )
    assert one == same != other


def test_rows_have_luck_of_their_own() -> None:
    # The second row is the first in other words: the same draws would give the same mean.
    texts = ["one two three four five six seven", "eins zwei drei vier fünf sechs sieben"]
    answers = [" ".join(text.split()[:3]) for text in texts]
    found = rouge_length_controlled(answers, texts, texts, ["rougeL"], tokens="words")["rougeL"]
    assert found.raw[0] == found.raw[1] and found.random[0] != found.random[1]


def test_a_pool_of_texts_and_of_a_file(tmp_path) -> None:
    texts = ["the cat sat", "the dog"]
    file = tmp_path / "the references.txt"
    file.write_text("\n".join(texts), encoding="utf-8")
    columns = ["a dog sat"], ["the dog"]
    found = [
        rouge_length_controlled(*columns, pool=pool)["rouge1"] for pool in (texts, file, str(file))
    ]
    # Three words of {the 2/5, cat, sat, dog 1/5}: the reference's two, each at most once.
    hits = (1 - Fraction(3, 5) ** 3) + (1 - Fraction(4, 5) ** 3)
    for values in found:
        assert values.random[0] == pytest.approx(float(2 * hits / 5), abs=1e-12)
    metric = RougeLengthControlled(pool=str(file))
    assert metric.problems() == []
    assert "|pool:file-" in metric.signature and " " not in metric.signature
    row = Prediction("1", "a dog sat", ("the dog",))
    assert metric.statistics([row])[0, 2] == found[0].random[0]


def test_summary_lines_and_other_scripts() -> None:
    found = rouge_length_controlled(
        ["кот сидел\nна ковре", ""],
        ["кот\nна ковре", "собака"],
        ["кот сидел на ковре у двери", "!"],
        ["rougeLsum", "rougeSU4", "rougeW-1.2"],
        tokens="words",
    )
    for values in found.values():
        assert 0 < values.random[0] < values.raw[0] < 1
        assert values.raw[1] == values.random[1] == values.controlled[1] == 0


@pytest.mark.parametrize("text", ["\ud800", "\x00\x01", "a\ud800b", " \n\n "])
@pytest.mark.parametrize("tokens", ["rouge_score", "words", "characters"])
def test_odd_texts_have_scores(text: str, tokens) -> None:
    found = rouge_length_controlled([text], [text], ["a b " + text], tokens=tokens)
    for values in found.values():
        assert 0 <= values.random[0] <= 1 and 0 <= values.raw[0] <= 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "sources: none are given, and pool: source needs a list"),
        ({"sources": "a"}, "sources: one text is given"),
        ({"sources": []}, "0 sources for 1 predictions"),
        ({"sources": [None]}, "pair 0: the source is NoneType, not text"),
        ({"sources": ["!"]}, "pair 0: the source has no words to draw from, as tokens: rouge"),
        ({"pool": []}, "pool: no words to draw from"),
        ({"pool": ["a", 1]}, "pool: text 1 is int, not text"),
    ],
)
def test_nothing_to_draw_from(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        rouge_length_controlled(["a"], ["a"], **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"types": ["rougeX"]}, "types: unknown 'rougeX'"),
        ({"draws": 0}, "draws: 0 is not a whole number from 1"),
        ({"draws": 2.5}, "draws: 2.5 is not a whole number"),
        ({"seed": -1}, "seed: -1 is not a whole number from 0"),
        ({"part": "g"}, "part: unknown 'g'. Available: f, precision, recall"),
        ({"pool": "sources"}, "pool: 'sources' is neither 'source' nor a file"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        rouge_length_controlled(["a"], ["a"], ["a"], **settings)  # type: ignore[arg-type]


def test_the_metric_of_a_recipe() -> None:
    recipe = {"model": "gpt2", "data": "a.csv", "task": "summarization"}
    chosen = {"name": "rouge_length_controlled", "types": ["rougeLsum"], "draws": 3}
    (metric,) = from_mapping({**recipe, "metrics": [chosen]}).metrics
    assert metric == RougeLengthControlled(types=("rougeLsum",), draws=3)
    rows = papers(20)
    scores = {x.metric: x for x in score(rows, [metric], resamples=20)}
    raw, random = scores["rougeLsum-raw"].value, scores["rougeLsum-random"].value
    assert raw == pytest.approx(score(rows, [RougeLengthControlled()], resamples=2)[7].value)
    assert scores["rougeLsum-controlled"].value == (raw - random) / (1 - random)
    assert [name for name, x in scores.items() if x.descriptive] == ["rougeLsum-random"]
    assert scores["rougeLsum-raw"].signature == (
        "rougeLsum-raw|ref:rouge_score+sun2019|stem:yes|pool:source|draws:3|seed:0"
        "|tokens:rouge_score|part:f|beta:1.0|v:1"
    )


def test_a_row_without_a_source_is_named() -> None:
    rows = [Prediction("a:1", "a", ("a",), source="a"), Prediction("a:2", "a", ("a",))]
    with pytest.raises(DataError, match="row 'a:2': no source, which the metric"):
        score(rows, [RougeLengthControlled()], resamples=5)
    with pytest.raises(ConfigError, match="pool: 'x' is neither 'source' nor a file"):
        score(rows, [RougeLengthControlled(pool="x")], resamples=5)


def test_a_long_line_ends_soon() -> None:
    line = " ".join(f"w{i * i % 997}" for i in range(20_000))
    found = rouge_length_controlled(
        [line, "w1 w4"], ["w1 w4 w9", line], ["w1 w2 w4", line], draws=2
    )
    assert all(np.isfinite(values.controlled).all() for values in found.values())
