"""How fast and how lean: Loratory beside the tools people use, in one interleaved run.

`python -m benchmarks.speed DATA` writes `benchmarks/results/speed.json` and `speed.md`. Every tool
runs in a process of its own; the processes take turns, and ratios are of medians.
"""
