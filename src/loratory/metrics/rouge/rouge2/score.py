"""ROUGE 2.0 of pairs of texts: synonyms, and topic words.

Ganesan 2018, "ROUGE 2.0: Updated and Improved Measures for Evaluation of Summarization Tasks"
(arXiv 1803.01937). The measures are the paper's, how matches are counted is not: its Java
package adds one for each synonym that the reference has left, so that a word may count more
than once and the order matters. Here each word counts once, and as many are matched as can be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import numpy as np

from loratory.errors import ConfigError, suggest
from loratory.metrics.rouge.kind import TYPES as PLAIN_TYPES
from loratory.metrics.rouge.rouge2.kind import TYPES, Kind, kind_of, type_problems
from loratory.metrics.rouge.rouge2.lexicon import Lexicon
from loratory.metrics.rouge.rouge2.overlap import form_hits, lcs_hits, ngram_hits
from loratory.metrics.rouge.rouge2.synonyms import GivenSynonyms, near_forms
from loratory.metrics.rouge.rouge2.topics import GivenTopics, topic_filter
from loratory.metrics.rouge.score import Overlap, f_measure, rouge
from loratory.metrics.rouge.score import setting_problems as plain_problems
from loratory.metrics.rouge.tokenize import CUTS, Vocabulary, lines_of

__all__ = ["WordTokens", "rouge2", "setting_problems"]

WordTokens = Literal["rouge_score", "words"]


class _Words(NamedTuple):
    """A text as words."""

    all: list[str]
    topic: list[str]
    """Those that are topic words, in their order."""


def rouge2(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    types: Sequence[str] = TYPES,
    stem: bool = True,
    *,
    synonyms: GivenSynonyms | None = None,
    topic: GivenTopics = "content",
    tokens: WordTokens = "rouge_score",
    beta: float = 1.0,
) -> dict[str, Overlap]:
    """Return precision, recall and F of every pair, by measure of ROUGE 2.0.

    `rouge1+Synonyms` to `rouge9+Synonyms` and `rougeL+Synonyms` are ROUGE-N and ROUGE-L in
    which synonyms match: two words do if one is a synonym of the other, whichever lists it, or
    if their stems are equal. n-grams match word by word. `rougeTopic` is ROUGE-1 of the topic
    words alone, each as often as it occurs, and `rougeTopicUniq` of the distinct ones;
    `+Synonyms` after either lets synonyms match. Hits are a maximum matching, one to one, so
    the score is symmetric and `rouge1+Synonyms` never below `rouge1`.

    A text without words, or topic words, scores 0 even against itself, as in ROUGE. With
    several references, each measure takes the one with the highest F, the first of equals.

    Args:
        predictions: n texts.
        references: n texts, or n non-empty lists of texts.
        types: the measures, named as above.
        stem: whether words longer than three characters are stemmed (Porter). Synonyms are
            looked up for the word as it stands, and compared by their stems.
        synonyms: `wordnet` or another registered source, the path of a file with one set a
            line, a callable from a word to its synonyms, or the sets themselves. Phrases from
            a callable match nothing.
        topic: `content`, `nouns` or another registered source, the path of a file of words, a
            callable from the words of a line to one truth value each, or the words themselves.
        tokens: `rouge_score` (runs of a-z and 0-9) or `words` (Unicode words).
        beta: how many times recall weighs as much as precision in F.

    Raises:
        ConfigError: a measure, source, profile or beta that does not exist.
        DataError: columns that do not fit, something that is not text, or a file or list of
            words that cannot be used; the sentence names it.
        MissingDependencyError: a source needs a package that is not installed.
    """
    if problems := setting_problems(types, synonyms is not None, tokens, beta):
        raise ConfigError(problems)
    # The columns are checked as ROUGE checks them, and with its sentences.
    rouge(predictions, references, ("rouge1",), stem=False)
    groups = [[item] if isinstance(item, str) else list(item) for item in references]
    kinds = {name: kind for name in types if (kind := kind_of(name))}
    cut = CUTS[tokens]
    vocabulary = Vocabulary(stem, cut)
    near = near_forms(synonyms, cut, vocabulary.number) if synonyms is not None else None
    lexicon = Lexicon(vocabulary, near)
    chosen = None
    if any(kind.topic for kind in kinds.values()):
        chosen = topic_filter(topic, cut, vocabulary.number)

    def read(text: str) -> _Words:
        lines = [list(cut(line)) for line in lines_of(text)]
        kept = [word for line in lines for word in chosen(line)] if chosen else []
        return _Words([word for line in lines for word in line], kept)

    counts: dict[str, list[tuple[int, int, int]]] = {name: [] for name in kinds}
    for prediction, group in zip(predictions, groups, strict=True):
        left = read(prediction)
        for right in map(read, group):
            for name, kind in kinds.items():
                counts[name].append(_count(kind, left, right, lexicon))
    sizes = [len(group) for group in groups]
    return {name: _overlap(rows, sizes, beta) for name, rows in counts.items()}


def setting_problems(types: Sequence[str], synonyms: bool, tokens: str, beta: float) -> list[str]:
    """Return what is wrong with settings of ROUGE 2.0, one `field: sentence` each."""
    problems = type_problems(types, synonyms)
    if tokens not in get_args(WordTokens):
        problems.append(f"tokens: unknown '{tokens}'. {suggest(tokens, get_args(WordTokens))}")
    return problems + plain_problems(PLAIN_TYPES, "rouge_score", "newline", beta)


def _count(
    kind: Kind, prediction: _Words, reference: _Words, lexicon: Lexicon
) -> tuple[int, int, int]:
    """Return hits of one pair, and the units of its prediction and its reference."""
    if kind.family == "N":
        left, right = prediction.all, reference.all
        less = kind.n - 1
        return ngram_hits(left, right, kind.n, lexicon), len(left) - less, len(right) - less
    if kind.family == "L":
        left, right = prediction.all, reference.all
        return lcs_hits(left, right, lexicon), len(left), len(right)
    left, right = prediction.topic, reference.topic
    forms = [Counter(map(lexicon.form, words)) for words in (left, right)]
    if kind.family == "TopicUniq":
        forms = [Counter(dict.fromkeys(words, 1)) for words in forms]
    if not kind.synonyms:
        hits = (forms[0] & forms[1]).total()
    elif kind.family == "TopicUniq":
        hits = form_hits(left, right, lexicon)
    else:
        hits = ngram_hits(left, right, 1, lexicon)
    return hits, forms[0].total(), forms[1].total()


def _overlap(rows: list[tuple[int, int, int]], sizes: Sequence[int], beta: float) -> Overlap:
    """Return one measure, of each run of `sizes[i]` pairs the first with the highest F."""
    hits, predicted, expected = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(expected, 1)
    overlap = Overlap(precision, recall, f_measure(precision, recall, beta))
    starts = np.cumsum([0, *sizes])
    chosen = [start + int(np.argmax(overlap.f[start:stop])) for start, stop in pairwise(starts)]
    return Overlap(*(values[chosen] for values in overlap))
