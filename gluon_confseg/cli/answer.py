"""What a verb hands back."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Answer:
    """text: for people; record: the same for programs, as JSON holds it; failure: why the exit status is 1."""

    text: str
    record: dict
    failure: str | None = None
