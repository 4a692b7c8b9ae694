"""Rows from anywhere, divided into parts that share no question.

`load` is the way in, `files` reads local files, `hub` the Hub (the only module that imports
`datasets`, inside a function), and `split` draws the parts.
"""

from loratory.tasks.rows import SourceRow, fingerprint
from loratory.tasks.source.load import Source, Splits, load_splits

__all__ = ["Source", "SourceRow", "Splits", "fingerprint", "load_splits"]
