"""Many methods under one budget, several seeds each, and what their order is worth.

`sweep` runs every trial in a process of its own, here or on Ray, and leaves a folder that can be
gone on with; `summary` says which methods seed noise does not part from the best.
"""

from loratory.sweep.engine import Workers
from loratory.sweep.folder import Sweep, Trial
from loratory.sweep.plan import Budget, plan
from loratory.sweep.run import sweep
from loratory.sweep.summary import Row, Summary, summary

__all__ = ["Budget", "Row", "Summary", "Sweep", "Trial", "Workers", "plan", "summary", "sweep"]
