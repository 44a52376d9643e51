"""How much a request may take, and how one that asks for more is refused."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """The defaults are those of the command line.

    upload_bytes     a request's body
    pixels           a picture's, by its header: looked at before anything is decoded
    queue            requests that are read or wait for the network, all together; memory is bounded by this many bodies
    body_seconds     from a request's first byte to the last of its body
    answer_seconds   from the last byte of a body to its answer
    batch            pictures of one size that the network is given at once
    batch_pixels     of all pictures of a batch, where it holds more than one
    header_bytes     a request's line and headers
    """

    upload_bytes: int = 16 * 2**20
    pixels: int = 2**23
    queue: int = 128
    body_seconds: float = 30.0
    answer_seconds: float = 60.0
    batch: int = 8
    batch_pixels: int = 2**20
    header_bytes: int = 16 * 2**10


class Refusal(Exception):
    """A request that gets an error as its answer.

    status        of HTTP, 400 to 503
    sentence      what is wrong and what to do, for the one who asks: names no file of this machine
    retry_after   seconds after which the same request may succeed; None: never
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


def headers_refusal(limits: Limits) -> Refusal:
    """Of a request whose line and headers are too long."""
    return Refusal(431, f"the request's line and headers have more than {limits.header_bytes:,} bytes")
