"""General texts, trained on beside the task's rows, so that what they ask for is not lost.

Rehearsal is the oldest remedy there is (Robins 1995, "Catastrophic Forgetting, Rehearsal and
Pseudorehearsal"). Every token of a text is a target, unlike a training row's, and the mean over
them is a loss of its own: its weight does not hang on how long the answers of the task are.
Which texts a step sees hangs on the seed and the step's number alone, so that a resumed run sees
those that an undisturbed one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from loratory.errors import ConfigError
from loratory.tuning.batch import collate
from loratory.tuning.encode import Encoded
from loratory.tuning.model import Resolved
from loratory.tuning.question import first_tokens, plain_tokens

__all__ = ["Replay", "encode_texts", "replayed"]


def encode_texts(spec: Resolved, texts: Sequence[str], max_tokens: int) -> list[Encoded]:
    """Return texts as rows whose every token is a target, none longer than `max_tokens`."""
    first = first_tokens(spec)
    rows = [plain_tokens(spec, text)[:max_tokens] for text in texts]
    return [Encoded(f"replay {i}", first, ids, None, 0, 0) for i, ids in enumerate(rows) if ids]


def replayed(share: float, batch_size: int) -> int:
    """Return the texts of one forward pass: `share` for each training row, at least one."""
    return math.ceil(share * batch_size)


class Replay:
    """Batches of replayed texts, one for each forward pass of a training.

    Args:
        spec: the base model.
        texts: at least one.
        share: texts for each training row, above 0.
        batch_size: training rows in a forward pass.
        max_tokens: texts are cut to so many.
        seed: of the texts' order.
        shift_right: an encoder-decoder's own making of decoder inputs from labels.

    Raises:
        ConfigError: no text has a token.
    """

    def __init__(
        self,
        spec: Resolved,
        texts: Sequence[str],
        *,
        share: float,
        batch_size: int,
        max_tokens: int,
        seed: int,
        shift_right: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.rows = encode_texts(spec, texts, max_tokens)
        if not self.rows:
            raise ConfigError("remedy.replay_data: none of its texts has a token to train on.")
        self.size = replayed(share, batch_size)
        self.seed = seed
        self._collate = collate(spec, shift_right)

    def batch(self, number: int) -> dict[str, Any]:
        """Return the texts of one forward pass.

        Args:
            number: of the pass, from 0, counted over all processes and from the first step on.
        """
        start = number * self.size
        return self._collate([self.rows[self._drawn(start + i)] for i in range(self.size)])

    def _drawn(self, place: int) -> int:
        """Return the text at a place of an endless row in which each comes as often as others."""
        turn, within = divmod(place, len(self.rows))
        generator = torch.Generator().manual_seed(self.seed * 10_007 + turn)
        return int(torch.randperm(len(self.rows), generator=generator)[within])
