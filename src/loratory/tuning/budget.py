"""Stopping a training by what it has cost: tokens read, or seconds."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerState
from transformers.trainer_callback import ExportableState

from loratory.config import TrainConfig

__all__ = ["Budget"]


class Budget(TrainerCallback, ExportableState):  # type: ignore[misc,unused-ignore]
    """Ends a training, with a last validation and checkpoint, once a budget is used up.

    Seconds already spent are kept in checkpoints, so that a resumed training gets the rest.

    Args:
        tokens: tokens read, padding left out; None for no limit. The trainer has to count them
            (`include_num_input_tokens_seen="non_padding"`).
        seconds: of training, validation and checkpoints included; None for no limit.
        spent: seconds spent before.
        done: whether the budget was used up before.
    """

    def __init__(
        self,
        tokens: int | None = None,
        seconds: float | None = None,
        spent: float = 0.0,
        done: bool = False,
    ) -> None:
        self.tokens, self.seconds, self.spent, self.done = tokens, seconds, spent, done
        self._since = time.monotonic()

    @classmethod
    def of(cls, config: TrainConfig) -> Budget:
        """Return the budget of a recipe's train section."""
        return cls(config.max_tokens, config.max_seconds)

    @staticmethod
    def used_up(state: TrainerState) -> bool:
        """Return whether a budget ended the training that this is the state of."""
        kept = state.stateful_callbacks.get("Budget", {})
        return bool(kept.get("args", {}).get("done"))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._since = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        late = self.seconds is not None and self._seconds() >= self.seconds
        if late or (self.tokens is not None and state.num_input_tokens_seen >= self.tokens):
            self.done = control.should_training_stop = True
            # Otherwise the best state would be chosen without the last one.
            control.should_evaluate = control.should_save = True

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "args": {
                "tokens": self.tokens,
                "seconds": self.seconds,
                "spent": self._seconds(),
                "done": self.done,
            },
            "attributes": {},
        }

    def _seconds(self) -> float:
        return self.spent + time.monotonic() - self._since
