"""Where synonyms and topic words come from: files, nltk's data in small, other packages."""

import gc
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from loratory.errors import ConfigError, DataError, MissingDependencyError
from loratory.metrics.rouge.rouge2 import (
    PartsOfSpeech,
    Rouge2,
    rouge2,
    synonym_source,
    topic_source,
)
from loratory.metrics.rouge.rouge2.synonyms import SYNONYMS, wordnet
from loratory.metrics.rouge.rouge2.topics import TOPICS, speech

ONE = ["rouge1+Synonyms"]


def synset(offset: int, part: str, words: Sequence[str]) -> str:
    listed = " ".join(f"{word} 0" for word in words)
    return f"{offset:08d} 00 {part} {len(words):02x} {listed} 000 | a gloss  \n"


def write_wordnet(folder: Path) -> None:
    """A WordNet of three synsets, in the format of wndb(5WN)."""
    folder.mkdir(parents=True)
    synsets = {
        "noun": [("n", ["car", "automobile", "motor_vehicle"]), ("n", ["Rome"])],
        "verb": [("v", ["drive", "motor"])],
        "adj": [],
        "adv": [],
    }
    head = "  1 WordNet 3.0 Copyright 2006 by Princeton University.\n"
    for kind, sets in synsets.items():
        data, index = head, {}
        for part, words in sets:
            for word in words:
                index[word.lower()] = f"{word.lower()} {part} 1 0 1 0 {len(data):08d}  \n"
            data += synset(len(data), part, words)
        (folder / f"data.{kind}").write_text(data, encoding="utf-8")
        lines = head + "".join(index[word] for word in sorted(index))
        (folder / f"index.{kind}").write_text(lines, encoding="utf-8")
        irregular = "drove drive\n" if kind == "verb" else ""
        (folder / f"{kind}.exc").write_text(irregular, encoding="utf-8")
    (folder / "lexnames").write_text("00\tadj.all\t3\n", encoding="utf-8")
    for name in ("cntlist.rev", "index.sense"):
        (folder / name).write_text("", encoding="utf-8")


def write_tagger(folder: Path) -> None:
    """A perceptron tagger that knows four words and no weights."""
    folder.mkdir(parents=True)
    tags = {"dog": "NN", "dogs": "NNS", "barks": "VBZ", "loud": "JJ", "the": "DT"}
    parts = {"weights": {}, "tagdict": tags, "classes": sorted(set(tags.values()))}
    for part, content in parts.items():
        path = folder / f"averaged_perceptron_tagger_eng.{part}.json"
        path.write_text(json.dumps(content), encoding="utf-8")


# nltk leaves the files of its readers open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def nltk_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, the only one where nltk looks for data."""
    import nltk.corpus
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    folder = tmp_path / "nltk_data"
    folder.mkdir()
    monkeypatch.setattr(nltk.data, "path", [str(folder)])
    fresh = LazyCorpusLoader("wordnet", WordNetCorpusReader, None)
    monkeypatch.setattr(nltk.corpus, "wordnet", fresh)
    for cached in (wordnet._reader, wordnet._lemmas, speech._tagger):
        cached.cache_clear()
    yield folder
    for cached in (wordnet._reader, wordnet._lemmas, speech._tagger):
        cached.cache_clear()
    gc.collect()


@pytest.mark.filterwarnings("ignore:The multilingual functions:UserWarning")
def test_wordnet(nltk_data: Path) -> None:
    write_wordnet(nltk_data / "corpora" / "wordnet")
    found = rouge2(
        ["the cars drove", "motor", "Rome", "car"],
        ["the automobile motors", "vehicle", "rome", "drive"],
        [*ONE, "rougeTopic+Synonyms"],
        synonyms="wordnet",
    )
    # Inflections are found; `motor_vehicle` matches neither of its words.
    assert found["rouge1+Synonyms"].f.tolist() == [1, 0, 1, 0]
    assert found["rougeTopic+Synonyms"].f.tolist() == [1, 0, 1, 0]
    metric = Rouge2(types=("rouge1+Synonyms",), synonyms="wordnet")
    assert metric.problems() == []
    assert "|synonyms:wordnet-3.0|" in metric.signature


def test_wordnet_that_is_not_there(nltk_data: Path) -> None:
    with pytest.raises(ConfigError, match=r"synonyms: nltk finds no WordNet .*downloader wordnet"):
        rouge2(["a"], ["a"], ONE, synonyms="wordnet")
    problems = Rouge2(types=("rouge1+Synonyms",), synonyms="wordnet").problems()
    assert len(problems) == 1 and problems[0].startswith("synonyms: nltk finds no WordNet")


def test_parts_of_speech(nltk_data: Path) -> None:
    write_tagger(nltk_data / "taggers" / "averaged_perceptron_tagger_eng")
    text, reference = "The loud dog\nbarks", "the dogs"
    hits = {}
    for topic in ("nouns", "nouns-adjectives", "nouns-verbs"):
        metric = Rouge2(types=("rougeTopic",), topic=topic)
        assert metric.problems() == []
        found = rouge2([text], [reference], ["rougeTopic"], topic=topic)["rougeTopic"]
        hits[topic, metric.signature.split("|")[4]] = (found.precision[0], found.recall[0])
    assert hits == {
        ("nouns", "topic:nltk-NN"): (1, 1),
        ("nouns-adjectives", "topic:nltk-NN+JJ"): (1 / 2, 1),
        ("nouns-verbs", "topic:nltk-NN+VB"): (1 / 2, 1),
    }


def test_a_tagger_that_is_not_there(nltk_data: Path) -> None:
    with pytest.raises(ConfigError, match="topic: nltk finds no tagger on this machine"):
        rouge2(["a"], ["a"], ["rougeTopic"], topic="nouns")
    # Synonyms alone need no topic words, and plain topics no synonyms.
    assert rouge2(["a"], ["a"], ONE, topic="nouns", synonyms=[("a", "b")])[ONE[0]].f[0] == 1


def test_nltk_that_is_not_installed(nltk_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nltk.corpus", "nltk.tag.perceptron"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="synonyms: 'wordnet' needs nltk: pip install"):
        rouge2(["a"], ["a"], ONE, synonyms="wordnet")
    with pytest.raises(MissingDependencyError, match="topic: parts of speech need nltk"):
        rouge2(["a"], ["a"], ["rougeTopic"], topic="nouns")
    assert Rouge2(topic="nouns").problems()[0].startswith("topic: parts of speech need nltk")


def test_a_tagger_of_the_users() -> None:
    def tagger(words: Sequence[str]) -> list[str]:
        return ["NOUN" if len(word) == 3 else "VERB" for word in words]

    topic = PartsOfSpeech(tags=("NOUN",), tagger=tagger)
    found = rouge2(["dog barks"], ["a dog runs"], ["rougeTopic"], topic=topic)
    assert found["rougeTopic"].f[0] == 1


def test_a_file_of_synonyms(tmp_path: Path) -> None:
    file = tmp_path / "my synonyms.csv"
    file.write_text("\ufeff# vehicles\nCar, automobile\n\nbank\tshore\n", encoding="utf-8")
    for given in (str(file), file):
        found = rouge2(["cars", "bank"], ["automobile", "Shore"], ONE, synonyms=given)
        assert found["rouge1+Synonyms"].f.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"car, automobile\nbank\n", r":2: one word, where a set needs two or more"),
        (b"car, motor car\n", "'motor car' is 2 words to ROUGE"),
        (b"car, caf\xe9\n", r"is not UTF-8 \(byte 8\)"),
    ],
)
def test_a_file_that_is_none_of_synonyms(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        rouge2(["a"], ["a"], ONE, synonyms=file)
    problems = Rouge2(types=("rouge1+Synonyms",), synonyms=str(file)).problems()
    assert len(problems) == 1 and problems[0].startswith("synonyms: ")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"synonyms: there is no file '.*none.txt'"):
        rouge2(["a"], ["a"], ONE, synonyms=tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"topic: '.*' cannot be read \(Is a directory\)"):
        rouge2(["a"], ["a"], ["rougeTopic"], topic=tmp_path)
    with pytest.raises(ConfigError, match=r"topic: 'none\.txt' is neither a source nor a file"):
        rouge2(["a"], ["a"], ["rougeTopic"], topic="none.txt")


def test_a_file_that_no_measure_uses_is_looked_for_too(tmp_path: Path) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text("car, automobile\n", encoding="utf-8")
    metric = Rouge2(types=("rouge1+Synonyms",), synonyms=str(file), topic="none.txt")
    assert metric.problems() == ["topic: there is no file 'none.txt'."]


def test_a_file_of_topic_words(tmp_path: Path) -> None:
    file = tmp_path / "topics.txt"
    file.write_text("battery screen\nkeyboards\n", encoding="utf-8")
    found = rouge2(
        ["the batteries and a keyboard"], ["a great battery"], ["rougeTopic"], topic=str(file)
    )["rougeTopic"]
    assert (found.precision[0], found.recall[0]) == (1 / 2, 1)


def test_a_signature_holds_contents_and_no_path(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one|of them.txt", "copy.txt", "other.txt")]
    for file, content in zip(files, ("car, auto", "car, auto", "car, bus"), strict=True):
        file.write_text(content, encoding="utf-8")
    one, copy, other = (
        Rouge2(types=("rouge1+Synonyms", "rougeTopic"), synonyms=str(file), topic=str(file))
        for file in files
    )
    assert one.signature == copy.signature != other.signature
    digest = hashlib.sha256(b"car, auto").hexdigest()[:12]
    assert f"|synonyms:file-{digest}|" in one.signature and " " not in one.signature
    values = {name: one.value_signature(name) for name in one.types}
    assert "topic:" not in values["rouge1+Synonyms"] and "synonyms:" in values["rouge1+Synonyms"]
    assert "topic:file-" in values["rougeTopic"] and "synonyms:" not in values["rougeTopic"]
    assert all("types:" not in value for value in values.values())


def test_a_source_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        SYNONYMS, "_classes", {name: SYNONYMS.get(name) for name in SYNONYMS.names()}
    )
    monkeypatch.setattr(TOPICS, "_classes", {name: TOPICS.get(name) for name in TOPICS.names()})

    @synonym_source("rhymes")
    @dataclass(frozen=True)
    class Rhymes:
        """What ends alike."""

        name: ClassVar[str]
        signature = "rhymes-1"

        def __call__(self, word: str, /) -> list[str]:
            return [first + word[1:] for first in "bchmr"]

    @topic_source("long")
    @dataclass(frozen=True)
    class Long:
        """Long words."""

        name: ClassVar[str]
        signature = "long-5"

        def __call__(self, words: Sequence[str], /) -> list[bool]:
            return [len(word) >= 5 for word in words]

    metric = Rouge2(types=("rouge1+Synonyms", "rougeTopic"), synonyms="rhymes", topic="long")
    assert metric.problems() == []
    assert "|synonyms:rhymes-1|topic:long-5|" in metric.signature
    found = rouge2(
        ["cat on house"], ["hat or house"], metric.types, synonyms="rhymes", topic="long"
    )
    assert (found["rouge1+Synonyms"].f[0], found["rougeTopic"].f[0]) == (2 / 3, 1)
