"""How likely a model finds given continuations: log p(option | context), summed over its tokens.

Probes, pairs of sentences and classification by label words all rest on this. The context of
several options is run once: a decoder reads it and all options as one row, in which each option
sees the context and itself alone (as in tree attention, Miao et al. 2024, arXiv 2305.09781). Where
a model cannot, its key-value cache is repeated for the options. The output head sees the places of
options only. A model with trained vectors before its input would put them there at every call, so
it is run on context and option whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from loratory.methods.base import quiet
from loratory.tuning.batch import IGNORE, collate, pad, padded, sorted_batches
from loratory.tuning.encode import Encoded
from loratory.tuning.fused.attention import NAME, product_attention
from loratory.tuning.fused.layers import Layers, laid_out
from loratory.tuning.generate import virtual_tokens
from loratory.tuning.greedy import can_decode
from loratory.tuning.loss import head_on, whole_head
from loratory.tuning.model import Resolved, base_of
from loratory.tuning.packing import Layout, pack
from loratory.tuning.pages import kept_pages

__all__ = ["Found", "Query", "loglikelihoods"]

TARGETS = 1024
"""Judged tokens of a batch, at most, unless one context has more: their logits, a vocabulary
wide, are the largest tensor."""


MANY = 4096
"""Tokens from which it pays to lay a decoder's layers out for them."""

FEW = 128
"""Rows of logits that are float32 at once."""


class Query(NamedTuple):
    """Options with one context in common, encoded."""

    context: list[int]
    """At least one token."""
    options: list[list[int]]
    """At least one, none empty."""

    @property
    def length(self) -> int:
        """Return the tokens of the context and all options."""
        return len(self.context) + sum(map(len, self.options))

    @property
    def targets(self) -> int:
        """Return the tokens that are judged, padding included."""
        return len(self.options) * max(map(len, self.options))


class Found(NamedTuple):
    """What a model makes of one option."""

    loglikelihood: float
    """Summed over its tokens, in nats."""
    greedy: bool
    """Whether greedy decoding would give it."""


def loglikelihoods(
    model: Any, spec: Resolved, asked: Sequence[Query], batch_size: int
) -> Iterator[tuple[int, list[Found]]]:
    """Yield the place of a context in `asked` and what was found of its options.

    Args:
        model: a decoder-only or encoder-decoder model, in evaluation mode.
        spec: the base model.
        asked: contexts and their options.
        batch_size: contexts in one forward pass, at most.
    """
    apart = bool(virtual_tokens(model))  # nothing can be run apart from trained vectors
    single = [i for i, one in enumerate(asked) if apart or len(one.options) == 1]
    several = [i for i, one in enumerate(asked) if not apart and len(one.options) > 1]
    shared: Answer = _shared_seq2seq
    if spec.family == "causal" and _takes_trees(model):
        pays = sum(asked[i].length for i in several) >= MANY
        shared = functools.partial(_tree, laid=laid_out(model, few=False) if pays else None)
    elif spec.family == "causal":
        shared = _shared_causal
    ways: tuple[tuple[list[int], Answer], ...] = ((single, _each), (several, shared))
    with kept_pages():
        for places, answer in ways:
            for batch in _batches([asked[i] for i in places], batch_size):
                with torch.inference_mode(), quiet(), whole_head(model), product_attention(model):
                    answers = answer(model, spec, [asked[places[i]] for i in batch])
                for i, found in zip(batch, answers, strict=True):
                    yield places[i], found


def _batches(asked: Sequence[Query], size: int) -> Iterator[list[int]]:
    """Yield the places of contexts of like length, the longest first, with not too many targets."""
    for batch in sorted_batches([one.length for one in asked], size):
        part: list[int] = []
        for i in batch:
            widest = max(asked[k].targets for k in [*part, i])
            if part and widest * (len(part) + 1) > TARGETS:
                yield part
                part = []
            part.append(i)
        yield part


Answer = Callable[[Any, Resolved, Sequence[Query]], list[list[Found]]]


def _each(model: Any, spec: Resolved, batch: Sequence[Query]) -> list[list[Found]]:
    """Judge every option by a run on context and option as one."""
    singles = [(one.context, option) for one in batch for option in one.options]
    return _by_context(batch, _whole(model, spec, singles))


def _whole(model: Any, spec: Resolved, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Found]:
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    rows = [Encoded("", context, option, None, 0, 0) for context, option in pairs]
    inputs = collate(spec, shift)(rows)
    inputs.pop("shift_labels", None)
    targets = inputs.pop("labels").to(model.device)  # (B, T)
    inputs = {key: value.to(model.device) for key, value in inputs.items()}
    keep = targets != IGNORE
    if spec.family == "seq2seq":
        logits = model(**inputs).logits[keep]  # (N, V)
    else:
        with head_on(model.get_output_embeddings(), keep):
            logits = model(**inputs, use_cache=False).logits[0]
    return _by_row(logits, targets[keep], keep.nonzero()[:, 0], len(pairs))


def _by_row(logits: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor, n: int) -> list[Found]:
    """Sum log p over each row's targets.

    Args:
        logits: shape (N, V).
        targets: shape (N,).
        rows: the row of each target, shape (N,).
        n: number of rows.
    """
    lost = functional.cross_entropy(logits.float(), targets, reduction="none").double()
    missed = (logits.max(dim=-1).indices != targets).double()
    sums = torch.zeros(2, n, dtype=torch.float64, device=logits.device)
    sums.index_add_(1, rows, torch.stack([lost, missed]))
    return [Found(-nats, wrong == 0) for nats, wrong in sums.T.tolist()]


def _takes_trees(model: Any) -> bool:
    """Return whether a decoder takes a mask for every pair of places, and each place's position."""
    attention = getattr(base_of(model).config, "_attn_implementation", None)
    return attention in ("sdpa", NAME) and can_decode(model)


def _tree(
    model: Any, spec: Resolved, batch: Sequence[Query], laid: Layers | None
) -> list[list[Found]]:
    """Run each context and all its options as one row; options do not see each other."""
    fill, device = spec.tokenizer.pad_token_id, model.device
    rows, places, parts = [], [], []  # tokens, positions, and the option of each place from 1
    for context, options in batch:
        spoken = [option[:-1] for option in options]
        rows.append([*context, *(token for ids in spoken for token in ids)])
        first = range(len(context))
        places.append([*first, *(len(context) + i for ids in spoken for i in range(len(ids)))])
        parts.append([0 for _ in first] + [k for k, ids in enumerate(spoken, 1) for _ in ids])
    ids, positions = (pad(x, fill if x is rows else 0).to(device) for x in (rows, places))  # (B, T)
    part = pad(parts, -1).to(device)
    sees = (part[:, None, :] == 0) | (part[:, None, :] == part[:, :, None])  # (B, T, T)
    mask = sees.tril().unsqueeze(1)
    lengths = torch.tensor([len(one.context) for one in batch], device=device)
    read = torch.arange(ids.shape[1], device=device) >= lengths[:, None] - 1
    read &= part >= 0  # the context's last token, and every option's
    if laid is not None:
        logits = _by_layers(laid, ids, positions, mask, read)
    else:
        with head_on(model.get_output_embeddings(), read):
            logits = model(
                input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
            ).logits[0]  # (N, V)
    whole, best = _normalisers(logits), logits.max(dim=-1).indices
    found, start = [], 0
    for one in batch:
        after = start + 1  # of the first option's tokens but its last
        told = []
        for option in one.options:
            stop = after + len(option) - 1
            at = torch.tensor([start, *range(after, stop)], device=device)
            said = torch.tensor(option, device=device)
            chances = (logits[at, said].float() - whole[at]).double().sum()
            told.append(Found(float(chances), bool((best[at] == said).all())))
            after = stop
        found.append(told)
        start = after
    return found


def _by_layers(
    laid: Layers,
    ids: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor,
    read: torch.Tensor,
) -> torch.Tensor:
    """Return the logits of rows where `read` (B, T) is true, (N, V), without any padding."""
    packed = pack(ids, read, most=1.0)
    assert packed is not None  # whatever it saves
    inputs, last = packed
    layout: Layout = inputs["packed"]
    places = positions.flatten()[layout.own]
    return laid.judge(inputs["input_ids"][0], places, layout, mask, last[0])


def _normalisers(logits: torch.Tensor) -> torch.Tensor:
    """Return log Σ exp of each row, (N, V) to (N,), with few rows in float32 at a time."""
    return torch.cat([part.float().logsumexp(dim=-1) for part in logits.split(FEW)])


def _shared_causal(model: Any, spec: Resolved, batch: Sequence[Query]) -> list[list[Found]]:
    """Run each context once, and all its options from the repeated cache."""
    fill = spec.tokenizer.pad_token_id
    contexts = [one.context for one in batch]
    inputs, mask = (x.to(model.device) for x in padded(contexts, fill, left=True))  # (B, C)
    # Padding on the left shifts the places: each context's positions start at its own 0.
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    first = model(
        input_ids=inputs, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1
    )
    cache = first.past_key_values
    if not hasattr(cache, "batch_select_indices"):  # a cache of the model's own kind, or none
        return _each(model, spec, batch)
    options = [ids for one in batch for ids in one.options]
    owner = _owners(batch).to(model.device)  # (K,) the question of each option
    targets = pad(options, IGNORE).to(model.device)  # (K, A)
    keep = targets != IGNORE
    rows = keep.nonzero()[:, 0]
    logits = first.logits[:, -1][owner]  # (K, V), of each option's first token
    found = _by_row(
        logits, targets[:, 0], torch.arange(len(options), device=owner.device), len(options)
    )
    steps = targets.shape[1] - 1
    if steps:
        cache.batch_select_indices(owner)
        seen = keep[:, 1:]
        rows = seen.nonzero()[:, 0]
        with head_on(model.get_output_embeddings(), seen):
            logits = model(
                input_ids=pad([ids[:-1] or [fill] for ids in options], fill).to(model.device),
                attention_mask=torch.cat([mask[owner], seen.long()], dim=1),
                position_ids=places[owner][:, -1:] + 1 + torch.arange(steps, device=model.device),
                past_key_values=cache,
                use_cache=True,
            ).logits[0]  # (N, V)
        rest = _by_row(logits, targets[:, 1:][seen], rows, len(options))
        found = [
            Found(one.loglikelihood + two.loglikelihood, one.greedy and two.greedy)
            for one, two in zip(found, rest, strict=True)
        ]
    return _by_context(batch, found)


def _shared_seq2seq(model: Any, spec: Resolved, batch: Sequence[Query]) -> list[list[Found]]:
    """Encode each context once, and decode all its options from it."""
    contexts = [one.context for one in batch]
    inputs, mask = (x.to(model.device) for x in padded(contexts, spec.tokenizer.pad_token_id))
    encoded = model.get_encoder()(input_ids=inputs, attention_mask=mask)
    owner = _owners(batch).to(model.device)
    encoded.last_hidden_state = encoded.last_hidden_state[owner]
    options = [ids for one in batch for ids in one.options]
    targets = pad(options, IGNORE).to(model.device)
    keep = targets != IGNORE
    logits = model(
        encoder_outputs=encoded,
        attention_mask=mask[owner],
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(targets),
    ).logits[keep]
    found = _by_row(logits, targets[keep], keep.nonzero()[:, 0], len(options))
    return _by_context(batch, found)


def _owners(batch: Sequence[Query]) -> torch.Tensor:
    counts = torch.tensor([len(one.options) for one in batch])
    return torch.arange(len(batch)).repeat_interleave(counts)


def _by_context(batch: Sequence[Query], found: Sequence[Found]) -> list[list[Found]]:
    values = iter(found)
    return [[next(values) for _ in one.options] for one in batch]
