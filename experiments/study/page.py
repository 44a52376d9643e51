"""Writes what docs/study.md, docs/results.md and README.md say of the kept results of all data sets, and the picture.

Run:   .venv/bin/python -m experiments.study.page
"""

from __future__ import annotations

import sys

from gluon_confseg import files
from gluon_confseg.cli import frame
from gluon_confseg.report import markdown
from gluon_confseg.report.document import Heading, Sentences, Text
from gluon_confseg.report.grid import Grid
from gluon_confseg.run_folder import read_json
from gluon_confseg.study import claims, page, picture

from .. import PROJECT, argument_parser
from ..tools.marked_text import between

RESULTS = PROJECT / "experiments" / "results" / "study"
PAGE, SHORT, README = PROJECT / "docs" / "study.md", PROJECT / "docs" / "results.md", PROJECT / "README.md"
IMAGES, PICTURE = "images", f"{page.STEM}.png"
# file of results -> what its data are called, in the order of the page; others come after them
LABELS = {"camvid": "CamVid", "drawn": "drawn scenes", "msrc21": "MSRC-21", "ccp31": "CCP-31"}
MARKS = {
    name: (f"<!-- {name}: python -m experiments.study.page -->", f"<!-- end of {name} -->")
    for name in ("summary", "details", "study in short", "results")
}
NOTHING = "No results of this version of the study are kept yet."
IN_README = ("loss", "heads", "groups_one", "whole")  # the claims in its table
NOT_RUN = {
    "Cityscapes: Tables 3 and 4 of the paper": "not run: neither the data set nor a fitting GPU was at hand",
    "PASCAL VOC: Table 5": "not run, for the same reasons",
}


def main(argv: list | None = None) -> int:
    """Read, draw, write; the exit status."""
    argument_parser("study.page", __doc__).parse_args(argv)
    return frame.run(_run)


def _run() -> None:
    found = records()
    if found:
        picture.draw(PAGE.parent / IMAGES / PICTURE, found)
    for place in (PAGE, SHORT, README):
        files.write_bytes(place, rendered(place.read_text(encoding="utf-8"), found).encode())
    print(f"{PAGE.name}, {SHORT.name}, {README.name}: {', '.join(found) or NOTHING}")


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
    parts = {"summary": summary, "details": details, "study in short": in_short, "results": results_table}
    for name, make in parts.items():
        if MARKS[name][0] in text:
            text = between(text, MARKS[name], make(found))
    return text


def not_yet(found: dict) -> list:
    """The data sets that the study is meant for and has no results of."""
    return [label for label in LABELS.values() if label not in found]


def _not_yet(found: dict) -> list:
    missing = not_yet(found)
    return [Text(f"Not run yet with this version of the study: {', '.join(missing)}.")] if missing else []


def _with_other_heads(found: dict) -> list:
    """Which data sets' subnets and wide heads had no branch for detail, the usual structure until 2026-11-28."""
    usual = "subnets_confusion_ce_rate"  # how the names of its phases begin
    labels = [
        label
        for label, record in found.items()
        if any(
            phase.get("name", "").startswith(usual) and phase["subnet_head"].get("detail") is None
            for phase in record["settings"].get("phases", ())
        )
    ]
    return [
        Text(
            f"On {claims.listed(labels)} subnets and wide heads had no branch for detail, which became part of the "
            "usual structure afterwards (docs/decisions.md); these data sets were not run again yet."
        )
    ] * bool(labels)


def summary(found: dict) -> str:
    """Six sentences, commands, the table of claims, the picture, and the confusion inside the groups."""
    if not found:
        return markdown.body([Text(NOTHING)], IMAGES)
    other = _with_other_heads(found)
    other += [Text("The commands above train heads of the present structure there as well.")] * bool(other)
    return markdown.body([*page.summary(found), *other, *_not_yet(found)], IMAGES)


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
    """The verdicts alone, for docs/results.md."""
    pairs = tuple(zip(claims.ABOUT, claims.in_short(found))) if found else ()
    notes = [*_with_other_heads(found), *_not_yet(found)]
    return markdown.body([Sentences(pairs), *notes] if found else [Text(NOTHING)])


def results_table(found: dict) -> str:
    """What was run and what was not, for README.md: a row for each data set, with the main claims' differences."""
    chosen = [claims.BY_KEY[key] for key in IN_README]
    rows = [_row(label, record, chosen) for label, record in found.items()]
    if not found:
        rows = [["the study, of small networks", NOTHING, *["-"] * (len(chosen) - 1)]]
    missing = dict.fromkeys(not_yet(found) if found else (), "the study was not run on it yet")
    rows += [[data, why, *["-"] * (len(chosen) - 1)] for data, why in {**missing, **NOT_RUN}.items()]
    note = (
        "Differences of mIoU in points, of small networks. What each part of the method gains is set beside a control "
        "that has everything but this part; docs/study.md explains the controls, and what is called settled."
    )
    grid = Grid(["data", *(claim.in_picture for claim in chosen)], rows, words=5)
    return markdown.body([grid, Text(note), *_with_other_heads(found)])


def _row(label: str, record: dict, chosen: list) -> list:
    differences = [claims.find(record, claim) for claim in chosen]
    seeds = {len(difference["seeds"]) for difference in differences if difference}
    counted = f"{max(seeds)} seed{'s' if max(seeds) > 1 else ''}" if seeds else "nothing compared"
    told = [
        "not measured"
        if difference is None
        else f"{claims.points(difference['mean'])}, {claims.VERDICTS[claims.MEAN_IOU][claims.verdict(difference)]}"
        for difference in differences
    ]
    return [f"{label}, {counted}", *told]


if __name__ == "__main__":
    sys.exit(main())
