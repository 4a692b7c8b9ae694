"""Control tokens quoted in a row stay text: a review saying `<|im_end|>` must not end its turn.

Tokenizers turn the text of a special token into the token wherever it stands. In text that
comes from data each is therefore split by a mark after its first character, and the parts
are encoded one after the other: the tokens decode to the same text, none of them special.
A byte-level tokenizer gives the tokens of `split_special_tokens=True`; one of SentencePiece
may put a space where the mark was. Special tokens of one character cannot be split.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

__all__ = ["guard", "tokens", "turn_end"]

MARK = "\ufdd0"
"""A Unicode noncharacter: it is no text, and never exchanged."""


def guard(tokenizer: Any, text: str) -> str:
    """Return `text` with a mark inside each special token that it spells out."""
    text = text.replace(MARK, "")
    pattern = _pattern(frozenset(_special(tokenizer)))
    # Again, for what remains behind a mark may spell another one.
    while pattern.search(text):
        text = pattern.sub(lambda match: match[0][0] + MARK + match[0][1:], text)
    return text


def tokens(tokenizer: Any, text: str, *, special: bool, target: bool = False) -> list[int]:
    """Encode text that may hold marks.

    Args:
        tokenizer: the model's.
        text: what `guard` gave, and wording around it whose control tokens count.
        special: whether the tokenizer adds its own, such as a first or an end token.
        target: whether it is an encoder-decoder's answer.
    """
    parts = [part for part in text.split(MARK) if part]
    given = parts if len(parts) > 1 else "".join(parts)
    ids = tokenizer(
        **{"text_target" if target else "text": given},
        is_split_into_words=len(parts) > 1,
        add_special_tokens=special,
        verbose=False,
    )["input_ids"]
    return list(ids)


def turn_end(tokenizer: Any, after: str) -> int | None:
    """Return where in `after`, a chat template's text behind an answer, its first control token
    ends, or None.
    """
    template = tokenizer.chat_template
    # Some templates close a turn with an added token that is not marked special.
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    words = _special(tokenizer) | {word for word in added if word in str(template)}
    found = _pattern(frozenset(words), 1).search(after)
    return found.end() if found else None


def _special(tokenizer: Any) -> set[str]:
    added = tokenizer.added_tokens_decoder.values()
    return {token.content for token in added if token.special} | set(tokenizer.all_special_tokens)


@lru_cache
def _pattern(words: frozenset[str], shortest: int = 2) -> re.Pattern[str]:
    """Match any of the words, the longest first; of none, nothing."""
    known = sorted((w for w in words if len(w) >= shortest), key=lambda w: (-len(w), w))
    return re.compile("|".join(map(re.escape, known)) or "(?!)")
