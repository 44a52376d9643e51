"""Text on its way to a terminal: names of classes and files come from anywhere, and must not give it commands."""

from __future__ import annotations

import re

# controls but for tab and line end; those that turn the direction of reading, by which text shows what it isn't
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def clean(text) -> str:
    """A name from anywhere as text of a page: no sign that acts, none that can't be written as UTF-8."""
    return printable(str(text).encode("utf-8", "backslashreplace").decode("utf-8"))


def printable(text: str) -> str:
    """The same text with every sign that acts on a terminal as its code, such as \\x1b."""
    return _ACTING.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)
