"""ROUGE 2.0: by hand, against plain ROUGE, and by its laws."""

import itertools
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.errors import ConfigError, DataError
from loratory.metrics.rouge import rouge
from loratory.metrics.rouge.rouge2 import PartsOfSpeech, rouge2
from loratory.metrics.rouge.rouge2.kind import Kind, kind_of
from loratory.metrics.rouge.rouge2.lexicon import Lexicon
from loratory.metrics.rouge.rouge2.matching import max_matching
from loratory.metrics.rouge.rouge2.overlap import lcs_hits, ngram_hits
from loratory.metrics.rouge.tokenize import Vocabulary
from realdata import real_rows

SETS = [("car", "automobile"), ("bank", "shore"), ("bank", "lender"), ("fast", "quick")]
SYNONYM_TYPES = (
    "rouge1+Synonyms",
    "rouge2+Synonyms",
    "rougeL+Synonyms",
    "rougeTopic+Synonyms",
    "rougeTopicUniq+Synonyms",
)
ALL = ("rougeTopic", "rougeTopicUniq", *SYNONYM_TYPES)

WORDS = ["car", "automobile", "bank", "shore", "lender", "fast", "quick", "the", "cars", "zebra"]
texts = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)


@pytest.mark.parametrize(
    ("kind", "prediction", "reference", "precision", "recall"),
    [
        # Words: the automobile / the car; stop / stops have one stem.
        ("rouge1+Synonyms", "the car stopped", "an automobile stops", 2 / 3, 2 / 3),
        ("rouge2+Synonyms", "the car stopped", "an automobile stops", 1 / 2, 1 / 2),
        ("rougeL+Synonyms", "the car stopped", "an automobile stops", 2 / 3, 2 / 3),
        ("rougeL+Synonyms", "stopped the car", "an automobile stops", 1 / 3, 1 / 3),
        # Stems on both sides of a set: neither word stands in it as it is.
        ("rouge1+Synonyms", "cars", "automobiles", 1, 1),
        # A word of the prediction counts once, however many of its synonyms there are.
        ("rouge1+Synonyms", "bank", "shore lender", 1, 1 / 2),
        # Sets that share a word are not merged.
        ("rouge1+Synonyms", "shore", "lender", 0, 0),
        # From left to right, `bank` would take `bank` and leave nothing for `shore`.
        ("rouge1+Synonyms", "bank shore", "bank lender", 1, 1),
        ("rouge2+Synonyms", "fast car", "quick automobile", 1, 1),
        ("rouge2+Synonyms", "fast car", "automobile quick", 0, 0),
        # Topic words: car, car, fast; `the` and `is` are stop words.
        ("rougeTopic", "the car is the car", "the car is fast", 1 / 2, 1 / 2),
        ("rougeTopicUniq", "the car is the car", "the car is fast", 1, 1 / 2),
        ("rougeTopic+Synonyms", "the car is quick", "the automobile is fast", 1, 1),
        ("rougeTopicUniq", "car cars car", "cars", 1, 1),  # one stem is one topic
        ("rougeTopicUniq+Synonyms", "bank bank", "shore lender", 1, 1 / 2),
        ("rougeTopic", "the of and", "the of and", 0, 0),  # no topic words
        ("rouge1+Synonyms", "", "car", 0, 0),
        ("rougeL+Synonyms", "car", "", 0, 0),
    ],
)
def test_by_hand(
    kind: str, prediction: str, reference: str, precision: float, recall: float
) -> None:
    found = rouge2([prediction], [reference], [kind], synonyms=SETS)[kind]
    assert (found.precision[0], found.recall[0]) == (precision, recall)
    whole = precision + recall
    assert found.f[0] == (2 * precision * recall / whole if whole else 0)


def test_without_stems_inflections_are_other_words() -> None:
    kinds = ["rouge1+Synonyms", "rougeTopicUniq"]
    found = rouge2(["cars car"], ["automobile"], kinds, stem=False, synonyms=SETS)
    assert found["rouge1+Synonyms"].precision[0] == 1 / 2
    assert rouge2(["cars car"], ["car"], ["rougeTopicUniq"], stem=False)[
        "rougeTopicUniq"
    ].precision[0] == (1 / 2)


def test_the_best_reference_is_taken_by_each_measure() -> None:
    found = rouge2(["fast car"], [["car", "quick automobile", "fast car"]], ALL, synonyms=SETS)
    assert {name: float(values.f[0]) for name, values in found.items()} == dict.fromkeys(ALL, 1.0)


def test_it_matters_not_which_word_lists_the_other() -> None:
    def listed(word: str) -> list[str]:
        return {"fast": ["quick"], "car": ["motor car"]}.get(word, [])

    columns = ["fast", "quick", "car", "car"], ["quick", "fast", "motor", "car"]
    found = rouge2(*columns, ["rouge1+Synonyms", "rougeL+Synonyms"], synonyms=listed)
    for values in found.values():
        assert values.f.tolist() == [1, 1, 0, 1]  # a phrase matches none of its words


def test_recall_can_weigh_more() -> None:
    found = rouge2(["car"], ["automobile x"], ["rouge1+Synonyms"], synonyms=SETS, beta=2)
    assert found["rouge1+Synonyms"].f[0] == (5 * 1 * 0.5) / (4 * 1 + 0.5)


def test_other_scripts() -> None:
    kind = ["rouge1+Synonyms"]
    sets = [("быстрый", "скорый"), ("車", "轎")]
    found = rouge2(
        ["скорый поезд", "轎"], ["Быстрый поезд", "車"], kind, synonyms=sets, tokens="words"
    )
    assert found["rouge1+Synonyms"].f.tolist() == [1, 1]


@settings(deadline=None)
@given(texts, texts)
def test_laws(left: str, right: str) -> None:
    one, other = (rouge2([a], [b], ALL, synonyms=SETS) for a, b in ((left, right), (right, left)))
    plain = rouge([left], [right], ["rouge1", "rouge2", "rougeL"])
    topic = rouge2([left], [right])
    same = rouge2([left], [left], ALL, synonyms=SETS)
    for name in ALL:
        assert one[name].f[0] == other[name].f[0]
        assert one[name].precision[0] == other[name].recall[0]
        assert 0 <= one[name].f[0] <= 1
    for name, values in plain.items():
        assert one[f"{name}+Synonyms"].f[0] >= values.f[0]
    for name, values in topic.items():
        assert one[f"{name}+Synonyms"].f[0] >= values.f[0] == one[name].f[0]
    assert same["rouge1+Synonyms"].f[0] == same["rougeL+Synonyms"].f[0] == bool(left)
    assert same["rouge2+Synonyms"].f[0] == (len(left.split()) > 1)
    assert {float(same[name].f[0]) for name in ALL if "Topic" in name} == {
        float(any(word != "the" for word in left.split()))
    }


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=2, max_size=5), st.randoms())
def test_the_order_of_rows_changes_nothing(pairs: list[tuple[str, str]], random: object) -> None:
    order = list(range(len(pairs)))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = rouge2([p for p, _ in pairs], [r for _, r in pairs], ALL, synonyms=SETS)
    shuffled = [pairs[i] for i in order]
    mixed = rouge2([p for p, _ in shuffled], [r for _, r in shuffled], ALL, synonyms=SETS)
    for name in ALL:
        assert mixed[name].f.tolist() == straight[name].f[order].tolist()


def pairs_of_papers() -> tuple[list[str], list[list[str]]]:
    rows = real_rows("summarization/scitldr_dev.jsonl")[:150]
    return [" ".join(row["document"].split()[:40]) for row in rows], [
        list(row["references"]) for row in rows
    ]


def test_on_real_rows_no_synonyms_give_plain_rouge() -> None:
    predictions, references = pairs_of_papers()
    kinds = ["rouge1", "rouge2", "rouge3", "rougeL"]
    plain = rouge(predictions, references, kinds)
    found = rouge2(
        predictions, references, [f"{kind}+Synonyms" for kind in kinds], synonyms=lambda word: []
    )
    topic = rouge2(predictions, references, ["rougeTopic"], topic=lambda words: [True] * len(words))
    for kind in kinds:
        for part in range(3):
            assert found[f"{kind}+Synonyms"][part].tolist() == plain[kind][part].tolist()
    assert topic["rougeTopic"].f.tolist() == plain["rouge1"].f.tolist()


def test_on_real_rows_synonyms_add_and_stop_words_go() -> None:
    predictions, references = pairs_of_papers()
    sets = [("method", "approach", "technique"), ("propose", "present", "introduce")]
    kinds = ["rouge1+Synonyms", "rougeTopic", "rougeTopic+Synonyms"]
    found = rouge2(predictions, references, kinds, synonyms=sets)
    plain = rouge(predictions, references, ["rouge1"])["rouge1"]
    assert (found["rouge1+Synonyms"].f >= plain.f).all()
    assert found["rouge1+Synonyms"].f.sum() > plain.f.sum()
    assert (found["rougeTopic+Synonyms"].f >= found["rougeTopic"].f).all()
    assert found["rougeTopic"].f.tolist() != plain.f.tolist()


graphs = st.integers(1, 4).flatmap(
    lambda n: st.integers(1, 4).flatmap(
        lambda m: st.tuples(
            st.lists(st.integers(1, 3), min_size=n, max_size=n),
            st.lists(st.integers(1, 3), min_size=m, max_size=m),
            st.lists(st.sets(st.integers(0, m - 1)).map(sorted), min_size=n, max_size=n),
        )
    )
)


@settings(deadline=None, max_examples=300)
@given(graphs)
def test_the_matching_is_the_largest(
    graph: tuple[list[int], list[int], list[list[int]]],
) -> None:
    supply, demand, edges = graph
    # Hall, in Ore's form: what any set of left units has too many is what must stay unmatched.
    missing = max(
        sum(supply[i] for i in chosen)
        - sum(demand[j] for j in {j for i in chosen for j in edges[i]})
        for size in range(len(supply) + 1)
        for chosen in itertools.combinations(range(len(supply)), size)
    )
    assert max_matching(supply, demand, edges) == sum(supply) - missing


def test_a_long_chain_of_moves() -> None:
    # Each unit first takes what the next one needs; the last finds its place by moving them all.
    size = 3000
    edges = [[i + 1, i] for i in range(size)] + [[size]]
    assert max_matching([1] * (size + 1), [1] * (size + 1), edges) == size + 1


@settings(deadline=None)
@given(texts, texts, st.integers(1, 3))
def test_units_against_the_definition(left: str, right: str, n: int) -> None:
    table = {word: {o for s in SETS if word in s for o in s} for word in WORDS}
    vocabulary = Vocabulary(stem=False)
    lexicon = Lexicon(vocabulary, lambda w: frozenset(map(vocabulary.number, table[w])))
    one, other = left.split(), right.split()

    def match(a: str, b: str) -> bool:
        return a == b or b in table[a]

    rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, j in itertools.product(range(len(one)), range(len(other))):
        rows[i + 1][j + 1] = (
            rows[i][j] + 1 if match(one[i], other[j]) else max(rows[i][j + 1], rows[i + 1][j])
        )
    assert lcs_hits(one, other, lexicon) == rows[-1][-1]
    grams = [[tuple(w[i : i + n]) for i in range(len(w) - n + 1)] for w in (one, other)]
    edges = [[j for j, b in enumerate(grams[1]) if all(map(match, a, b))] for a in grams[0]]
    expected = max_matching([1] * len(edges), [1] * len(grams[1]), edges)
    assert ngram_hits(one, other, n, lexicon) == expected
    plain = (Counter(grams[0]) & Counter(grams[1])).total()
    assert expected >= plain


def test_names_of_measures() -> None:
    assert kind_of("rouge3+Synonyms") == Kind("N", True, 3)
    assert kind_of("rougeTopicUniq") == Kind("TopicUniq", False)
    for name in ("rouge1", "rougeL", "rougeLsum+Synonyms", "rougeTopic+", "rouge0+Synonyms"):
        assert kind_of(name) is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"types": ["rouge2"]}, "types: 'rouge2' is plain ROUGE, the metric 'rouge'"),
        ({"types": ["rougeW"]}, "types: 'rougeW' is unknown. Available: rouge1\\+Synonyms"),
        ({"types": []}, "types: empty"),
        ({"types": ["rougeTopic", "rougeTopic"]}, "types: 'rougeTopic' is given twice"),
        ({"types": ["rougeTopic+Synonyms"]}, "needs synonyms, and none are given"),
        ({"tokens": "characters"}, "tokens: unknown 'characters'. Available: rouge_score, words"),
        ({"beta": float("nan")}, "beta: nan is not a weight"),
        ({"topic": "contents"}, "topic: 'contents' is neither a source nor a file. Did you mean"),
        (
            {"types": ["rouge1+Synonyms"], "synonyms": "wordnt"},
            "synonyms: 'wordnt' is neither a source nor a file. Did you mean 'wordnet'",
        ),
        ({"types": ["rouge1+Synonyms"], "synonyms": lambda word: word}, "the source gave str"),
        ({"types": ["rouge1+Synonyms"], "synonyms": lambda word: [1]}, "gave int among"),
        ({"topic": lambda words: [True]}, "gave 1 values for 2 words"),
        ({"topic": lambda words: True}, "gave bool; it must give one truth value"),
        ({"topic": PartsOfSpeech(tagger=lambda words: [("a", "NN")])}, "the tag alone"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        rouge2(["one word"], ["another"], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("predictions", "references", "sentence"),
    [
        ("a", ["a"], "predictions: one text"),
        (["a", None], ["a", "b"], "pair 1: the prediction is NoneType, not text"),
        (["a"], [[]], "pair 0: no references"),
        (["a"], [["a", 2.5]], "pair 0: the reference is float, not text"),
        (["a"], [], "1 predictions but 0 references"),
    ],
)
def test_columns_are_checked_as_rouge_checks_them(
    predictions: object, references: object, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        rouge2(predictions, references)  # type: ignore[arg-type]


def test_no_rows() -> None:
    found = rouge2([], [], ALL, synonyms=SETS)
    assert {len(values.f) for values in found.values()} == {0}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"synonyms": [("car", "motor car")]}, "'motor car' is 2 words to ROUGE"),
        ({"synonyms": [("car", "!")]}, "'!' is 0 words"),
        ({"synonyms": [("car", None)]}, "set 0 holds NoneType"),
        ({"topic": ["!"]}, "topic: the list has no words"),
        ({"topic": [1]}, "topic: the list holds int"),
    ],
)
def test_lists_that_cannot_be(settings: dict[str, object], sentence: str) -> None:
    types = ["rouge1+Synonyms"] if "synonyms" in settings else ["rougeTopic"]
    with pytest.raises(DataError, match=sentence):
        rouge2(["a"], ["a"], types, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["\ud800", "\x00\x01", "a\ud800b", "car " * 3000, " \n\n "])
@pytest.mark.parametrize("tokens", ["rouge_score", "words"])
def test_odd_texts_have_scores(text: str, tokens: str) -> None:
    found = rouge2([text], [text], ALL, synonyms=SETS, tokens=tokens)  # type: ignore[arg-type]
    assert {float(values.f[0]) for values in found.values()} <= {0.0, 1.0}


def test_a_long_line_ends_soon() -> None:
    words = " ".join(f"w{i * i % 9973}" for i in range(20_000))
    other = " ".join(f"w{i * i * i % 9973}" for i in range(20_000))
    sets = [(f"w{i}", f"w{i + 1}") for i in range(0, 9000, 2)]
    kinds = ["rouge1+Synonyms", "rougeTopicUniq+Synonyms"]
    found = rouge2([words, words], [other, words], kinds, synonyms=sets)
    for values in found.values():
        assert 0 < values.f[0] < 1 == values.f[1]


def test_results_are_plain_numbers() -> None:
    found = rouge2(["a car"], ["an automobile"], ALL, synonyms=SETS)
    json.dumps({name: values.f.tolist() for name, values in found.items()}, allow_nan=False)
