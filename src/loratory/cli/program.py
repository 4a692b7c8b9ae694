"""Runs the app and turns errors into exit statuses.

0 success; 1 a fault of Loratory's own, with its traceback; 2 a mistake that the user can
mend, in one clear sentence each; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from typing import NoReturn

from loratory.errors import ConfigError, LoratoryError

__all__ = ["run"]

INTERRUPTED = 130
TERMINATED = 143


def run() -> None:
    """Run the command line and exit."""
    # Tokenizers' threads and a fork would deadlock, and the Hub's bars would break ours.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        import warnings

        # Deprecations inside peft and transformers tell a user nothing; -W default shows them.
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal can spell `●`
    from loratory.cli.app import app

    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(prog_name="loratory")
    except LoratoryError as error:
        _explain(error)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's answer to Ctrl-C; the stage has said how to go on
            if _terminated(stop):
                print("loratory: terminated.", file=sys.stderr)
                sys.exit(TERMINATED)
            print("loratory: interrupted.", file=sys.stderr)
        raise


def _terminate(number: int, _: object) -> NoReturn:
    """End as Ctrl-C does, so that what there is is kept."""
    raise KeyboardInterrupt(number)


def _terminated(stop: BaseException) -> bool:
    """Return whether it was SIGTERM, and not Ctrl-C, that led to an exit."""
    error: BaseException | None = stop
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return signal.SIGTERM in error.args
        error = error.__context__
    return False


def _explain(error: LoratoryError) -> None:
    from loratory.report.wording import clean

    sentences = error.problems if isinstance(error, ConfigError) else (str(error),)
    if "--json" in sys.argv:
        body = {"type": type(error).__name__, "problems": list(sentences)}
        print(json.dumps({"error": body}, indent=2))
        return
    for sentence in sentences:  # a line each: a library's own words may have several
        print(f"loratory: {' '.join(clean(sentence).split())}", file=sys.stderr)
