"""The general texts that a training may look at: those of the recipe, without a probe's."""

from __future__ import annotations

from collections.abc import Sequence

from loratory.config import RunConfig
from loratory.methods.base import TrainingHooks
from loratory.pipeline.asked import asked
from loratory.records import Example
from loratory.tasks.probes import replay_texts

__all__ = ["general_texts"]


def general_texts(config: RunConfig, hooks: TrainingHooks, test: Sequence[Example]) -> list[str]:
    """Return the texts of `remedy.replay_data`; none where nothing asks for them.

    Args:
        config: the recipe.
        hooks: what the method asks for.
        test: the test rows.

    Raises:
        ConfigError, DataError, MissingDependencyError: as for `replay_texts`.
    """
    if not config.remedy.replays and hooks.start_on_texts is None:
        return []
    held_out = asked(config, test).probes.values()
    return replay_texts(config.remedy.replay_data, [item for items in held_out for item in items])
