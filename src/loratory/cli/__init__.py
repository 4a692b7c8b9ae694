"""The command line: parse, call the library, print.

Help is kept as text, and printed without loading what parses: it is asked for between two thoughts.
"""

import os  # and no pathlib, which takes longer to load than all that help needs
import sys

__all__ = ["HELP", "WIDTH", "main"]

HELP = os.path.join(os.path.dirname(__file__), "help")
"""What `--help` prints, a file a command; `python docs/generate.py` writes it."""
WIDTH = 80
"""Columns that it takes; a narrower terminal gets it wrapped anew."""


def main() -> None:
    """Run the command line and exit."""
    kept = _kept(sys.argv[1:])
    if kept is not None:
        sys.stdout.write(kept)
        sys.exit(0)
    from loratory.cli.program import run

    run()


def _kept(words: list[str]) -> str | None:
    """Return the help that is asked for, where it is kept and fits the terminal."""
    if words[-1:] != ["--help"] or len(words) > 2 or _columns() < WIDTH:
        return None
    name = words[0] if len(words) == 2 else "loratory"
    if not name.isidentifier() or words[0] == "loratory":  # a path, or no command
        return None
    try:
        with open(os.path.join(HELP, f"{name}.txt"), encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or WIDTH
    except ValueError:
        pass
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except (OSError, ValueError, AttributeError):  # no terminal, or no file
        return WIDTH
