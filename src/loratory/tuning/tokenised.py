"""Rows as tokens, kept: what was encoded once is not encoded again while nothing has changed."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Sequence

import numpy as np
import tokenizers
import transformers

from loratory import cache
from loratory.records import Example
from loratory.tuning.encode import Encoded, Encoder

__all__ = ["tokenised"]

KIND = "tokens"
FEW = 100
"""Rows that are encoded faster than they are looked for."""
NONE = -1
"""The label of a row that has none."""


def tokenised(encoder: Encoder, examples: Sequence[Example]) -> list[Encoded]:
    """Encode every example, or read what was encoded before.

    It is kept under a hash of examples, task, limits, tokenizer, and the code and libraries that
    encode.
    """
    return cache.kept(
        KIND,
        _key(encoder, examples),
        lambda: encoder.all(examples),
        _packed,
        lambda content: _unpacked(content, examples),
    )


def _key(encoder: Encoder, examples: Sequence[Example]) -> str | None:
    """Return what the result hangs on, hashed; None where that cannot be told or does not pay."""
    tokenizer, task, spec = encoder.tokenizer, encoder.task, encoder.spec
    template = repr(tokenizer.chat_template)
    ours = type(task).__module__.startswith("loratory.")
    # Some templates write the day's date.
    if len(examples) < FEW or not tokenizer.is_fast or not ours or "strftime" in template:
        return None
    parts = (
        cache.code("tuning", "tasks"),
        tokenizers.__version__,
        transformers.__version__,
        tokenizer.backend_tokenizer.to_str(),
        type(tokenizer).__name__,
        repr(tokenizer.init_kwargs),
        template,
        spec.family,
        spec.style,
        repr(task),
        repr(task.choices()),
        str(encoder.max_prompt),
        str(encoder.max_target),
    )
    digest = hashlib.sha256()
    for part in itertools.chain(parts, map(repr, examples)):
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()


def _packed(rows: Sequence[Encoded]) -> bytes:
    numbers = [
        (
            len(x.prompt),
            len(x.answer),
            NONE if x.label is None else x.label,
            x.cut_prompt,
            x.cut_answer,
        )
        for x in rows
    ]
    ids = [token for row in rows for token in itertools.chain(row.prompt, row.answer)]
    file = io.BytesIO()
    np.savez(file, numbers=np.array(numbers, dtype=np.int64), ids=np.array(ids, dtype=np.int32))
    return file.getvalue()


def _unpacked(content: bytes, examples: Sequence[Example]) -> list[Encoded] | None:
    """Return the rows; None unless they are as many as the examples, and whole."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        numbers, ids = file["numbers"].tolist(), file["ids"].tolist()
    sizes = [prompt + answer for prompt, answer, *_ in numbers]
    if len(numbers) != len(examples) or sum(sizes) != len(ids):
        return None
    rows, start = [], 0
    for example, (prompt, answer, label, *cut) in zip(examples, numbers, strict=True):
        middle, end = start + prompt, start + prompt + answer
        known = None if label == NONE else label
        rows.append(Encoded(example.id, ids[start:middle], ids[middle:end], known, *cut))
        start = end
    return rows
