"""What the measures of ROUGE 2.0 are called, and what their names say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

__all__ = ["TYPES", "Kind", "kind_of", "type_problems"]

TYPES = ("rougeTopic", "rougeTopicUniq")

_VALID = re.compile(
    r"rouge(?:(?P<n>[1-9])|(?P<lcs>L)|(?P<topic>Topic|TopicUniq))(?P<synonyms>\+Synonyms)?"
)
_AVAILABLE = (
    "Available: rouge1+Synonyms to rouge9+Synonyms, rougeL+Synonyms, rougeTopic, rougeTopicUniq, "
    "rougeTopic+Synonyms, rougeTopicUniq+Synonyms."
)


class Kind(NamedTuple):
    """One measure of ROUGE 2.0."""

    family: Literal["N", "L", "Topic", "TopicUniq"]
    synonyms: bool
    """Whether synonyms match."""
    n: int = 1
    """Words of an n-gram."""

    @property
    def topic(self) -> bool:
        """Whether only topic words count."""
        return self.family in ("Topic", "TopicUniq")


def kind_of(name: str) -> Kind | None:
    """Return what a measure's name says, or None for a name that is none."""
    match = _VALID.fullmatch(name)
    if match is None:
        return None
    synonyms = match["synonyms"] is not None
    if match["topic"]:
        return Kind("TopicUniq" if match["topic"] == "TopicUniq" else "Topic", synonyms)
    if not synonyms:
        return None  # plain ROUGE, which is another metric
    return Kind("N", True, int(match["n"])) if match["n"] else Kind("L", True)


def type_problems(types: Sequence[str], synonyms: bool) -> list[str]:
    """Return what is wrong with a list of measures, one `types: sentence` each.

    Args:
        types: their names.
        synonyms: whether there is a source of synonyms.
    """
    if not types:
        return [f"types: empty, so there is nothing to compute. {_AVAILABLE}"]
    problems = []
    for name in types:
        kind = kind_of(name)
        if kind is None:
            plain = _VALID.fullmatch(name) is not None
            what = "is plain ROUGE, the metric 'rouge'" if plain else "is unknown"
            problems.append(f"types: '{name}' {what}. {_AVAILABLE}")
        elif kind.synonyms and not synonyms:
            problems.append(
                f"types: '{name}' needs synonyms, and none are given. "
                "Name a source or a file under `synonyms`."
            )
    problems += [f"types: '{t}' is given twice." for t in sorted(set(types)) if types.count(t) > 1]
    return problems
