"""A probe's items as tokens of one model: contexts, and the options that may follow them.

Texts are given raw, without a chat template, as lm-evaluation-harness gives them by default: what
is asked is what the model knows of text, not how it answers a user. Context and option are encoded
in one piece, the option being the tokens behind those of the context. Where the tokenizer puts a
first token before a text, it stands here too; a text without any context is judged after the first
token, or the end token of a tokenizer that has no first one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from loratory.errors import ModelError
from loratory.tasks.probes.base import Item
from loratory.tuning.control import guard, tokens
from loratory.tuning.model import Resolved

__all__ = ["Question", "first_tokens", "plain_tokens", "questions_of"]


class Question(NamedTuple):
    """Options with one context in common, encoded."""

    item: int
    places: list[int]
    """Of the options within their item."""
    context: list[int]
    """At least one token."""
    options: list[list[int]]
    characters: list[int]


def questions_of(
    spec: Resolved, item: Item, number: int, max_tokens: int, limit: int
) -> Iterator[Question]:
    """Yield an item's questions: one for each context."""
    together: dict[tuple[int, ...], Question] = {}
    for place, option in enumerate(item.options):
        if option.context:
            context, ids = _pair(spec, option.context, option.text)
            size = len(option.text.strip())
        else:
            context, ids = first_tokens(spec), plain_tokens(spec, option.text)
            text = option.text
            if item.plain:
                text, ids = _cut(spec, text, ids, min(max_tokens, limit - len(context)))
            # Bits per byte are counted of plain texts, choices by their characters.
            size = len(text.encode()) if item.plain else len(text)
        if spec.family == "causal":
            over = max(0, len(context) + len(ids) - 1 - limit)
            context = context[over:] if over < len(context) else []
        else:
            context = context[-limit:]
        if not context or not ids or len(ids) > limit:
            raise ModelError(
                f"{item.id}: option {place + 1} has {len(ids)} tokens, and {spec.name} can be "
                f"given 1 to {limit}. Leave the item out."
            )
        question = together.setdefault(tuple(context), Question(number, [], list(context), [], []))
        question.places.append(place)
        question.options.append(ids)
        question.characters.append(size)
    yield from together.values()


def _pair(spec: Resolved, context: str, text: str) -> tuple[list[int], list[int]]:
    """Return the tokens of a context, and those that its continuation adds."""
    # White space at the end of a context belongs to the token that follows it.
    bare = context.rstrip()
    text = f"{context[len(bare) :]}{text}"
    if spec.family == "seq2seq":
        tokenizer = spec.tokenizer
        return _encode(spec, bare, special=True), _bare_target(tokenizer, text)
    before = _opened(spec, bare)
    joint = _opened(spec, f"{bare}{text}")
    if joint[: len(before)] == before and len(joint) > len(before):
        return before, joint[len(before) :]
    # The border lies within a token of the joint text.
    return before, _encode(spec, text, special=False)


def _bare_target(tokenizer: Any, text: str) -> list[int]:
    return tokens(tokenizer, guard(tokenizer, text.strip()), special=False, target=True)


def _opened(spec: Resolved, text: str) -> list[int]:
    """Return a text's tokens with what the tokenizer puts first, without what it puts last."""
    ids = _encode(spec, text, special=True)
    bare = _encode(spec, text, special=False)
    extra = len(ids) - len(bare)
    before = next((k for k in range(extra, -1, -1) if ids[k : k + len(bare)] == bare), 0)
    return ids[: before + len(bare)]


def _encode(spec: Resolved, text: str, *, special: bool) -> list[int]:
    return tokens(spec.tokenizer, guard(spec.tokenizer, text), special=special)


def first_tokens(spec: Resolved) -> list[int]:
    """Return what a text without a context stands behind: one token."""
    tokenizer = spec.tokenizer
    first = tokenizer.bos_token_id
    return [tokenizer.eos_token_id if first is None else first]


def plain_tokens(spec: Resolved, text: str) -> list[int]:
    """Return the tokens of a text without a context, no special ones among them."""
    if spec.family == "seq2seq":
        return _bare_target(spec.tokenizer, text)
    return _encode(spec, text, special=False)


def _cut(spec: Resolved, text: str, ids: list[int], room: int) -> tuple[str, list[int]]:
    """Cut a text to so many tokens; return what is left of it, and its tokens."""
    if len(ids) <= room:
        return text, ids
    kept = ids[:room]
    # A token may end within a character, whose first bytes decode to nothing legible.
    return spec.tokenizer.decode(kept).rstrip("\ufffd"), kept
