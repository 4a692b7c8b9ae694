"""BERTScore: how near the tokens of an answer are to those of a reference, as an encoder sees them.

Zhang et al. 2020, "BERTScore: Evaluating Text Generation with BERT" (arXiv 1904.09675), as the
package bert-score 0.3.13 computes it without rescaling: each token of one text is matched with
the most similar token of the other by the cosine of their hidden states.

torch is imported when something is scored; the module itself is light.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from loratory.errors import (
    ConfigError,
    MissingDependencyError,
    ModelError,
    suggest,
)
from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.metrics.texts import check_texts
from loratory.records import Prediction
from loratory.registry import signature
from loratory.tuning.embedded import EMBEDDED

if TYPE_CHECKING:
    from loratory.tuning.vectors import Tokens, Vectors

__all__ = ["BertScore", "idf_of"]

# Layers that agree best with human judgement on WMT16, as bert-score 0.3.13 lists them. It has
# none for MiniLM; seven of the nine encoders of six layers that it tuned there have 5.
LAYERS = {
    "embedded:minilm": 5,
    "bert-base-cased-finetuned-mrpc": 9,
    "bert-base-multilingual-cased": 9,
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "deberta-base-mnli": 9,
    "deberta-large-mnli": 18,
    "deberta-xlarge-mnli": 40,
    "distilbert-base-uncased": 5,
    "distilroberta-base": 5,
    "mpnet-base": 8,
    "roberta-base": 10,
    "roberta-large": 17,
    "xlm-roberta-base": 9,
    "xlm-roberta-large": 17,
}
USUAL_DEPTH = 5 / 6
"""Share of the layers taken for a model that is not listed: 5 of 6, 10 of 12, 20 of 24."""

# What is held as vectors at once: 100 MB for 384 dimensions.
_CHUNK_TOKENS = 32_768


@metric("bertscore")
@dataclass(frozen=True)
class BertScore:
    """Similarity of tokens under an encoder (Zhang et al. 2020), without rescaling to a baseline.

    `bertscore_precision`, `bertscore_recall` and `bertscore_f1` are means over rows, 1 for equal
    texts; with several references, the one with the highest F1 gives all three. An answer, or a
    reference, without tokens scores 0. `bertscore_cut` is the share of rows in which a text was
    longer than the model reads; its end was not seen.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 1904.09675"
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset({"bertscore_cut"})
    undefined: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("bertscore_precision", "bertscore_recall", "bertscore_f1"),
        "with idf, every token of the references stands in all of them and weighs nothing",
    )
    whole: ClassVar[bool] = True
    alone: ClassVar[bool] = True
    """All rows are scored in one process: idf needs them all, and the model every core."""

    model: str = field(default="embedded:minilm", metadata={"sig": None})
    """Encoder: Hub name, local folder, or embedded:NAME (see `loratory list models`)."""
    revision: str | None = field(default=None, metadata={"sig": None})
    """Branch, tag or commit of a Hub model; pin a commit to make the number repeatable."""
    layer: int | None = None
    """Layer whose hidden states are compared, from 1, 0 for the embeddings; default: the one
    bert-score found best for this model, or else that five sixths up."""
    idf: bool = False
    """Whether a token weighs the less, the more references of the test set it stands in; it
    then hangs on the whole set, whose parts must not be scored apart."""
    batch_size: int = field(default=32, metadata={"sig": None})
    """Texts in one forward pass, at most; fewer where they are long."""

    @property
    def signature(self) -> str:
        name, layer, *rest = signature(self).split("|")
        if self.layer is None:
            known = LAYERS.get(_short(self.model))
            layer = f"layer:{known}" if known else "layer:5/6"
        *rest, last = rest
        loader = f"transformers:{_version('transformers')}"
        return "|".join([name, f"model:{self._identity()}", layer, *rest, loader, last])

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        problems = []
        embedded = self.model.startswith("embedded:")
        if not self.model.strip():
            problems.append("model: empty; give a Hub name, a folder or embedded:minilm.")
        elif embedded and self.model.removeprefix("embedded:") not in EMBEDDED:
            hint = suggest(self.model, [f"embedded:{name}" for name in EMBEDDED])
            problems.append(f"model: unknown '{self.model}'. {hint}")
        if self.revision is not None and (embedded or Path(self.model).expanduser().is_dir()):
            problems.append(f"revision: '{self.model}' is on this machine and has none.")
        if self.layer is not None and (type(self.layer) is not int or self.layer < 0):
            problems.append(f"layer: got {self.layer!r}; give a whole number from 0.")
        if type(self.batch_size) is not int or self.batch_size < 1:
            problems.append(f"batch_size: got {self.batch_size!r}; give a whole number from 1.")
        return problems

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return one row a prediction, shape (n, 6).

        A row holds 1, whether it can be scored, its precision, recall and F1, and whether a
        text of it was cut. Rows with the same text and references are equal to the last bit.

        Raises:
            ConfigError: the model has not so many layers.
            DataError: a row without references, or with something that is not text.
            MissingDependencyError: torch, transformers or the model's package is missing.
            ModelError: the model cannot be found or read.
        """
        check_texts(predictions)
        pairs = list(dict.fromkeys((p.text, tuple(p.references)) for p in predictions))
        vectors = _vectors(self.model, self.revision, self.layer)
        tokens = vectors.read(sorted({text for one, group in pairs for text in (one, *group)}))
        idf = None
        if self.idf:
            # Two systems that are compared bring the references of a row twice.
            rows_read = dict.fromkeys((p.id, tuple(p.references)) for p in predictions)
            idf = idf_of([tokens[text].ids for _, group in rows_read for text in group])
        found: dict[Pair, Match] = {}
        for chunk in _chunks(pairs, tokens):
            found |= _scored(chunk, vectors, tokens, idf, self.batch_size)
        rows = [(1, *found[p.text, tuple(p.references)]) for p in predictions]
        return np.array(rows, dtype=np.float64).reshape(-1, 6)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the means of precision, recall and F1, -1 to 1, and the share of rows cut."""
        scored = totals[..., 1]
        return {
            "bertscore_precision": ratio(totals[..., 2], scored),
            "bertscore_recall": ratio(totals[..., 3], scored),
            "bertscore_f1": ratio(totals[..., 4], scored),
            "bertscore_cut": ratio(totals[..., 5], totals[..., 0]),
        }

    def _identity(self) -> str:
        """Return what names the weights: a package's, a Hub name, or a folder and its hash."""
        path = Path(self.model).expanduser()
        name, mark = self.model, self.revision
        if path.exists() and not name.startswith("embedded:"):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            kinds = {".gguf", ".json", ".model", ".safetensors", ".txt"}
            facts = [(str(f), f.stat().st_mtime_ns) for f in files if f.suffix in kinds]
            name, mark = path.resolve().name, _hash(tuple(facts))[:12]
        return re.sub(r"[\s|]+", "-", f"{name}@{mark}" if mark else name)


class Match(NamedTuple):
    """What a row of statistics holds after its 1."""

    scored: bool
    precision: float
    recall: float
    f1: float
    cut: bool


class Idf(NamedTuple):
    """Inverse document frequencies, where a document is a reference."""

    known: Mapping[int, float]
    """By token, of those that stand in a reference."""
    unseen: float
    """Of all others."""


Pair = tuple[str, tuple[str, ...]]
"""An answer and its references."""


def idf_of(documents: Sequence[Sequence[int]]) -> Idf:
    """Return log((N + 1) / (n + 1)) of each token, for N documents of which n have it."""
    seen = Counter(token for document in documents for token in set(document))
    total = len(documents) + 1
    return Idf(
        {token: math.log(total / (count + 1)) for token, count in seen.items()}, math.log(total)
    )


def _weights(tokens: Tokens, ends: frozenset[int], idf: Idf | None) -> list[float]:
    """Return the weight of each token; they sum to 1, or are all 0."""
    raw = [1.0 if idf is None else idf.known.get(token, idf.unseen) for token in tokens.ids]
    # As in bert-score, [CLS] and [SEP] weigh nothing, though another token may match them.
    raw = [0.0 if i in ends else value for i, value in zip(tokens.ids, raw, strict=True)]
    total = 0.0 if tokens.empty else math.fsum(raw)
    return [value / total for value in raw] if total > 0 else [0.0] * len(raw)


def _chunks(pairs: Sequence[Pair], tokens: Mapping[str, Tokens]) -> Iterator[list[Pair]]:
    """Yield so many pairs at once that their vectors fit in memory.

    Long ones come first, and those with equal references together.
    """

    def length(text: str) -> int:
        return len(tokens[text].ids)

    def place(pair: Pair) -> tuple[int, tuple[str, ...], int, str]:
        answer, references = pair
        return -max(map(length, references)), references, -length(answer), answer

    chunk: list[Pair] = []
    held = 0
    for answer, references in sorted(pairs, key=place):
        size = sum(map(length, (answer, *references)))
        if chunk and held + size > _CHUNK_TOKENS:
            yield chunk
            chunk, held = [], 0
        chunk.append((answer, references))
        held += size
    if chunk:
        yield chunk


def _scored(
    chunk: Sequence[Pair],
    vectors: Vectors,
    tokens: Mapping[str, Tokens],
    idf: Idf | None,
    batch_size: int,
) -> dict[Pair, Match]:
    """Return the best match of each answer with its references."""
    from loratory.tuning.vectors import greedy_match

    here = {text: tokens[text] for answer, group in chunk for text in (answer, *group)}
    weights = {text: _weights(read, vectors.ends, idf) for text, read in here.items()}
    asked = [
        (answer, reference)
        for answer, group in chunk
        for reference in dict.fromkeys(group)
        if any(weights[answer]) and any(weights[reference])
    ]
    found = greedy_match(asked, vectors.states(here, batch_size), weights, batch_size)
    matched = dict(zip(asked, found, strict=True))
    best = {}
    for answer, group in chunk:
        cut = any(here[text].cut for text in (answer, *group))
        # With idf, nothing may be left of a reference that could be recalled; one without
        # tokens scores 0.
        usable = [text for text in group if any(weights[text]) or here[text].empty]
        matches = [
            _match(*matched.get((answer, reference), (0.0, 0.0)), cut) for reference in usable
        ]
        best[answer, group] = max(
            matches, key=lambda match: match.f1, default=Match(False, 0.0, 0.0, 0.0, cut)
        )
    return best


def _match(precision: float, recall: float, cut: bool) -> Match:
    total = precision + recall
    return Match(True, precision, recall, 2 * precision * recall / total if total else 0.0, cut)


def _vectors(name: str, revision: str | None, layer: int | None) -> Vectors:
    """Return the model, its messages worded for this metric's fields."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"bertscore: needs {package}, which is not installed. "
                "Run: pip install 'loratory[train]'"
            )
    from loratory.tuning.vectors import load_vectors

    try:
        return load_vectors(
            name, revision, LAYERS.get(_short(name)) if layer is None else layer, USUAL_DEPTH
        )
    except (ModelError, MissingDependencyError) as error:
        raise type(error)(str(error).replace("model.name:", "bertscore.model:", 1)) from None
    except ConfigError as error:
        raise ConfigError([f"bertscore.{problem}" for problem in error.problems]) from None


def _short(name: str) -> str:
    """Return a Hub name without its owner, which the table above leaves out."""
    return name.rpartition("/")[2]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


@functools.lru_cache(maxsize=8)
def _hash(files: tuple[tuple[str, int], ...]) -> str:
    """Return a sha256 over files, given with their time of change, names included."""
    total = hashlib.sha256()
    for name, _ in files:
        with Path(name).open("rb") as stream:
            total.update(f"{Path(name).name}\0".encode())
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
