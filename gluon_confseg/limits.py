"""How much a file may take of this machine: a file of a few kilobytes can name gigabytes.

What it names is compared with these limits first. Each is an environment variable, for a file that rightly holds more.
"""

from __future__ import annotations

import os

from .errors import ConfSegError

MAX_BYTES = "CONFSEG_MAX_BYTES"
MAX_PIXELS = "CONFSEG_MAX_PIXELS"
MOST_PIXELS = 2**30  # OpenCV decodes no more


def max_bytes() -> int:
    """Bytes that a compressed file may unpack to, and that a file's matrices, or its pickle, may have."""
    return _limit(MAX_BYTES, 2**28, 10**18, "bytes")


def max_pixels() -> int:
    """Pixels that a picture may have."""
    return _limit(MAX_PIXELS, 2**27, MOST_PIXELS, "pixels")


def _limit(variable: str, usual: int, most: int, what: str) -> int:
    given = os.environ.get(variable, str(usual))
    if not (given.isascii() and given.isdigit() and len(given) < 20 and 0 < int(given) <= most):
        raise ConfSegError(
            f"{variable}={given[:40]}: is no number of {what} from 1 to {most}; set another, or leave it out"
        )
    return int(given)


class TooLarge(ValueError):
    """More than a limit: the text is a sentence less the file's name, with the variable to set."""


def check_bytes(count: int, what: str) -> None:
    """Raise TooLarge for more than `max_bytes()`; `what` begins the sentence: "its arrays take"."""
    if count > max_bytes():
        raise TooLarge(
            f"{what} {count / 1e6:,.1f} MB, more than the {max_bytes() / 1e6:,.1f} MB that a file may take here; "
            f"if you trust it, set {MAX_BYTES}={count}"
        )
