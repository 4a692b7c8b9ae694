"""What travels between the stages: frozen dataclasses, one JSON object a line on disk.

    Example     one row of data, ready for any model
    Prediction  what one system answered to one example, with all that is needed to score it
    Judgement   how likely one system finds the options of one item of a probe
    Score       one number of one system, with its signature, interval and n
    Comparison  one number of two systems on the same rows
    Finding     what was found of one question, such as leakage, in words and comparisons
    Place       how far one system has come from a trivial system to a better one, or to people

`loratory.codec` writes and reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "PLAIN",
    "QUESTIONS",
    "Comparison",
    "Contrasts",
    "Example",
    "Finding",
    "Judgement",
    "Message",
    "Place",
    "Prediction",
    "ScalePoint",
    "Score",
]

QUESTIONS = ("leakage", "overfitting", "forgetting", "bias")
"""What is asked of a run beside its scores, in the order in which it is told."""

PLAIN = frozenset({"bits_per_byte", "compression", "density", "loss", "nll", "perplexity", "words"})
"""Metrics shown in their own unit; all others lie in 0 to 1 and are shown times 100."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True)
class Example:
    """One row of data in the task's terms, independent of any model."""

    id: str
    """Unique within its run; names the row in messages and joins predictions."""
    source: str
    """The text the task is about: a document, a review, or the user's last instruction."""
    references: tuple[str, ...] = ()
    """Accepted answers; the first is the training target. Empty for classification."""
    label: int | None = None
    """Index into the task's labels; None where the task has no classes."""
    context: tuple[Message, ...] = ()
    """Turns of a chat before `source`, the system's included."""
    group: str = ""
    """What a column of the data says the row is about, for values by group; empty without one."""


@dataclass(frozen=True)
class Prediction:
    """One system's answer to one example. Scoring needs nothing but this record."""

    id: str
    text: str
    """The generated answer, or the name of the predicted class."""
    references: tuple[str, ...] = ()
    source: str = ""
    label: int | None = None
    """The true class."""
    predicted: int | None = None
    """The class with the highest probability."""
    probabilities: tuple[float, ...] = ()
    """One a class, summing to 1; empty for generated text."""
    prompt: str = ""
    """What the model was given, special tokens included, after cutting."""
    prompt_tokens: int = 0
    """Length of the encoded prompt, in tokens of the model, after cutting."""
    cut_tokens: int = 0
    """Tokens of the source removed so that the prompt fits."""
    new_tokens: int = 0
    """Generated tokens, the end token included."""
    finished: bool = True
    """False when the answer hit the length limit before its end token."""


@dataclass(frozen=True)
class Judgement:
    """How likely one system finds given texts: one item of a probe, answered."""

    id: str
    loglikelihoods: tuple[float, ...]
    """Of each option after its context, in nats, summed over its tokens."""
    tokens: tuple[int, ...]
    """Of each option, in tokens of the model."""
    characters: tuple[int, ...]
    """Of each option; of a plain text, its UTF-8 bytes."""
    gold: int | None = None
    """The right option; None where there is none, as for a plain text."""
    greedy: bool | None = None
    """Whether greedy decoding would give the first option; None where that was not asked."""
    group: str = ""
    """What the item is about, for values by group."""


@dataclass(frozen=True)
class Score:
    """One number of one system over a test set."""

    metric: str
    """`rougeL`, `accuracy`, …"""
    value: float | None
    """Full precision, in the metric's own unit (0 to 1); None when undefined."""
    low: float | None
    high: float | None
    """Percentile bootstrap interval at `confidence`."""
    n: int
    signature: str
    confidence: float = 0.95
    lower_is_better: bool = False
    descriptive: bool = False
    """Neither direction is better: a length, a count, how much is copied."""
    reason: str | None = None
    """Why `value` is None, in words."""

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.metric} undefined ({self.reason}) n={self.n} {self.signature}"
        unit = 1 if self.metric in PLAIN else 100
        value, low, high = (unit * (x or 0.0) for x in (self.value, self.low, self.high))
        return f"{self.metric} {value:.2f} [{low:.1f}, {high:.1f}] n={self.n} {self.signature}"


@dataclass(frozen=True)
class Comparison:
    """One number of two systems on the same rows: `tuned` minus `base`, paired."""

    metric: str
    base: float | None
    tuned: float | None
    difference: float | None
    low: float | None
    high: float | None
    """Paired interval of the difference at `confidence`, of this value by itself."""
    n: int
    signature: str
    confidence: float = 0.95
    lower_is_better: bool = False
    descriptive: bool = False
    reason: str | None = None
    p: float | None = None
    """Two-sided p value of `test`: how often systems that do not differ would be parted as far.
    None when undefined, or in a file from before it was computed."""
    test: str | None = None
    """What `p` is of: `approximate randomisation` (Noreen 1989), `McNemar mid-p`, or
    `Student's t over seeds and rows`."""
    p_adjusted: float | None = None
    """`p` corrected by Holm over the values judged together."""
    family: int | None = None
    """How many values were judged together."""
    effect: float | None = None
    """Size of the difference without its unit; None where every row differs alike."""
    effect_kind: str | None = None
    """`standardised difference`: mean over standard deviation of the rows' differences.
    `odds ratio`: of gains against losses among rows that go from right to wrong or back."""
    standard_error: float | None = None
    """Of the difference, in the metric's unit."""
    degrees: float | None = None
    """Degrees of freedom behind `standard_error`; None for n - 1."""
    relevant: float | None = None
    """The smallest difference that was said to matter, in the metric's unit."""
    detectable: float | None = None
    """The smallest difference that this test would have found with 80% power, in the metric's
    unit, at the confidence's level divided by `family`."""
    rows_needed: int | None = None
    """Rows with which `detectable` would be `relevant`."""
    seeds: int = 1
    """Trainings behind the numbers; with several, their spread is part of the interval."""
    verdict: str | None = None
    """`improved`, `worse`, `no evidence` or `test too small`; None where it was not judged."""

    @property
    def improved(self) -> bool:
        """True when the verdict says so.

        In a file from before there were verdicts: when the whole interval lies on the better side
        of zero.
        """
        return self._moved(better=True)

    @property
    def worsened(self) -> bool:
        """True when the verdict is `worse`, or in an older file the interval on that side."""
        return self._moved(better=False)

    def _moved(self, *, better: bool) -> bool:
        if self.verdict is not None:
            return self.verdict == ("improved" if better else "worse")
        if self.low is None or self.high is None or self.descriptive:
            return False
        return self.high < 0 if better == self.lower_is_better else self.low > 0


@dataclass(frozen=True)
class Contrasts:
    """Comparisons that belong together, such as those of one probe."""

    title: str
    comparisons: tuple[Comparison, ...]
    sides: tuple[str, ...] = ("base", "tuned")
    """What is compared with what: the names of the two columns."""


@dataclass(frozen=True)
class Finding:
    """What was found of one question about a run, beside its scores."""

    question: str
    """`leakage`, `overfitting`, `forgetting` or `bias`."""
    verdict: str
    """`found`, `no sign`, `too little to tell`, or `not measured`."""
    sentences: tuple[str, ...]
    """What a reader needs to know, the most important first."""
    tables: tuple[Contrasts, ...] = ()
    """The numbers: tuned minus base on the same items, or one set of rows against another."""
    limits: tuple[str, ...] = ()
    """What this measure cannot show."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further numbers by name, ready for JSON."""


@dataclass(frozen=True)
class ScalePoint:
    """What one scale of the adapter brings and costs, against the base model."""

    scale: float
    """0 is the base model, 1 the tuned one."""
    gain: float
    """How much better the task is done; above 0 is better."""
    forgetting: float
    """How much was lost elsewhere; above 0 is worse."""


@dataclass(frozen=True)
class Place:
    """How far one system has come on the way from one mark to a higher one, on the same rows."""

    metric: str
    system: str
    start: str
    """The system at 0: the random baseline."""
    goal: str
    """The system at 1: the best other baseline, or `human`."""
    value: float | None
    """The system's number; it, `at_start` and `at_goal` are of the same rows and references."""
    at_start: float | None
    at_goal: float | None
    share: float | None
    """(value - at_start) / (at_goal - at_start): below 0 before the start, above 1 beyond the
    goal; None when undefined."""
    low: float | None
    high: float | None
    """Percentile bootstrap interval of the share at `confidence`; all three systems are drawn
    together."""
    n: int
    left_out: int
    """Rows that could not be used: those with fewer than two references, where the goal is
    `human`."""
    signature: str
    confidence: float = 0.95
    reason: str | None = None
    """Why `share` is None, in words."""
