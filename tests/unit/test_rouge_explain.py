"""What matched, where it stands, and that it makes the score."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.errors import ConfigError
from loratory.metrics.rouge import explain, rouge
from loratory.metrics.rouge.tokenize import CUTS

few = st.lists(st.sampled_from(["a", "b", "c", "runs", "Running", "\n", "é.", "日本", "-"])).map(
    " ".join
)
odd = st.text(alphabet="aİıKﬁﬃé\u0301がか\u3099 ㌀한\u1112\u1161\n.", max_size=20)
texts = st.one_of(few, odd)


@pytest.mark.parametrize(
    ("kind", "prediction", "reference"),
    [  # [...] stands around what is highlighted
        ("rouge1", "[The cat] sat", "[the cat]"),
        ("rouge1", "[the] cat the", "a dog, [THE] dog"),  # the first of two
        ("rouge2", "[the cat] sat", "so [the cat] lay"),
        ("rouge2", "[a b] c [b d]", "[a b d] c"),
        ("rougeL", "[a] x [b]", "[a b] c"),
        ("rouge1", "[Running]!", "he [runs]"),
        ("rougeLsum", "[b\na] b", "[a\nb]"),  # the first b of two
        # Lin 2004, section 3.2: the union over two sentences
        (
            "rougeLsum",
            "[w1 w2] w6 w7 w8\nw1 [w3] w8 w9 [w5]",
            "[w1 w2 w3] w4 [w5]",
        ),
    ],
)
def test_highlights(kind: str, prediction: str, reference: str) -> None:
    plain = [text.replace("[", "").replace("]", "") for text in (prediction, reference)]
    found = explain(plain[0], plain[1], kind)
    assert marked(plain[0], found.prediction_spans) == prediction
    assert marked(plain[1], found.reference_spans) == reference


def marked(text: str, spans: tuple[tuple[int, int], ...]) -> str:
    for start, stop in reversed(spans):
        text = f"{text[:start]}[{text[start:stop]}]{text[stop:]}"
    return text


def test_a_pair_in_full() -> None:
    found = explain("The cat sat.", "A cat sat down", "rouge1")
    assert (found.hits, found.prediction_units, found.reference_units) == (2, 3, 4)
    assert found.prediction_matches == ((4, 7), (8, 11)) and found.prediction_spans == ((4, 11),)
    assert found.reference_matches == ((2, 5), (6, 9)) and found.reference_spans == ((2, 9),)
    assert found.type == "rouge1" and (found.precision, found.recall) == (2 / 3, 2 / 4)


def test_characters_that_grow_or_shrink_keep_their_places() -> None:
    found = explain("İstanbul ﬁne", "stanbul", "rouge1")
    assert found.prediction_matches == ((1, 8),)
    found = explain("x ﬁne カﾞ", "fine ガ", "rouge1", tokens="words")
    assert found.prediction_spans == ((2, 8),) and found.f == 0.8


@settings(deadline=None, max_examples=200)
@given(
    texts,
    texts,
    st.sampled_from(["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]),
    st.booleans(),
    st.sampled_from(["rouge_score", "words", "characters"]),
    st.sampled_from(["newline", "sentences"]),
    st.sampled_from([1.0, 2.0]),
)
def test_matches_make_exactly_the_score(
    prediction: str, reference: str, kind: str, stem: bool, tokens: str, split: str, beta: float
) -> None:
    settings_ = {"stem": stem, "tokens": tokens, "split": split, "beta": beta}
    found = explain(prediction, reference, kind, **settings_)
    overlap = rouge([prediction], [reference], [kind], **settings_)[kind]
    assert (found.precision, found.recall, found.f) == tuple(float(part[0]) for part in overlap)
    assert found.hits == len(found.prediction_matches) == len(found.reference_matches)
    assert found.precision == found.hits / max(found.prediction_units, 1)
    assert found.recall == found.hits / max(found.reference_units, 1)
    for text, matches, spans in (
        (prediction, found.prediction_matches, found.prediction_spans),
        (reference, found.reference_matches, found.reference_spans),
    ):
        assert all(any(a <= x and y <= b for a, b in spans) for x, y in matches)
        ends = [end for span in spans for end in span]
        assert ends == sorted(ends) and all(a < b for a, b in spans)
        if tokens == "rouge_score" and kind[-1] not in "23":
            words = [word for a, b in spans for word in CUTS[tokens](text[a:b])]
            assert len(words) == found.hits


@pytest.mark.parametrize("kind", ["rougeS4", "rougeW-1.2", "rouge", "Rouge1"])
def test_types_without_spans_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"^types: "):
        explain("a", "a", kind)
    with pytest.raises(ConfigError, match="tokens: unknown"):
        explain("a", "a", tokens="word")  # type: ignore[arg-type]
