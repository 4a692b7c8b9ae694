"""A script for Slurm's `sbatch` that trains a run on several machines."""

from __future__ import annotations

import shlex
from pathlib import Path

from loratory.pipeline.processes import Processes

__all__ = ["slurm_script"]

PORT = 29_500
"""On which the processes meet, unless the environment says MASTER_PORT."""
WARNING = 120
"""Seconds before the time is up at which Slurm asks the job to end, to write a checkpoint."""


def slurm_script(run: Path, processes: Processes, *, hours: float = 24.0, gpus: bool = True) -> str:
    """Return a batch script: each node launches the run, the first one leads and finishes it.

    The folder must be one that all nodes see. A job that ran out of time may be submitted again:
    the run goes on.

    Args:
        run: a prepared run's folder.
        processes: how many on each node, and how many nodes.
        hours: that the job may take.
        gpus: ask for one for each process.
    """
    folder = run.absolute()
    minutes = max(int(hours * 60), 1)
    asked = [f"#SBATCH --gpus-per-node={processes.number}"] if gpus else []
    words = ["loratory", "launch", str(folder), "--processes", str(processes.number)]
    if processes.nodes > 1:
        words += ["--nodes", str(processes.nodes)]
    command = shlex.join(words)
    if processes.nodes > 1:
        command += ' --node "$SLURM_NODEID" --meet "$MEET"'
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            f"#SBATCH --job-name={shlex.quote(f'loratory-{folder.name}')}",
            f"#SBATCH --nodes={processes.nodes}",
            "#SBATCH --ntasks-per-node=1",
            *asked,
            f"#SBATCH --time={minutes}",
            f"#SBATCH --signal=TERM@{WARNING}",
            f"#SBATCH --output={shlex.quote(str(folder / 'slurm-%j.log'))}",
            "#SBATCH --requeue",
            "set -euo pipefail",
            'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)',
            f'export MEET="$first:${{MASTER_PORT:-{PORT}}}"',
            f"srun --kill-on-bad-exit=1 bash -c {shlex.quote(command)}",
            "",
        ]
    )
