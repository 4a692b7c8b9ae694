"""How fast and how lean: Loratory beside the tools people use, in one interleaved run.

`python -m benchmarks.speed DATA` writes `benchmarks/results/speed.json` and `speed.md`. Every tool
runs in a process of its own; the processes take turns, and ratios are of medians.
"""

from __future__ import annotations

import json
import resource
from typing import Any


def tell(seconds: float, rows: int, **more: Any) -> None:
    """Print, as a line of JSON, what a tool's process took."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "rows": rows, "peak_bytes": peak, **more}))
