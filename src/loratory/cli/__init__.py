"""The command line: parse, call the library, print."""

from loratory.cli.main import main

__all__ = ["main"]
