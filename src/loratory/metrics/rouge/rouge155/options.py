"""The options of ROUGE-1.5.5, by readable names.

Each field's docstring names the letter that the script's command line gives it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from loratory.errors import suggest

__all__ = ["ElementMode", "EvaluationOptions", "Rouge155Options"]

ElementMode = Literal["H", "HM", "HMR", "HM1", "HMR1", "HMR2"]
_CHOICES: dict[str, tuple[str, ...]] = {
    "skip_units": ("pairs", "pairs_and_words", "both"),
    "basic_elements": get_args(ElementMode),
    "references": ("average", "best"),
    "average_over": ("evaluations", "words", "counts"),
}
# Weights beyond these overflow on long texts.
_RANGES: dict[str, tuple[type | tuple[type, ...], float, float]] = {
    "max_n": (int, 0, math.inf),
    "weight": ((int, float), 0.1, 7),
    "skip_gap": (int, -math.inf, math.inf),
    "max_words": (int, 0, math.inf),
    "max_bytes": (int, 0, math.inf),
    "alpha": ((int, float), 0, 1),
    "confidence": ((int, float), 0, 100),
    "samples": (int, 1, math.inf),
}


def _option(default: Any) -> Any:
    """Return a field that a signature names only where it departs from the script's default."""
    return field(default=default, metadata={"sig": None})


@dataclass(frozen=True)
class EvaluationOptions:
    """What to compute of one evaluation, and how."""

    max_n: int = _option(0)
    """Compute ROUGE-1 up to ROUGE of this n; 0 for none. `-n`"""
    lcs: bool = _option(True)
    """Compute ROUGE-L. Without it: `-x`"""
    weight: float | None = _option(None)
    """Compute ROUGE-W, a run of k words counting k^weight, 0.1 to 7; Lin uses 1.2. None for
    none. The score is named with the weight as written: 2 gives ROUGE-W-2, 2.0 ROUGE-W-2.0. `-w`"""
    skip_gap: int | None = _option(None)
    """Compute skip-bigrams of words with at most so many between them; negative for any number,
    None to compute none. `-2`"""
    skip_units: Literal["pairs", "pairs_and_words", "both"] = _option("pairs")
    """With `skip_gap`: `pairs` gives ROUGE-S, `pairs_and_words` ROUGE-SU (`-u`), `both` the two
    (`-U`)."""
    basic_elements: ElementMode | None = _option(None)  # noqa: RUF009
    """Texts are basic elements, one `head|modifier|relation` a line, and only they are scored:
    which parts must agree. `-3`, with `-z SIMPLE`"""
    stem: bool = _option(False)
    """Reduce words of more than three letters to their stems. `-m`"""
    irregular_forms: bool = _option(True)
    """With `stem`: WordNet's irregular forms come first. False is the script with an empty
    database, which the recipe that most wrappers copy builds."""
    remove_stop_words: bool = _option(False)
    """Leave out the words of the SMART list. `-s`"""
    max_words: int = _option(0)
    """Use so many words, by white space, of every text; 0 for all. `-l`"""
    max_bytes: int = _option(0)
    """Use so many bytes of every text, in UTF-8; 0 for all. Not with `max_words`. `-b`"""
    alpha: float = _option(0.5)
    """Weight of precision in F, 0 to 1: P R / ((1 - alpha) P + alpha R). `-p`"""
    references: Literal["average", "best"] = _option("average")
    """Several references: sum the counts over them (`-f A`), or take the one with the highest
    recall, the first of equals (`-f B`)."""
    jackknife: bool = _option(False)
    """Score against every set of all references but one, as Lin does to compare systems with
    people. The script left this to the configuration file in version 1.4."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        problems = [
            f"{name}: unknown {value!r}. {suggest(str(value), allowed)}"
            for name, allowed in _CHOICES.items()
            if (value := getattr(self, name, allowed[0])) not in allowed
            and not (value is None and name == "basic_elements")
        ]
        for name, (kind, low, high) in _RANGES.items():
            number: Any = getattr(self, name, low)
            if number is None and name in ("weight", "skip_gap"):
                continue
            fits = isinstance(number, kind) and not isinstance(number, bool)
            if not fits or not low <= number <= high:
                span = f"{low} or more" if high == math.inf else f"{low} to {high}"
                span = "any" if low == -math.inf else span
                what = "a whole number" if kind is int else "a number"
                problems.append(f"{name}: {number!r} is not {what}, {span}.")
        if self.max_words and self.max_bytes:
            problems.append("max_bytes: not together with max_words; set one of them to 0.")
        if not problems and not self.names():
            problems.append(
                "max_n: nothing to compute; set max_n, lcs, weight, skip_gap or basic_elements."
            )
        return problems

    def names(self) -> list[str]:
        """Return the names of the scores, as the script prints them, in its order."""
        if self.basic_elements is not None:
            return [f"ROUGE-BE-{self.basic_elements}"]
        names = [f"ROUGE-{n}" for n in range(1, self.max_n + 1)]
        names += ["ROUGE-L"] if self.lcs else []
        names += [] if self.weight is None else [f"ROUGE-W-{self.weight}"]
        if self.skip_gap is not None:
            gap = "*" if self.skip_gap < 0 else str(self.skip_gap)
            names += [f"ROUGE-S{gap}"] if self.skip_units != "pairs_and_words" else []
            names += [f"ROUGE-SU{gap}"] if self.skip_units != "pairs" else []
        return names

    def departures(self) -> list[str]:
        """Return `name:value` of every field that is not as the script has it."""
        default = Rouge155Options()
        return [
            f"{field.name}:{value}"
            for field in fields(default)
            if (value := getattr(self, field.name, field.default)) != field.default
        ]


@dataclass(frozen=True)
class Rouge155Options(EvaluationOptions):
    """What to compute and how; the defaults are the script's own, and give ROUGE-L alone."""

    average_over: Literal["evaluations", "words", "counts"] = "evaluations"
    """Average scores of evaluations (`-t 0`), score their summed counts (`-t 1`), or give the
    summed counts only (`-t 2`)."""
    confidence: float = 95
    """Confidence of the intervals, in percent. `-c`"""
    samples: int = 1000
    """Number of bootstrap resamples. `-r`"""

    @property
    def signature(self) -> str:
        """Everything that departs from the script's defaults, on one line."""
        return "|".join(["rouge155", "ref:ROUGE-1.5.5", *self.departures()])
