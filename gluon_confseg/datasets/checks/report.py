"""What a check of a data set says: for people as text, for programs as a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from gluon_confseg.datasets.faults import KINDS

# what may be meant: a small set lacks classes, photographs of one's own come in all sizes, turned and with labels on
# either the stored or the turned pixels
WARNINGS = frozenset(
    ("against", "depth", "mixed", "named", "odd_size", "orientation", "twice", "unlabelled", "unused")
)


class Finding(NamedTuple):
    """kind: one of `faults.KINDS`; message: what, which file, what to do; file: "" where it is of a whole split."""

    kind: str
    split: str
    message: str
    file: str = ""

    @property
    def severity(self) -> str:
        return "warning" if self.kind in WARNINGS else "error"

    def record(self) -> dict:
        """For JSON."""
        return {**self._asdict(), "severity": self.severity}


@dataclasses.dataclass
class SplitReport:
    """One split.

    decoded     items read pixel by pixel
    read_as     how the labels among those were told, and how many: "indices", "palette colours", ...; own data alone
    pixels      of each class in them
    ignored     pixels of none
    """

    split: str
    description: str
    images: int
    expected: int | None
    labels: int
    decoded: int
    read_as: list[tuple[str, int]]
    sizes: list[tuple[str, int]]
    classes: Sequence[str]
    pixels: list[int]
    ignored: int
    findings: list[Finding]

    def line(self) -> str:
        """One line: counts, sizes, and how much was read."""
        expected = "" if self.expected is None else f" of {self.expected:,}"
        sizes = ", ".join(f"{size} ({count})" for size, count in self.sizes[:2]) or "none readable"
        more = f" and {len(self.sizes) - 2} more sizes" if len(self.sizes) > 2 else ""
        read = "all" if self.decoded == self.images else f"{self.decoded:,}"
        return (
            f"{self.split}: {self.images:,}{expected} images, {self.labels:,} labels, {sizes}{more}; "
            f"every pixel of {read} read"
        )

    def lines(self) -> list[str]:
        """The same, and one more line on how labels were read, where there is more than one way."""
        told = ", ".join(
            f"{how} ({count} {'file' if count == 1 else 'files'})" for how, count in self.read_as
        )
        return [self.line(), f"  labels read as: {told}"] if told else [self.line()]


@dataclasses.dataclass
class Report:
    """A whole data set: `ok` when nothing must be mended; `findings`, errors first, in the order of their kinds."""

    name: str
    root: str
    deep: bool
    splits: list[SplitReport]
    findings: list[Finding]

    def __post_init__(self):
        order = list(KINDS)
        once = {(found.kind, found.message): found for found in reversed(self.findings)}
        self.findings = sorted(
            reversed(list(once.values())), key=lambda found: (found.severity, order.index(found.kind))
        )

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "warning"]

    @property
    def ok(self) -> bool:
        return not self.errors

    def record(self) -> dict:
        """For JSON."""
        splits = [dataclasses.asdict(split) for split in self.splits]
        for split in splits:
            del split["findings"]
        findings = [finding.record() for finding in self.findings]
        whole = {"name": self.name, "root": self.root, "deep": self.deep, "ok": self.ok}
        return {**whole, "splits": splits, "findings": findings}

    def text(self) -> str:
        """Every split and every finding."""
        splits = [f"  {line}" for split in self.splits for line in split.lines()]
        lines = [f"{self.name} in {self.root}", *splits]
        for severity, found in (("Error", self.errors), ("Warning", self.warnings)):
            for kind in dict.fromkeys(finding.kind for finding in found):
                same = [finding for finding in found if finding.kind == kind]
                lines += ["", f"{severity}: {KINDS[kind]} ({len(same)})"]
                lines += [f"  {each.message}" for each in same]
        counted = ((len(self.errors), "error"), (len(self.warnings), "warning"))
        counts = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counted)
        verdict = f"{counts}." if self.findings else "Nothing is wrong."
        if any(split.decoded < split.images for split in self.splits):
            verdict += " Of some files, only headers and ends were read: --deep reads every pixel."
        return "\n".join([*lines, "", verdict])
