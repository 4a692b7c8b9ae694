"""What holds for every pair of texts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.metrics.rouge import rouge
from loratory.metrics.rouge.lcs import lcs_length, lcs_mask

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
texts = st.lists(st.sampled_from(["a", "b", "cats", "cat", "\n", "é"]), max_size=12).map(" ".join)
ids = st.lists(st.integers(0, 4), max_size=20)


def table_length(left: list[int], right: list[int]) -> int:
    row = [0] * (len(right) + 1)
    for a in left:
        above = row
        row = [0]
        for j, b in enumerate(right):
            row.append(above[j] + 1 if a == b else max(above[j + 1], row[j]))
    return row[-1]


@settings(deadline=None)
@given(texts, texts)
def test_swapping_the_texts_swaps_precision_and_recall(one: str, other: str) -> None:
    for kind in TYPES[:3]:  # the union of rougeLsum is not symmetric
        there, back = rouge([one], [other], [kind])[kind], rouge([other], [one], [kind])[kind]
        assert there.precision[0] == back.recall[0] and there.recall[0] == back.precision[0]


@settings(deadline=None)
@given(texts, texts)
def test_values_lie_between_zero_and_one(one: str, other: str) -> None:
    for overlap in rouge([one], [other], TYPES).values():
        assert all(0 <= values[0] <= 1 for values in overlap)


@settings(deadline=None)
@given(texts)
def test_a_text_with_words_matches_itself(text: str) -> None:
    overlap = rouge([text], [text], ["rougeL", "rougeLsum"])
    expected = 1.0 if any(word in text for word in ("a", "b")) else 0.0
    assert overlap["rougeL"].f[0] == overlap["rougeLsum"].f[0] == expected


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_a_batch_is_its_pairs(pairs: list[tuple[str, str]]) -> None:
    together = rouge([p for p, _ in pairs], [r for _, r in pairs])
    for i, (prediction, reference) in enumerate(pairs):
        alone = rouge([prediction], [reference])
        assert all(together[kind].f[i] == alone[kind].f[0] for kind in TYPES)


@settings(deadline=None)
@given(ids, ids)
def test_both_bit_algorithms_give_the_tables_length(one: list[int], other: list[int]) -> None:
    places: dict[int, int] = {}
    for position, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << position
    mask = lcs_mask(places, len(one), other)
    assert mask.bit_count() == lcs_length(one, other) == table_length(one, other)
    chosen = [word for position, word in enumerate(one) if mask >> position & 1]
    rest = iter(other)
    assert all(word in rest for word in chosen), "not a subsequence of the other text"
