"""The supervision audit: what the loss will see, before it sees anything.

Most silent failures of fine-tuning are visible in one decoded example: every label masked,
the end token outside the loss, the answer truncated away. The audit looks at all of them,
stops the run where nothing could be learnt, and shows two rows to the human.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loratory.errors import DataError, ModelError
from loratory.tuning.encode import Encoded, Encoder

__all__ = ["Cut", "audit", "count_cut", "show"]

OPEN, CLOSE = "⟦", "⟧"


@dataclass(frozen=True)
class Cut:
    """What did not fit in one split."""

    rows: int
    source_rows: int
    """Rows whose source lost tokens, and how many tokens in all."""
    source_tokens: int
    answer_rows: int
    """Rows whose answer, with its end token, was cut."""
    answer_tokens: int

    def __str__(self) -> str:
        return (
            f"source cut in {self.source_rows} of {self.rows} rows ({self.source_tokens} tokens), "
            f"answer cut in {self.answer_rows} ({self.answer_tokens} tokens)"
        )


def count_cut(rows: Sequence[Encoded]) -> Cut:
    """Count what encoding removed."""
    return Cut(
        rows=len(rows),
        source_rows=sum(row.cut_prompt > 0 for row in rows),
        source_tokens=sum(row.cut_prompt for row in rows),
        answer_rows=sum(row.cut_answer > 0 for row in rows),
        answer_tokens=sum(row.cut_answer for row in rows),
    )


def audit(splits: Mapping[str, Sequence[Encoded]], encoder: Encoder) -> list[str]:
    """Check that training can teach anything; return what a human should know.

    Args:
        splits: `train`, `validation` and `test`, encoded.
        encoder: what encoded them.

    Raises:
        DataError: an empty split, no supervised token, the end token never in the loss, or
            every answer cut.
        ModelError: the tokenizer knows tokens that the model does not.
    """
    notes = []
    for name, rows in splits.items():
        if not rows:
            raise DataError(f"data.{name}: no rows. Give a split, or a larger data.{name}_size.")
        cut = count_cut(rows)
        if cut.source_rows or cut.answer_rows:
            notes.append(f"{name}: {cut}")
        _embedded(rows, encoder)
    for name in ("train", "validation"):
        _supervised(name, splits[name], encoder)
    return notes


def _embedded(rows: Sequence[Encoded], encoder: Encoder) -> None:
    size = getattr(encoder.spec.config.get_text_config(), "vocab_size", None)
    largest = max(max(row.prompt + row.answer, default=0) for row in rows)
    if size is not None and largest >= size:
        word = encoder.tokenizer.convert_ids_to_tokens(largest)
        raise ModelError(
            f"model.name: the tokenizer of {encoder.spec.name} gives the token {word!r} the "
            f"number {largest}, but the model has embeddings for {size}. They do not belong "
            "together."
        )


def _supervised(name: str, rows: Sequence[Encoded], encoder: Encoder) -> None:
    if encoder.spec.family == "classifier":
        unlabelled = next((row.id for row in rows if row.label is None), None)
        if unlabelled is not None:
            raise DataError(f"{unlabelled}: no label, so the loss would see nothing.")
        return
    silent = next((row.id for row in rows if not row.answer), None)
    if silent is not None:
        raise DataError(f"{silent}: no supervised token. The answer is empty once encoded.")
    if all(row.cut_answer for row in rows):
        raise DataError(
            f"data.max_target_tokens: every answer of the {name} split is longer than "
            f"{encoder.max_target} tokens and would lose its end. Raise it."
        )
    ends = frozenset(encoder.stop_ids)
    open_ended = next((r.id for r in rows if not r.cut_answer and r.answer[-1] not in ends), None)
    if open_ended is not None:
        raise DataError(
            f"{open_ended}: the end token is not in the loss, so the model would never learn to "
            "stop. Check the tokenizer's eos_token and chat template."
        )


def show(row: Encoded, encoder: Encoder, labels: Sequence[str], width: int = 600) -> str:
    """Return one encoded row as text, the supervised part between ⟦ and ⟧.

    A long prompt is shortened in its middle to about `width` characters.
    """
    text = encoder.tokenizer.decode(row.prompt)
    if len(text) > width:
        text = f"{text[: width // 2]} … {text[-width // 2 :]}"
    if encoder.spec.family == "classifier":
        assert row.label is not None
        return f"{text} {OPEN}{labels[row.label]}{CLOSE}"
    return f"{text}{OPEN}{encoder.tokenizer.decode(row.answer)}{CLOSE}"
