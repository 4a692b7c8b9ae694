"""A run, readable by people: one HTML file and a model card."""

from loratory.report.card import render_card
from loratory.report.html import render

__all__ = ["render", "render_card"]
