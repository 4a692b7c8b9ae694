"""What a model answers to a test set: one `Prediction` a row, by the way that fits.

Generation for texts; for classes a head's logits, or the likelihood of label words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from loratory.config import DecodeConfig
from loratory.progress import Progress
from loratory.records import Example, Prediction
from loratory.runs.partial import ALONE, Partial, Share
from loratory.tuning.batch import collate, sorted_batches
from loratory.tuning.encode import Encoded, Encoder
from loratory.tuning.generate import generate
from loratory.tuning.likelihood import Query, loglikelihoods
from loratory.tuning.tokenised import tokenised
from loratory.tuning.vllm import Served

__all__ = ["predict"]

BATCHES = 8
"""Batches of a part: what is asked again at most where an attempt was cut off. A part ends with few
rows at once, so that small ones would cost."""


def predict(
    model: Any,
    encoder: Encoder,
    examples: Sequence[Example],
    decode: DecodeConfig,
    progress: Progress,
    title: str,
    served: Served | None = None,
    partial: Partial[Prediction] | None = None,
    share: Share = ALONE,
) -> list[Prediction]:
    """Answer every example, in order.

    They are taken in parts of so many batches, whatever was answered before, so that no answer
    hangs on where an attempt was cut off.

    Args:
        model: base model, or base model with adapter; put into evaluation mode.
        encoder: of the model.
        examples: the rows to answer.
        decode: decoding settings.
        progress: hears of every batch.
        title: what is being predicted, for the progress display.
        served: the same model, where an engine writes its texts.
        partial: what was answered in an attempt before, which is added to.
        share: of the parts, where several processes answer them; others' are left out.
    """
    model.eval()
    rows = tokenised(encoder, examples)
    progress.begin(title, len(rows))
    # An engine that is started for it is asked once.
    size = BATCHES * decode.batch_size if served is None else max(len(rows), 1)
    found = []
    for number, start in enumerate(range(0, len(rows), size)):
        part = slice(start, start + size)
        answers = None if partial is None else partial.read(number, len(rows[part]))
        if answers is not None:
            progress.advance(len(answers))
        elif share.has(number):
            answers = _answered(
                model, encoder, examples[part], rows[part], decode, progress, served
            )
            if partial is not None:
                partial.keep(number, answers)
        found += answers or []
    return found


def _answered(
    model: Any,
    encoder: Encoder,
    examples: Sequence[Example],
    rows: Sequence[Encoded],
    decode: DecodeConfig,
    progress: Progress,
    served: Served | None,
) -> list[Prediction]:
    if encoder.task.kind == "generation":
        return _texts(model, encoder, examples, rows, decode, progress, served)
    if encoder.spec.family == "classifier":
        scores = _head(model, encoder, rows, decode, progress)
    else:
        scores = _label_words(model, encoder, examples, rows, decode, progress)
    return [
        _classified(encoder, example, row, logits)
        for example, row, logits in zip(examples, rows, scores, strict=True)
    ]


def _texts(
    model: Any,
    encoder: Encoder,
    examples: Sequence[Example],
    rows: Sequence[Encoded],
    decode: DecodeConfig,
    progress: Progress,
    served: Served | None,
) -> list[Prediction]:
    found: dict[int, Prediction] = {}
    for answer in generate(
        model,
        encoder,
        [row.prompt for row in rows],
        max_new_tokens=decode.max_new_tokens or encoder.max_target,
        num_beams=decode.num_beams,
        no_repeat_ngram_size=decode.no_repeat_ngram_size,
        batch_size=decode.batch_size,
        compiled=decode.torch_compile,
        served=served,
    ):
        example, row = examples[answer.row], rows[answer.row]
        found[answer.row] = Prediction(
            id=example.id,
            text=answer.text,
            references=example.references,
            source=example.source,
            prompt=encoder.tokenizer.decode(row.prompt),
            prompt_tokens=len(row.prompt),
            cut_tokens=row.cut_prompt,
            new_tokens=answer.new_tokens,
            finished=answer.finished,
        )
        progress.advance(1)
    return [found[i] for i in range(len(rows))]


def _head(
    model: Any,
    encoder: Encoder,
    rows: Sequence[Encoded],
    decode: DecodeConfig,
    progress: Progress,
) -> list[list[float]]:
    scores: list[list[float]] = [[] for _ in rows]
    batcher = collate(encoder.spec)
    for batch in sorted_batches([row.length for row in rows], decode.batch_size):
        inputs = batcher([rows[i] for i in batch])
        del inputs["labels"]
        with torch.inference_mode():
            logits = model(**{key: value.to(model.device) for key, value in inputs.items()}).logits
        for i, values in zip(batch, logits.float().tolist(), strict=True):
            scores[i] = values
        progress.advance(len(batch))
    return scores


def _label_words(
    model: Any,
    encoder: Encoder,
    examples: Sequence[Example],
    rows: Sequence[Encoded],
    decode: DecodeConfig,
    progress: Progress,
) -> list[list[float]]:
    scores: list[list[float]] = [[] for _ in rows]
    asked = [
        Query(row.prompt, encoder.choices(example))
        for row, example in zip(rows, examples, strict=True)
    ]
    for i, found in loglikelihoods(model, encoder.spec, asked, decode.batch_size):
        scores[i] = [option.loglikelihood for option in found]
        progress.advance(1)
    return scores


def _classified(
    encoder: Encoder, example: Example, row: Encoded, logits: Sequence[float]
) -> Prediction:
    # float64, so that the probabilities sum to 1 as closely as a reader may check.
    chances = torch.tensor(logits, dtype=torch.float64).softmax(dim=0)
    best = int(chances.argmax())
    return Prediction(
        id=example.id,
        text=encoder.task.choices()[best],
        source=example.source,
        label=example.label,
        predicted=best,
        probabilities=tuple(chances.tolist()),
        prompt=encoder.tokenizer.decode(row.prompt),
        prompt_tokens=len(row.prompt),
        cut_tokens=row.cut_prompt,
    )
