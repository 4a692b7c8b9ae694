"""What a model is asked beside its task: texts, and questions with options. One file a source."""

from loratory.tasks.probes.base import PROBES, Item, Option, Probe
from loratory.tasks.probes.load import load_probe, load_probes, replay_texts

__all__ = ["PROBES", "Item", "Option", "Probe", "load_probe", "load_probes", "replay_texts"]
