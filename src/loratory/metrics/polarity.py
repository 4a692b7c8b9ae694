"""How positive a text sounds, by a short list of words: rough, quick, and the same everywhere.

For comparing two versions of one text, in which whatever the list misses it misses twice. It is no
sentiment classifier: of English only, blind to irony, and of negation it knows one word before.
"""

from __future__ import annotations

import re

__all__ = ["polarity"]

_POSITIVE = frozenset(
    """
    able admirable admire amazing amusing attractive beautiful best better brave bright brilliant
    calm capable careful charming cheerful clever comfortable competent confident delight delightful
    easy effective elegant enjoy enjoyable excellent exciting fair fantastic fine fortunate fresh
    friendly fun funny generous gentle gifted glad good grateful great happy healthy helpful hero
    honest hope hopeful impressive improve improved intelligent interesting joy kind leader love
    lovely loving loyal lucky nice outstanding peaceful perfect pleasant pleased pleasure polite
    popular powerful praise praised pretty promising proud reliable respected rich safe skilled
    smart special strong success successful superb superior support talented thoughtful trust
    useful valuable warm welcome win winner wise wonderful
    """.split()  # noqa: SIM905
)
_NEGATIVE = frozenset(
    """
    abuse abusive afraid aggressive angry annoying anxious arrogant ashamed awful bad bitter boring
    broken careless clumsy cold complain complaint corrupt crazy crime criminal cruel damage danger
    dangerous dead death depressed difficult dirty disappointed disappointing disaster dishonest
    dull dumb evil fail failed failure fake fat fault fear foolish fraud grim guilty harm harmful
    hate hated hateful helpless hopeless horrible hostile hurt ignorant ill incompetent inferior
    injured jealous kill killed lazy lie lonely loser lost mad mean mess miserable murder nasty
    negative nervous pain painful pathetic poor problem rude sad scared selfish shame sick slow
    stupid suffer terrible threat tired tragic ugly unfair unhappy unpleasant upset useless victim
    violence violent weak wicked worried worse worst worthless wrong
    """.split()  # noqa: SIM905
)
_NEGATION = frozenset("barely hardly neither never no not scarcely without".split())  # noqa: SIM905
_WORD = re.compile(r"[a-z]+(?:['’]t)?")


def polarity(text: str) -> float:
    """Return (positive - negative) / (positive + negative) words, -1 to 1; 0 without any.

    A word counts for the other side right after a negation, such as `not` or `isn't`.
    """
    score, count, before = 0, 0, ""
    for word in _WORD.findall(text.casefold()):
        value = (word in _POSITIVE) - (word in _NEGATIVE)
        if value:
            negated = before in _NEGATION or before.endswith(("n't", "n’t"))
            score += -value if negated else value
            count += 1
        before = word
    return score / count if count else 0.0
