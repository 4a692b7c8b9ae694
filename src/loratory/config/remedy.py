"""The section of a recipe that holds a model back from forgetting while it is trained."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from loratory.config.section import NotNegative, Positive, Section, Text

__all__ = ["RemedyConfig"]


class RemedyConfig(Section):
    """What keeps the model near the one it was; all off, since each costs time or gain."""

    replay_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """General texts trained on beside each training row; 0.25 is one for every four."""
    replay_data: Text = "embedded:replay"
    """Texts to replay, and for the start corda: embedded:replay, or a .jsonl file of texts."""
    replay_weight: NotNegative = 1.0
    """Weight of the mean loss of a replayed token, beside the mean supervised loss."""
    replay_tokens: Positive = 256
    """Texts of replay_data are cut to so many tokens."""
    kl_weight: NotNegative = 0.0
    """Weight of the divergence from the base model's probabilities, a mean over the targets."""
    l2_weight: NotNegative = 0.0
    """Weight of the squared size of the update, summed over all adapted weights."""

    @property
    def active(self) -> bool:
        """Return whether anything is on."""
        return bool(self.replays or self.kl_weight or self.l2_weight)

    @property
    def replays(self) -> bool:
        """Return whether general texts are trained on."""
        return bool(self.replay_share and self.replay_weight)
