"""Prompt templates: text with `{field}` where the example goes, `{{` for a brace."""

from __future__ import annotations

from collections.abc import Collection
from string import Formatter

__all__ = ["fill", "template_problems"]


def template_problems(
    template: str, needs: Collection[str], allows: Collection[str] = ()
) -> list[str]:
    """Return what is wrong with a template, one `template: sentence` each.

    Args:
        template: what the user wrote.
        needs: fields that must be in it.
        allows: fields that may.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        return [f"template: {error}. Write a brace that is meant as one twice: {{{{ or }}}}."]
    known = [*needs, *(field for field in allows if field not in needs)]
    spelled = " and ".join(f"{{{field}}}" for field in known)
    found = []
    fields = set()
    for _, field, form, conversion in parts:
        if field is None:
            continue
        fields.add(field)
        if field not in known:
            found.append(f"template: unknown field {{{field}}}. Allowed: {spelled}.")
        elif form or conversion:
            found.append(f"template: write {{{field}}} without a format.")
    missing = [f"template: {{{field}}} is missing." for field in needs if field not in fields]
    return found + missing


def fill(template: str, **values: str) -> str:
    """Put values into a template; braces inside a value are left as they are."""
    parts = Formatter().parse(template)
    return "".join(text + (values[field] if field is not None else "") for text, field, *_ in parts)
