"""One pair in plain Python, many by numpy, many by compiled loops: the same counts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.metrics.rouge import lcs, rouge
from loratory.metrics.rouge.batch import count as batch_count
from loratory.metrics.rouge.batch import engine, lanes
from loratory.metrics.rouge.batch.column import Reader
from loratory.metrics.rouge.batch.count import counts
from loratory.metrics.rouge.kind import kind_of
from loratory.metrics.rouge.pair import count
from loratory.metrics.rouge.tokenize import Vocabulary

TYPES = [*(f"rouge{n}" for n in range(1, 10)), "rougeL", "rougeLsum", "rougeW-1.2", "rougeSU4"]
KINDS = [kind for name in TYPES if (kind := kind_of(name)) is not None]

# Few words, so that lines share many; the lines of the second kind do not fit 64 bits.
short_lines = st.lists(st.sampled_from(["a", "b", "c", "d", "\n", "\n", "x1"])).map(" ".join)
long_lines = st.lists(
    st.lists(st.integers(0, 30), min_size=50, max_size=90), min_size=1, max_size=3
).map(lambda lines: "\n".join(" ".join(f"w{word}" for word in line) for line in lines))
odd = st.text(
    st.sampled_from(["a", "B", "9", " ", "\n", "\0", "\t", "\u0130", "\u212a", "\u00e9", "\ud800"])
)
very_long_words = st.lists(st.sampled_from(["abcdefgh", "i" * 8, "j" * 15, "\n", " "])).map("".join)
texts = st.one_of(short_lines, long_lines, odd, very_long_words, st.text(max_size=50))


@pytest.fixture(params=["arrays", "compiled"])
def chosen(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "compiled":
        pytest.importorskip("numba")
    engine.choose(request.param)
    yield request.param
    engine.choose("auto")


def test_pairs_agree(chosen: str) -> None:
    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4), st.booleans())
    def agree(pairs: list[tuple[str, str]], stemmed: bool) -> None:
        sides = zip(*pairs, strict=True)
        every = [text for side in sides for text in side]
        found = counts(KINDS, *Reader(stemmed).read(every).split(len(pairs)))
        vocabulary = Vocabulary(stemmed)
        for i, pair in enumerate(pairs):
            read = [vocabulary.read(text) for text in pair]
            for kind, columns in zip(KINDS, found, strict=True):
                assert tuple(columns[:, i]) == tuple(count(kind, *read)), (kind, pair)

    agree()


def test_tables_made_in_parts_agree(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    words = np.array(["a", "b", "c", "d", "e", "f", "g", "\n"])
    pairs = [
        [" ".join(generator.choice(words, size=int(generator.integers(1, 200)))) for _ in range(2)]
        for _ in range(60)
    ]
    columns = [list(column) for column in zip(*pairs, strict=True)]
    expected = rouge(*columns, ["rougeLsum"])["rougeLsum"].f
    monkeypatch.setattr(lanes, "_LANES", 64)
    monkeypatch.setattr(lanes, "_CELLS", 1)
    monkeypatch.setattr(lanes, "_MOST", 4)
    monkeypatch.setattr(lanes, "_BLOCK", 20)  # most lines are too wide for a block then
    monkeypatch.setattr(lcs, "_TABLE", 50)
    monkeypatch.setattr(batch_count, "_HUGE", 60)
    assert (rouge(*columns, ["rougeLsum"])["rougeLsum"].f == expected).all()


def test_words_are_numbered_alike(chosen: str) -> None:
    # More words than the table has room for at first, of every length, and many come again.
    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))
    sizes = generator.integers(1, 24, size=40_000)
    drawn = "".join(generator.choice(letters, size=sizes.sum()))
    words = [drawn[end - size : end] for size, end in zip(sizes, sizes.cumsum(), strict=True)]
    chunks = [" ".join(generator.choice(words, size=3000)) for _ in range(30)]
    reader, vocabulary = Reader(True), Vocabulary(True)
    known: dict[int, int] = {}
    for chunk in chunks:
        numbers = reader.read([chunk]).words.tolist()
        for number, expected in zip(numbers, vocabulary.read(chunk).words, strict=True):
            assert known.setdefault(number, expected) == expected
    assert len(set(known.values())) == len(known)


@pytest.mark.parametrize("text", ["", "\n", "...", "\n\n", " \0 ", "\ud800"])
def test_texts_without_words(chosen: str, text: str) -> None:
    scores = rouge([text, "a b", "a b"], ["a b", text, "a b"], TYPES)
    assert all(scores[kind].f.tolist()[:2] == [0, 0] for kind in TYPES)
    assert scores["rougeLsum"].f[2] == 1


def test_nothing_gives_nothing(chosen: str) -> None:
    assert all(len(values) == 0 for values in rouge([], [], TYPES)["rouge1"])


def test_forgetting_words_changes_nothing(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from loratory.metrics.rouge.batch import column

    reader = Reader(True)
    first = reader.read(["one two one", "two three"])
    monkeypatch.setattr(column, "_KEPT_WORDS", 2)
    again = reader.read(["one two one", "two three"])
    assert [values.tolist() for values in first] == [values.tolist() for values in again]


def test_references_by_the_list_equal_the_best_alone() -> None:
    groups = [["a b c", "b c d e"], ["x"], ["b", "a b", "c d a b"]]
    predictions = ["b c d", "y", "a b d"]
    together = rouge(predictions, groups, TYPES)
    for i, (prediction, group) in enumerate(zip(predictions, groups, strict=True)):
        for kind in TYPES:
            alone = [rouge([prediction], [text], [kind])[kind].f[0] for text in group]
            assert together[kind].f[i] == max(alone)


# The peak of the process alone: getrusage would begin with that of the one that started it.
MEMORY = """
import re
from pathlib import Path
from loratory.metrics.rouge import rouge
from loratory.metrics.rouge.batch import engine
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
engine.choose("{engine}")
rouge(["a b"], ["b a"])
before = peak()
words = [f"w{{i * i % 997}}" for i in range(20_000)]
one = " ".join(words)
other = "\\n".join(" ".join(words[i : i + {line}]) for i in range(0, 20_000, {line}))
rouge([one[5:], other], [other, one], ["rouge1", "rouge2", "rougeL", "rougeLsum"])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
@pytest.mark.parametrize("name", ["arrays", "compiled"])
@pytest.mark.parametrize("line", [25, 10_000])
def test_a_pair_of_20_000_words_needs_less_than_200_megabytes(name: str, line: int) -> None:
    if name == "compiled":
        pytest.importorskip("numba")
    program = MEMORY.format(engine=name, line=line)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 200
