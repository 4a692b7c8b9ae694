"""Laws of dividing rows: parts are disjoint, cover, keep doubles together and proportions."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loratory.tasks.rows import SourceRow
from loratory.tasks.source.split import apportion, carve, items, question, sample, without

ROWS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), max_size=60)


def made(pairs):
    rows = [
        SourceRow(f"f:{i}", {"text": f"Text {n}", "label": c}) for i, (n, c) in enumerate(pairs)
    ]
    return items(rows, ["text"], "label")


@given(ROWS, st.integers(0, 70), st.integers(0, 3))
def test_parts_are_disjoint_cover_and_keep_doubles_together(pairs, size, seed) -> None:
    rows = made(pairs)
    part, rest = carve(rows, size, seed, "test")
    assert sorted(part + rest) == sorted(rows)
    assert {item.key for item in part}.isdisjoint(item.key for item in rest)
    assert carve(rows, size, seed, "test") == (part, rest)
    assert [item for item in rows if item in part] == part  # in the order given


@given(ROWS, st.integers(0, 70), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pairs, size, seed, random) -> None:
    rows = made(dict(pairs).items())
    mixed = random.sample(rows, len(rows))
    assert sorted(carve(rows, size, seed, "test")[0]) == sorted(carve(mixed, size, seed, "test")[0])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 100))
def test_without_doubles_sizes_are_exact_and_proportions_within_one_row(counts, percent) -> None:
    total = sum(counts)
    size = total * percent // 100
    rows = [
        SourceRow(f"f:{c}:{i}", {"text": f"{c} {i}", "label": c})
        for c, count in enumerate(counts)
        for i in range(count)
    ]
    part, rest = carve(items(rows, ["text"], "label"), size, 0, "test")
    assert (len(part), len(rest)) == (size, total - size)
    got = Counter(item.row.values["label"] for item in part)
    exact = [size * count / total for count in counts]
    ordinary = all(1 <= share <= count - 1 for share, count in zip(exact, counts, strict=True))
    if ordinary:
        assert all(abs(got[c] - share) < 1 for c, share in enumerate(exact))


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=8),
    st.integers(0, 400),
)
def test_seats_are_all_given_within_the_caps(pairs, size) -> None:
    counts, caps = [n for n, _ in pairs], [min(pair) for pair in pairs]
    seats = apportion(counts, caps, size)
    assert sum(seats) == min(size, sum(caps))
    assert all(0 <= seat <= cap for seat, cap in zip(seats, caps, strict=True))
    if size >= sum(cap > 0 for cap in caps):
        assert all(seat > 0 for seat, cap in zip(seats, caps, strict=True) if cap > 0)


@given(ROWS, st.integers(1, 70), st.integers(0, 3))
def test_a_sample_is_of_the_size_asked_and_in_order(pairs, limit, seed) -> None:
    rows = made(pairs)
    got = sample(rows, limit, seed, "train")
    assert len(got) == min(limit, len(rows))
    assert [item for item in rows if item in got] == got
    assert sample(rows, limit, seed, "train") == got


@given(ROWS, ROWS)
def test_without_leaves_nothing_shared(ours, theirs) -> None:
    kept = without(made(ours), made(theirs))
    assert {item.key for item in kept}.isdisjoint(item.key for item in made(theirs))
    assert {n for n, _ in ours} - {n for n, _ in theirs} == {
        int(item.row.values["text"].split()[1]) for item in kept
    }


@given(st.text(), st.text())
def test_a_question_is_blind_to_case_and_white_space_only(a, b) -> None:
    def same(x: str, y: str) -> bool:
        return question({"t": x}, ["t"]) == question({"t": y}, ["t"])

    assert same(a, f"  {a}\n")
    assert same(a, a) and same("Ab  c", "aB\tC")
    assert same(a, b) == (" ".join(a.split()).casefold() == " ".join(b.split()).casefold())
    assert question({"t": a, "u": b}, ["t", "u"]) != question({"t": a + "x", "u": b}, ["t", "u"])
