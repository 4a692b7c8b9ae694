"""The run folder: its layout, its atomic files, its manifest."""

from loratory.runs.store import Run

__all__ = ["Run"]
