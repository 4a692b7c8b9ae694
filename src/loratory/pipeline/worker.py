"""One of several processes that do a stage: `python -m loratory.pipeline.worker STAGE RUN`.

What starts it says by the environment, as torch.distributed has it, which of them it is. To train,
they work together; of answers, each gives its share.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from loratory.errors import LoratoryError
from loratory.pipeline.answering import answers, judgements
from loratory.pipeline.packages import training_packages
from loratory.pipeline.stages import train
from loratory.progress import Silent
from loratory.runs import Run
from loratory.runs.partial import Share

__all__ = ["main"]


class _Told:
    """A progress whose events are lines of JSON on standard output."""

    def stage(self, name: str) -> None: ...

    def begin(self, task: str, total: int) -> None:
        self._tell("begin", task, total)

    def advance(self, done: int, detail: str = "") -> None:
        self._tell("advance", done, detail)

    def note(self, text: str) -> None:
        self._tell("note", text)

    def _tell(self, name: str, *given: object) -> None:
        sys.stdout.write(json.dumps({"progress": name, "given": given}) + "\n")
        sys.stdout.flush()


def _end_with_parent() -> None:
    # os.read takes no lock that Python would want back when it ends.
    if not os.read(0, 1):
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Do a stage, and exit with 0, or with 2 and a sentence."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    stage, folder = sys.argv[1:]
    number, of = (int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE"))
    progress = Silent() if number else _Told()
    try:
        if stage == "train":
            train(Run.attached(Path(folder), leads=not number), progress)
        else:
            run = Run.attached(Path(folder), leads=False)
            with training_packages("predict", "judge"):
                {"predict": answers, "probe": judgements}[stage](run, progress, Share(number, of))
    except LoratoryError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
