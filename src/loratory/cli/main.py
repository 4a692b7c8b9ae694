"""The entry point: runs the app and turns errors into exit statuses.

0 success; 1 a fault of Loratory's own, with its traceback; 2 a mistake that the user can
mend, in one clear sentence each; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys

from loratory.errors import ConfigError, LoratoryError

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    # Tokenizers' threads and a fork would deadlock, and the Hub's bars would break ours.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        import warnings

        # Deprecations inside peft and transformers tell a user nothing; -W default shows them.
        warnings.simplefilter("ignore")
    from loratory.cli.app import app

    try:
        app()
    except LoratoryError as error:
        _explain(error)
        sys.exit(2)
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe: nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. `loratory train RUN` goes on from the last checkpoint.", file=sys.stderr
        )
        sys.exit(130)


def _explain(error: LoratoryError) -> None:
    from loratory.report.wording import clean

    sentences = error.problems if isinstance(error, ConfigError) else (str(error),)
    if "--json" in sys.argv:
        body = {"type": type(error).__name__, "problems": list(sentences)}
        print(json.dumps({"error": body}, ensure_ascii=False))
        return
    for sentence in sentences:
        print(f"loratory: {clean(sentence)}", file=sys.stderr)
