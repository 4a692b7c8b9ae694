"""`RougeScorer`, as rouge_score's: change the import and keep the rest of a program.

Same arguments, same answers, to the last bit. One thing differs: `split_summaries=True`, for
which rouge_score loads NLTK's trained Punkt model, uses Loratory's own rules for sentences.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

from loratory.metrics.rouge.kind import is_extension, kind_of
from loratory.metrics.rouge.pair import count
from loratory.metrics.rouge.tokenize import Text, Vocabulary, lines_of, words
from loratory.sentences import sentences

__all__ = ["RougeScorer", "Score", "Tokenizer"]

# Words of past calls are worth keeping, but not without end.
_KEPT_WORDS = 1 << 18


class Score(NamedTuple):
    """Precision, recall and F of one pair, 0 to 1."""

    precision: float
    recall: float
    fmeasure: float


class Tokenizer(Protocol):
    """What cuts texts into tokens in place of the default."""

    def tokenize(self, text: str) -> Sequence[Hashable]:
        """Return the tokens of a text, in order."""


class RougeScorer:
    """Scores one pair at a time, as `rouge_score.rouge_scorer.RougeScorer` does.

    Args:
        rouge_types: any of `rouge1` to `rouge9`, `rougeL`, `rougeLsum`. A wrong one is found
            when scoring, as there.
        use_stemmer: whether words longer than three characters are stemmed (Porter); a
            tokenizer of your own decides for itself.
        split_summaries: whether rougeLsum compares sentences, rather than lines.
        tokenizer: anything with `tokenize(text)`.
    """

    def __init__(
        self,
        rouge_types: Sequence[str],
        use_stemmer: bool = False,
        split_summaries: bool = False,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.rouge_types = rouge_types
        self._stem = use_stemmer and not tokenizer
        self._split = sentences if split_summaries else lines_of
        self._tokenizer = tokenizer
        self._vocabulary = self._fresh()

    def score(self, target: str, prediction: str) -> dict[str, Score]:
        """Return precision, recall and F by type; `target` is the reference and comes first.

        Raises:
            ValueError: a type that does not exist.
        """
        self._renew()
        return self._scores(self._read(target), self._read(prediction))

    def score_multi(self, targets: Sequence[str], prediction: str) -> dict[str, Score]:
        """Return, for each type, the score with the highest F over the targets.

        The first of equals counts.

        Raises:
            ValueError: a type that does not exist, or no targets.
        """
        if not targets:
            raise ValueError("targets: empty; ROUGE needs at least one reference.")
        self._renew()
        text = self._read(prediction)
        every = [self._scores(self._read(target), text) for target in targets]
        # max() keeps the first of equals, as numpy's argmax does.
        return {
            name: max((scores[name] for scores in every), key=lambda score: score.fmeasure)
            for name in self.rouge_types
        }

    def _scores(self, target: Text, prediction: Text) -> dict[str, Score]:
        scores = {}
        for name in self.rouge_types:
            kind = kind_of(name)
            if kind is None or is_extension(name):
                raise ValueError(
                    f"Invalid rouge type: {name}. Available: rouge1 to rouge9, rougeL, rougeLsum."
                )
            hits, predicted, expected = count(kind, prediction, target)
            precision, recall = hits / predicted, hits / expected
            both = precision + recall
            f = 2 * precision * recall / both if both > 0 else 0.0
            scores[name] = Score(precision, recall, f)
        return scores

    def _renew(self) -> None:
        if len(self._vocabulary) > _KEPT_WORDS:
            self._vocabulary = self._fresh()

    def _fresh(self) -> Vocabulary:
        cut = self._tokenizer.tokenize if self._tokenizer else words
        return Vocabulary(self._stem, cut, lambda text: [x for x in self._split(text) if x])

    def _read(self, text: str) -> Text:
        vocabulary = self._vocabulary
        if not self._tokenizer:
            return vocabulary.read(text)
        # A tokenizer may see the whole text otherwise than its lines; rouge_score asks for both.
        only_lines = len(self.rouge_types) == 1 and self.rouge_types[0] == "rougeLsum"
        whole = [] if only_lines else self._tokenizer.tokenize(text)
        lines = vocabulary.lines(text) if "rougeLsum" in self.rouge_types else []
        return Text(lines, [vocabulary.number(token) for token in whole])
