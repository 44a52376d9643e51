"""Writes the generated parts of docs/study.md and README.md, and the picture, from the kept results of all data sets.

Run:   .venv/bin/python -m experiments.study.page
"""

from __future__ import annotations

import sys

from gluon_confseg import files
from gluon_confseg.cli import frame
from gluon_confseg.report import markdown
from gluon_confseg.report.document import Heading, Sentences, Text
from gluon_confseg.run_folder import read_json
from gluon_confseg.study import claims, page, picture

from .. import PROJECT, argument_parser
from ..tools.marked_text import between

RESULTS = PROJECT / "experiments" / "results" / "study"
PAGE, README = PROJECT / "docs" / "study.md", PROJECT / "README.md"
IMAGES, PICTURE = "images", f"{page.STEM}.png"
# file of results -> what its data are called, in the order of the page; others come after them
LABELS = {"camvid": "CamVid", "drawn": "drawn scenes", "msrc21": "MSRC-21", "ccp31": "CCP-31"}
MARKS = {
    name: (f"<!-- {name}: python -m experiments.study.page -->", f"<!-- end of {name} -->")
    for name in ("summary", "details", "study in short")
}
NOTHING = "No results of this version of the study are kept yet."


def main(argv: list | None = None) -> int:
    """Read, draw, write; the exit status."""
    argument_parser("study.page", __doc__).parse_args(argv)
    return frame.run(_run)


def _run() -> None:
    found = records()
    if found:
        picture.draw(PAGE.parent / IMAGES / PICTURE, found)
    for place in (PAGE, README):
        files.write_bytes(place, rendered(place.read_text(encoding="utf-8"), found).encode())
    print(f"{PAGE.name}, {README.name}: {', '.join(found) or NOTHING}")


def records() -> dict:
    """label -> record, of every file of results of this version; stderr names the others."""
    order = list(LABELS)
    files_by_name = {path.stem: path for path in sorted(RESULTS.glob("*.json"))}
    found = {}
    for name in sorted(files_by_name, key=lambda name: order.index(name) if name in order else len(order)):
        record = read_json(files_by_name[name])
        if record.get("schema") == claims.SCHEMA:
            found[LABELS.get(name) or page.label(record)] = record
        else:
            print(f"{files_by_name[name].name}: left out, results of an earlier version", file=sys.stderr)
    return found


def rendered(text: str, found: dict) -> str:
    """A page's text with its generated parts made anew from label -> record."""
    for name, make in (("summary", summary), ("details", details), ("study in short", in_short)):
        if MARKS[name][0] in text:
            text = between(text, MARKS[name], make(found))
    return text


def summary(found: dict) -> str:
    """Six sentences, commands, the table of claims, the picture, and the confusion inside the groups."""
    return markdown.body(page.summary(found) if found else [Text(NOTHING)], IMAGES)


def details(found: dict) -> str:
    """Each data set's numbers under a heading of its own."""
    blocks = []
    for label, record in found.items():
        blocks += [
            Heading(label),
            Text(page.first_line(record)),
            page.particulars(record),
            *page.details(record),
        ]
    return markdown.body(blocks or [Text(NOTHING)], IMAGES)


def in_short(found: dict) -> str:
    """The verdicts alone, for README.md."""
    pairs = tuple(zip(claims.ABOUT, claims.in_short(found))) if found else ()
    return markdown.body([Sentences(pairs) if found else Text(NOTHING)])


if __name__ == "__main__":
    sys.exit(main())
