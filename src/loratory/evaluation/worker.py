"""The process that works for `loratory.evaluation.processes`: a function, then arguments.

It reads pickles from its standard input, the function first, and answers each argument on its
standard output. The end of its input ends it, so it never outlives the process it works for.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from contextlib import suppress
from typing import Any

from loratory.errors import LoratoryError

__all__ = ["Answer", "serve"]

Answer = tuple[str, Any]
"""`done` and a result, `refused` and a `LoratoryError`, or `failed` and a traceback."""


def serve() -> None:
    """Answer until the input ends."""
    requests = sys.stdin.buffer
    # What a metric prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Pickles come from the process that started this one, and from nobody else.
    with suppress(EOFError, BrokenPipeError):
        work = pickle.load(requests)  # noqa: S301
        while True:
            pickle.dump(_answer(work, pickle.load(requests)), answers, pickle.HIGHEST_PROTOCOL)  # noqa: S301
            answers.flush()
    with suppress(BrokenPipeError):
        answers.close()


def _answer(work: Any, argument: Any) -> Answer:
    try:
        return "done", work(argument)
    except LoratoryError as error:
        return "refused", error
    except Exception:
        return "failed", traceback.format_exc()
