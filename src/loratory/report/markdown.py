"""Text of anybody's, made safe to stand in Markdown.

Escaped by hand because no template language escapes Markdown. HTML inside Markdown is live on
the Hub, so `<` and `&` are escaped first of all.
"""

from __future__ import annotations

import re
from typing import Any

from loratory.report.wording import clean

__all__ = ["code", "fenced", "inline"]


def inline(text: Any) -> str:
    """Return text that Markdown shows as it is, on one line."""
    line = " ".join(clean(str(text)).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Parentheses need nothing: a link's begin after a bracket, and brackets are escaped.
    line = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", line)
    # Bare addresses, which some renderers turn into links.
    line = re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)|(?<=mailto)(:)|(@)", r"\\\g<0>", line)
    # Lists and rules, which begin a line.
    line = re.sub(r"^([-+=])(?=[-+=\s]|$)", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)


def code(text: Any) -> str:
    """Return text as inline code, on one line; not for a table, whose bars would split it."""
    line = " ".join(clean(str(text)).split())
    mark = "`" * (_longest_run(line) + 1)
    # The space keeps a backtick at either end from joining the mark; Markdown drops it.
    return f"{mark} {line} {mark}" if "`" in line else f"{mark}{line}{mark}"


def fenced(text: str, language: str = "") -> str:
    """Return text as a code block that nothing inside can end."""
    text = clean(text).rstrip("\n")
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)
