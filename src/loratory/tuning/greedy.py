"""Greedy decoding of many prompts: what has ended leaves its place to the next.

It gives what transformers' `generate` gives without sampling and with one beam. What differs is the
price: keys and values go into room made beforehand instead of being copied at every token, the head
is one product for all rows, and rows leave as their answers end. Where a model's layers can be laid
out for it (`fused/layers.py`), others are read in their place, and a step may say several tokens of
a row: a draft looked up in its text, and checked.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, NoRepeatNGramLogitsProcessor
from transformers.cache_utils import DynamicLayer

from loratory.methods.base import quiet
from loratory.tuning.batch import sorted_batches
from loratory.tuning.follow import ByLayers, ByModel
from loratory.tuning.fused import can_pack
from loratory.tuning.fused.layers import laid_out
from loratory.tuning.lookup import Text
from loratory.tuning.model import base_of
from loratory.tuning.pages import kept_pages
from loratory.tuning.static import ByGraph

__all__ = ["can_decode", "greedy", "most_rows"]

CACHE_BYTES = 2**31
"""Keys and values that are held at once."""
SHRINK = 0.25
"""Share of a group that has ended before the rest is moved together."""
DRAFT = 4
"""Tokens that are looked up for a row and a step, at most."""


def can_decode(model: Any) -> bool:
    """Return whether a decoder tells positions by number and keeps plain keys and values."""
    inner = base_of(model)
    if "position_ids" not in inspect.signature(inner.forward).parameters:
        return False
    try:
        layers = DynamicCache(config=inner.config).layers
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def greedy(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    stops: Collection[int],
    fill: int,
    max_new_tokens: int,
    no_repeat_ngram_size: int = 0,
    batch_size: int,
    compiled: bool = False,
) -> Iterator[tuple[int, list[int]]]:
    """Yield the place of a prompt and the tokens that follow it, the one that ends it included.

    Args:
        model: a decoder that `can_decode`, with or without an adapter, in evaluation mode.
        prompts: none empty.
        stops: tokens that end an answer.
        fill: the token that pads.
        max_new_tokens: an answer ends after so many.
        no_repeat_ngram_size: no n-gram of this size comes twice; 0 forbids nothing.
        batch_size: prompts answered together, at most; fewer where their keys and values would
            take more than `CACHE_BYTES`.
        compiled: by `torch.compile`, at few shapes.
    """
    longest = max(map(len, prompts), default=0)
    size = min(batch_size, most_rows(model, longest + max_new_tokens))
    with kept_pages():
        way = ByGraph(model, fill) if compiled else _way(model, fill)
        found = _answered(way, prompts, stops, max_new_tokens, no_repeat_ngram_size, size)
        while True:
            # Not while what is found is in other hands.
            with torch.inference_mode(), quiet(), way.ready():
                answers = next(found, None)
            if answers is None:
                return
            yield from ((answer.row, answer.said) for answer in answers)


def _way(model: Any, fill: int) -> ByLayers | ByModel:
    with torch.inference_mode(), quiet():
        layers = laid_out(model)
    return ByModel(model, fill, packs=can_pack(model)) if layers is None else ByLayers(layers)


def most_rows(model: Any, tokens: int) -> int:
    """Return how many rows of so many tokens may be decoded at once; at least one.

    Args:
        model: a decoder that `can_decode`.
        tokens: of the longest prompt and answer.
    """
    config = base_of(model).config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    a_token: int = 2 * config.num_hidden_layers * heads * width * base_of(model).dtype.itemsize
    return max(CACHE_BYTES // (a_token * tokens), 1)


@dataclass
class _Answer:
    """What is said after one prompt."""

    row: int
    text: Text
    said: list[int] = field(default_factory=list)
    draft: list[int] = field(default_factory=list)
    over: bool = False

    def asked(self) -> list[int]:
        """Return the tokens whose successors are asked for: none once it is over."""
        return [] if self.over else [self.said[-1], *self.draft]

    def hear(self, chosen: Sequence[int], stops: Collection[int], most: int) -> int:
        """Add what a model says after each token that was asked; return how many hold.

        One holds where the draft before it was what the model said.
        """
        for place, token in enumerate(chosen, start=1):
            self.said.append(token)
            self.over = token in stops or len(self.said) == most
            if self.over or place > len(self.draft) or self.draft[place - 1] != token:
                break
        self.text.extend(chosen[:place])
        return place


def _answered(
    way: ByLayers | ByModel | ByGraph,
    prompts: Sequence[list[int]],
    stops: Collection[int],
    most: int,
    ngram: int,
    size: int,
) -> Iterator[list[_Answer]]:
    forbid = NoRepeatNGramLogitsProcessor(ngram) if ngram else None
    limit = DRAFT if way.drafts and forbid is None else 0

    def hear(answers: Sequence[_Answer], logits: Tensor, asked: Sequence[int]) -> list[int]:
        if forbid is not None:  # one token is asked of each
            going = [answer for answer, many in zip(answers, asked, strict=True) if many]
            texts = [torch.tensor([answer.text.tokens], device=logits.device) for answer in going]
            rows = logits[:, None].float()
            logits = torch.cat([forbid(*each) for each in zip(texts, rows, strict=True)])
        chosen = logits.max(dim=-1).indices.tolist()  # argmax takes five times as long
        held, start = [], 0
        for answer, many in zip(answers, asked, strict=True):
            new = chosen[start : start + many]
            held.append(answer.hear(new, stops, most) if new else 0)
            answer.draft = answer.text.draft(min(limit, most - len(answer.said) - 1))
            start += many
        return held

    waiting = sorted_batches(list(map(len, prompts)), -(-size // way.parts), way.tokens)
    groups: list[tuple[Any, list[_Answer]]] = []
    while waiting or groups:
        if waiting and sum(len(answers) for _, answers in groups) + len(waiting[0]) <= size:
            part = waiting.pop(0)
            logits, rows = way.read([prompts[i] for i in part], most)
            answers = [_Answer(i, Text(prompts[i])) for i in part]
            hear(answers, logits, [1] * len(part))
            groups.append((rows, answers))
        else:
            asked = [[answer.asked() for answer in answers] for _, answers in groups]
            many = [list(map(len, tokens)) for tokens in asked]
            logits = way.follow([rows for rows, _ in groups], asked)
            each = zip(groups, many, logits.split(list(map(sum, many))), strict=True)
            for (rows, answers), counts, scores in each:
                way.kept(rows, hear(answers, scores, counts))
        for rows, answers in groups:
            going = [i for i, answer in enumerate(answers) if not answer.over]
            if len(answers) - len(going) >= SHRINK * len(answers):
                yield [answer for answer in answers if answer.over]
                if going:
                    rows.select(going)
                answers[:] = [answers[i] for i in going]
        groups = [group for group in groups if group[1]]
