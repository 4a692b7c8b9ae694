"""Runs stages in forks of one warm process, so that thirty of them need not import torch each.

Lines of JSON on standard input ask for a fork that runs or resumes; it is answered by its process
number, and by its exit status once it has ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

WARM = ("train", "preflight", "predict", "judge", "proof", "adapter", "fused.layers", "greedy")


class Forks:
    """A warm process, seen from the test's side."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        assert self._process.stdout is not None and self._process.stdin is not None
        assert self._process.stdout.readline() == "ready\n"

    def begin(self, what: str, target: Path, cache: Path, log: Path) -> int:
        """Begin to run a recipe or to resume a run in a fork; return its process number."""
        order = {"what": what, "target": str(target), "cache": str(cache), "log": str(log)}
        self._process.stdin.write(json.dumps({**order, "cwd": os.getcwd()}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> int:
        """Wait for the fork; return its exit status, negative for a signal."""
        return os.waitstatus_to_exitcode(int(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def _child(order: dict[str, str]) -> None:
    import loratory
    from loratory.cli.console import Lines

    os.chdir(order["cwd"])
    os.environ["LORATORY_CACHE"] = order["cache"]
    with open(order["log"], "a", buffering=1, encoding="utf-8") as log:
        os.dup2(log.fileno(), 2)
        if order["what"] == "run":
            loratory.run(order["target"], Lines())
        else:
            loratory.resume(loratory.Run.open(Path(order["target"])), Lines())


def _serve() -> None:
    import importlib

    warnings.simplefilter("ignore")
    for name in WARM:
        importlib.import_module(f"loratory.tuning.{name}")
    importlib.import_module("transformers.models.llama.modeling_llama")
    importlib.import_module("loratory.report")
    print("ready", flush=True)
    for line in sys.stdin:
        number = os.fork()
        if not number:
            status = 1
            try:
                _child(json.loads(line))
                status = 0
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(status)
        print(number, flush=True)
        print(os.waitpid(number, 0)[1], flush=True)


if __name__ == "__main__":
    _serve()
