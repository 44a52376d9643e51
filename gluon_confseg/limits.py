"""How much a file may take of this machine: a file of a few kilobytes can name gigabytes.

What it names is compared with these limits first. Each is an environment variable, for a file that rightly holds more.
"""

from __future__ import annotations

import os

from .errors import ConfSegError

MAX_BYTES = "CONFSEG_MAX_BYTES"


def max_bytes() -> int:
    """Bytes that a compressed file may unpack to, and that a file's matrices, or its pickle, may have."""
    text = os.environ.get(MAX_BYTES, "268435456")
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise ConfSegError(
            f"{MAX_BYTES} is {text[:40]!r}; set it to a number of bytes from 1 on, or leave it out"
        )
    return int(text)


class TooLarge(ValueError):
    """More than a limit: the text is a sentence less the file's name, with the variable to set."""


def check_bytes(count: int, what: str) -> None:
    """Raise TooLarge for more than `max_bytes()`; `what` begins the sentence: "its arrays take"."""
    if count > max_bytes():
        raise TooLarge(
            f"{what} {count / 1e6:,.1f} MB, more than the {max_bytes() / 1e6:,.1f} MB that a file may take here; "
            f"if you trust it, set {MAX_BYTES}={count}"
        )
