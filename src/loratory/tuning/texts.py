"""General texts, one a batch: what a start that is to keep knowledge looks at.

A decoder reads a text as it does in replay, behind its first token. An encoder reads it as it
reads any input. An encoder-decoder has it on both sides, so that both parts see general text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from loratory.tuning.batch import collate
from loratory.tuning.control import guard, tokens
from loratory.tuning.encode import Encoded
from loratory.tuning.model import Resolved
from loratory.tuning.replay import encode_texts
from loratory.tuning.validation import sampled

__all__ = ["TEXTS", "text_batches"]

TEXTS = 256
"""At most so many are looked at: as many as peft's `preprocess_corda` speaks of."""


def text_batches(
    spec: Resolved,
    texts: Sequence[str],
    *,
    max_tokens: int,
    seed: int,
    shift_right: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield general texts, one a batch, as `collate` gives them; none without a token.

    Args:
        spec: the base model.
        texts: to draw `TEXTS` of, or all if they are fewer.
        max_tokens: texts are cut to so many, and to what the model has positions for.
        seed: of the draw.
        shift_right: an encoder-decoder's own making of decoder inputs from labels.
    """
    drawn = [texts[i] for i in sampled(len(texts), TEXTS, seed)]
    if spec.positions is not None:
        max_tokens = min(max_tokens, spec.positions - 1)  # a first token stands before them
    batch = collate(spec, shift_right)
    if spec.family == "causal":
        rows = encode_texts(spec, drawn, max_tokens)
    else:
        rows = [row for text in drawn if (row := _read(spec, text, max_tokens))]
    for row in rows:
        yield batch([row])


def _read(spec: Resolved, text: str, max_tokens: int) -> Encoded | None:
    """Return a text as an encoder reads it, and a decoder beside it; None without a token."""
    answers = encode_texts(spec, [text], max_tokens)
    if not answers:
        return None
    ids = tokens(spec.tokenizer, guard(spec.tokenizer, text), special=True)[:max_tokens]
    if spec.family == "classifier":
        return Encoded(answers[0].id, ids, [], 0, 0, 0)
    return Encoded(answers[0].id, ids, answers[0].answer, None, 0, 0)
