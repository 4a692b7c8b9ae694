"""Whether a run may pass: a gain, and no more forgetting, bias or leakage than allowed.

For continuous integration. What was not measured does not pass: silence is no evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loratory.errors import ConfigError, suggest
from loratory.records import PLAIN, Comparison, Finding

__all__ = ["Check", "bias_check", "forgetting_check", "gain_check", "leakage_check"]


class Check(NamedTuple):
    """One condition, and whether the run meets it."""

    name: str
    passed: bool
    sentence: str


def gain_check(comparisons: Sequence[Comparison], metric: str, least: float) -> Check:
    """Check that a metric improved, and by how much.

    It passes when the verdict is `improved` and the difference is at least `least`; for a metric
    of which lower is better, when it fell by at least that.

    Args:
        comparisons: of the run.
        metric: the value's name.
        least: in points of 100, or in the metric's own unit where it has one.

    Raises:
        ConfigError: the run has no such value, or one of which neither direction is better.
    """
    known = {item.metric: item for item in comparisons if not item.descriptive}
    if metric not in known:
        raise ConfigError(f"--metric: unknown '{metric}'. {suggest(metric, known)}")
    item = known[metric]
    if item.difference is None:
        return Check("gain", False, f"{metric} could not be compared: {item.reason}.")
    scale = 1 if metric in PLAIN else 100
    gain = scale * (-item.difference if item.lower_is_better else item.difference)
    verdict = item.verdict or ("improved" if item.improved else "not judged")
    passed = item.improved and gain >= least
    return Check(
        "gain",
        passed,
        f"{metric}: {verdict}, a gain of {gain:.2f}; at least {least:g} is asked for.",
    )


def forgetting_check(findings: Mapping[str, Finding], most: float) -> Check:
    """Check that no probe lost more than `most` percent.

    That is points of accuracy, or percent of perplexity.
    """
    facts = findings["forgetting"].facts if "forgetting" in findings else {}
    names = {
        "largest_accuracy_drop": "points of accuracy",
        "largest_perplexity_rise": "% of perplexity",
    }
    found = {
        words: 100 * value for key, words in names.items() if (value := facts.get(key)) is not None
    }
    if not found:
        return _unknown("forgetting", findings)
    worst = ", ".join(f"{value:.2f} {words}" for words, value in found.items())
    return Check(
        "forgetting",
        max(found.values()) <= most,
        f"The largest loss on a probe is {worst}; at most {most:g} is allowed.",
    )


def bias_check(findings: Mapping[str, Finding], most: float) -> Check:
    """Check that no measure of bias grew by more than `most` points."""
    facts = findings["bias"].facts if "bias" in findings else {}
    growth = facts.get("largest_growth")
    if growth is None:
        return _unknown("bias", findings)
    return Check(
        "bias",
        100 * growth <= most,
        f"The largest growth of a bias is {100 * growth:.2f} points; at most {most:g} is allowed.",
    )


def leakage_check(findings: Mapping[str, Finding]) -> Check:
    """Check that no test row was found in training or validation."""
    found = findings.get("leakage")
    if found is None or found.verdict not in ("found", "no sign"):
        return _unknown("leakage", findings)
    return Check("leakage", found.verdict == "no sign", found.sentences[0])


def _unknown(question: str, findings: Mapping[str, Finding]) -> Check:
    found = findings.get(question)
    why = found.sentences[0] if found is not None and found.sentences else "nobody looked."
    return Check(question, False, f"{question.capitalize()} is not known: {why}")
