"""Text to sentences by rule, for any language with marks at its sentences' ends.

No model and no download. A mark ends a sentence unless a rule says otherwise: a small letter
follows, the word before is an abbreviation or an initial, or the mark belongs to a number. An
abbreviation that can stand last (`Inc.`, `U.S.`, `a.m.`) ends one only before a word that
usually begins one. Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary
Detection", names the cases; the lists here are short and fixed.
"""

from __future__ import annotations

import re

__all__ = ["sentence_spans", "sentences"]

_CLOSING = "\"'”’»›)\\]}」』）】〉》"
_OPENING = "\"'“‘„«‹([{¿¡「『（【〈《"
# Marks that end a sentence wherever they stand: CJK, Arabic and Urdu, Indic, Armenian,
# Ethiopic, Burmese, Khmer.
_ALWAYS = "。！？｡؟۔।॥։።။។៕"
_END = re.compile(
    rf"(?P<always>[{_ALWAYS}]+)[{_CLOSING}]*"
    rf"|(?P<mark>\.(?:[ \t]\.)+|[.!?…]+)[{_CLOSING}]*(?=\s|$)"
)
_GAP = re.compile(rf"\s*[{re.escape(_OPENING)}]*")
_FAR = 64
_LINE = re.compile(r"\n")
_PARAGRAPH = re.compile(r"\n\s*\n")
_ENUMERATOR = re.compile(r"\(?(?:\d{1,3}|[^\W\d_]|[ivxIVX]{1,4})")
# `b)` of a list within a line
_LABEL = re.compile(r"[a-z]{1,3}\)\s")
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")

_NEVER_LAST = frozenset(
    """
    mr mrs ms mx dr prof gen col maj capt lt sgt cmdr adm rep sen gov rev hon pres st mt ft messrs
    mme mlle mgr sra srta dra hr fr bzw vgl ggf e.g i.e z.b d.h p.ej c.-à-d vs cf viz resp
    """.split()  # noqa: SIM905
)
_BEFORE_NUMBER = frozenset(
    """
    no nos nr num fig figs eq eqs sec secs ch vol vols p pp art par tab ver approx ca circa est
    jan feb mar apr jun jul aug sep sept oct nov dec
    """.split()  # noqa: SIM905
)
_MAY_BE_LAST = frozenset(
    "inc ltd llc co corp bros jr sr esq etc al dept univ assn ave blvd rd usw ed eds".split()  # noqa: SIM905
)
_BEGINNERS = frozenset(
    """
    the a an he she it its they we you i this that these those there here in on at for from with
    as but and or so if when while after before however although though since by to his her their
    our my what who which where why how then now no not yes one some many most all both each other
    another such also moreover meanwhile according unlike despite during until
    """.split()  # noqa: SIM905
)


def sentences(text: str, *, wrapped: bool = False) -> list[str]:
    """Return the sentences of a text, without white space around them.

    A text without words but with marks is one sentence; blank text has none.

    Args:
        text: any text.
        wrapped: whether its lines are wrapped, so that only a blank line ends a sentence;
            otherwise every newline does.
    """
    return [text[start:stop] for start, stop in sentence_spans(text, wrapped=wrapped)]


def sentence_spans(text: str, *, wrapped: bool = False) -> list[tuple[int, int]]:
    """Return where the sentences of a text begin and end, in order; arguments as `sentences`."""
    # A text all in small letters tells nothing by a small letter.
    cased = any(char.isupper() for char in text)
    spans = []
    start = 0
    for stop, following in _blocks(text, _PARAGRAPH if wrapped else _LINE):
        for match in _END.finditer(text, start, stop):
            if match.end() == stop or _ends(text, match, start, stop, cased):
                spans.append((start, match.end()))
                start = match.end()
        spans.append((start, stop))
        start = following
    trimmed = (_trim(text, start, stop) for start, stop in spans)
    return [(start, stop) for start, stop in trimmed if start < stop]


def _blocks(text: str, border: re.Pattern[str]) -> list[tuple[int, int]]:
    """Return the end of each block and the start of the next."""
    return [(match.start(), match.end()) for match in border.finditer(text)] + [
        (len(text), len(text))
    ]


def _trim(text: str, start: int, stop: int) -> tuple[int, int]:
    part = text[start:stop]
    left = len(part) - len(part.lstrip())
    return start + left, start + left + len(part.strip())


def _ends(text: str, match: re.Match[str], start: int, stop: int, cased: bool) -> bool:
    """Return whether a mark within a block ends its sentence.

    Args:
        text: the whole text.
        match: of `_END`, in the text.
        start: where the sentence begins.
        stop: where its line or paragraph ends.
        cased: whether the text has a capital letter.
    """
    # No rule looks farther than a word: long lines are read in linear time.
    before = text[max(start, match.start() - _FAR) : match.start()]
    gap = _GAP.match(text, match.end(), stop)
    assert gap is not None, "an empty gap matches too"
    after = text[gap.end() : min(gap.end() + _FAR, stop)]
    if match["always"]:
        # 「…。」と言った: the quotation is part of a longer sentence.
        return not ("」" in match[0] and after.startswith(("と", "って")))
    mark = match["mark"]
    alone = not before or before[-1].isspace()  # a mark set off as a token of its own
    if mark == "." and alone:
        return bool(before.strip())
    if after[:1].islower() and cased and not _LABEL.match(after):
        return False
    return mark != "." or _stop_ends(before, after)


def _stop_ends(before: str, after: str) -> bool:
    """Return whether a full stop after `before` ends the sentence, going by the words."""
    if _ENUMERATOR.fullmatch(before.strip()):
        return False
    word = before.rsplit(maxsplit=1)[-1].lstrip(_OPENING)
    key = word.casefold()
    if key in _NEVER_LAST:
        return False
    if key in _BEFORE_NUMBER:
        return not after[:1].isdigit()
    initial = len(word) == 1 and word.isalpha() and word != "I"
    if initial or key in _MAY_BE_LAST or _DOTTED.fullmatch(word):
        first = re.match(r"[^\W\d_]+", after)
        return first is not None and first[0].casefold() in _BEGINNERS
    return True
