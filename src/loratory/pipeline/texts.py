"""The general texts that a training may look at: those of the recipe, without a probe's."""

from __future__ import annotations

from loratory.config import RunConfig
from loratory.config.remedy import RemedyConfig
from loratory.methods.base import TrainingHooks
from loratory.tasks.probes import load_probes, replay_texts

__all__ = ["general_texts"]

PLAIN = TrainingHooks()


def general_texts(config: RunConfig, hooks: TrainingHooks = PLAIN) -> list[str]:
    """Return the texts of `remedy.replay_data`; none where neither recipe nor method names any.

    Args:
        config: the recipe.
        hooks: what the method asks for.

    Raises:
        ConfigError, DataError, MissingDependencyError: as for `load_probes` and `replay_texts`.
    """
    remedy = config.remedy
    # Texts that the recipe names are read, used or not, so that a wrong name is said.
    named = remedy.replay_data != RemedyConfig().replay_data
    if not (named or remedy.replays or hooks.start_on_texts is not None):
        return []
    probes = load_probes(config.forgetting.probes, config.forgetting.rows, config.seed)
    held_out = probes.values()
    return replay_texts(remedy.replay_data, [item for items in held_out for item in items])
