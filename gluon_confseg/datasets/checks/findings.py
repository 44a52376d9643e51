"""What a check found: one sentence each, errors that must be mended and warnings that should be looked at."""

from __future__ import annotations

from typing import NamedTuple

from gluon_confseg.datasets.faults import KINDS

# what may be meant: a small set lacks classes, photographs of one's own come in all sizes
WARNINGS = frozenset(("odd_size", "twice", "unlabelled", "unused"))


class Finding(NamedTuple):
    """kind: one of `faults.KINDS`; message: what, which file, what to do; file: "" where it is of a whole split."""

    kind: str
    split: str
    message: str
    file: str = ""

    @property
    def severity(self) -> str:
        return "warning" if self.kind in WARNINGS else "error"

    @property
    def heading(self) -> str:
        return KINDS[self.kind]

    def record(self) -> dict:
        """For JSON."""
        return {**self._asdict(), "severity": self.severity}
