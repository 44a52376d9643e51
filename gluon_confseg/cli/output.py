"""What a verb hands back."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Output:
    """What is printed.

    text      for people
    record    the same for programs: what JSON holds
    failure   one sentence, where the exit status is to be 1 all the same
    """

    text: str
    record: dict
    failure: str | None = None
