"""Data sets that are there without a network: one file each."""

from loratory.tasks.embedded.base import DATASETS

__all__ = ["DATASETS"]
