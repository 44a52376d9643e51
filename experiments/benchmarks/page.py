"""Writes docs/performance.md from the history's last figures of every row and from what rows.py says of it.

Run:   .venv/bin/python -m experiments.benchmarks.page
"""

from __future__ import annotations

import sys

from gluon_confseg import files
from gluon_confseg.cli import frame

from .. import PROJECT, argument_parser
from . import history, rows, table
from .growths import all_growths

PAGE = PROJECT / "docs" / "performance.md"
INTRO = """\
# Performance

This page is written by `python -m experiments.benchmarks.page` from `experiments/benchmarks/history.jsonl`, to
which each `make bench` adds a line. Change `experiments/benchmarks/rows.py` to change its words.

`make bench` runs every piece of work in this project's way and in others', in the same run. Each side is a process
of its own that loads and warms up once. Then the sides take turns, a round each, so that whatever else the machine
does hits all of them. A ratio is ours divided by theirs: the median of the rounds' ratios, and in brackets the
smallest and the largest of them. Below 1 ours takes less. Where there are several sides of one kind, the one with
the smallest median counts. All sides have as many threads, two unless the row says otherwise. A time is a median
too, of everything until the results are there.

The networks of PyTorch are written with torch.nn in the shape of ours. Both state their multiply-adds and their
parameters, and a row where they differ is left out and the command fails; so do the sides of the loss with its
values and the norm of its gradient, and those of the confusion matrix with their counts. Their training step uses
plain cross-entropy, ours the paper's loss. Onnxruntime runs what PyTorch exports. The official Cityscapes scorer
counts in a loop in C, as it does with its extension, whose source its releases on the package index leave out; the
loop was written for this benchmark. The loader is compared with GluonCV's by `make bench-data`, and kinds of batch
norm and recomputation by `make bench-memory` (`docs/memory.md`).
"""
EMPTY = "Nothing has been measured yet.\n"
BOUNDS = {
    "multiply_adds": "the multiply-adds of the {work} at the speed of this machine's largest matrix products",
    "bytes": "the bytes that have to be read and written at the speed of a copy in memory",
}


def main(argv: list | None = None) -> int:
    """Write the page; the exit status."""
    argument_parser("benchmarks.page", __doc__).parse_args(argv)
    return frame.run(write)


def write() -> None:
    """Write the page from the committed history."""
    files.write_bytes(PAGE, text(history.read()).encode())


def text(runs: list) -> str:
    """The whole page."""
    lines, sections, used = [], [], {}
    for row in rows.all_rows():
        found = []
        for identifier, against in row.comparisons():
            run, entry = history.last(runs, "rows", identifier)
            if entry is not None:
                used[run["date"]] = run
                found.append((against, entry, run))
                lines.append(_line(row, against, entry, run))
        if found:
            sections.append(_section(row, found))
    growth_lines = []
    for growth in all_growths():
        run, entry = history.last(runs, "growths", growth.id)
        if entry is not None:
            used[run["date"]] = run
            growth_lines.append(table.growth_cells(growth, entry))
    if not used:
        return f"{INTRO}\n{EMPTY}"
    parts = [INTRO, "## Ours against others", table.markdown(HEADS, lines), _machines(used)]
    if growth_lines:
        parts += ["## Cost against work", GROWTH, table.markdown(table.GROWTH_HEADS[:-1], growth_lines)]
    parts += ["## What bounds each row, and what was tried", *sections]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


HEADS = ["work", "against", "ours", "theirs", "ratio (rounds)", "goal", "met", "run"]
GROWTH = """\
Ours alone, each size in a process of its own. The exponent p says that the time grows as size^p: it is the slope of a
line through the logarithms. Memory is the peak of the process less what it held with its libraries loaded."""


def _line(row, against, entry: dict, run: dict) -> list:
    theirs = "; ".join(
        f"{name}: {table.amount(value, entry['unit'])}" for name, value in entry["theirs"].items()
    )
    return [
        row.title,
        against.name if against else table.NONE,
        table.ours(entry),
        theirs or table.NONE,
        table.ratio(entry),
        table.goal(row, against),
        table.met(row, against, entry),
        _name(run),
    ]


def _name(run: dict) -> str:
    return f"`{run['commit'][:7]}`" + (" with changes" if run["dirty"] else "")


def _machines(used: dict) -> str:
    """Which run was made where."""
    lines = ["The runs:", ""]
    for date in sorted(used):
        run = used[date]
        machine = run["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in sorted(machine["versions"].items()))
        lines.append(
            f"- {_name(run)}, {date} UTC: {machine['cpu']}, {machine['cores']} cores; {versions}; before it began, "
            f"{machine['load']:.1f} processes were running"
        )
    return "\n".join(lines)


def _section(row, found: list) -> str:
    """What a row does and what bounds it."""
    parts = [f"### {row.title[0].upper()}{row.title[1:]}"]
    _, entry, run = found[0]
    nearness = [_bound(row, entry, run)]
    for against, compared, _ in found:
        if against is not None and against.least and "ratio" in compared:
            nearness.append(
                f"Arithmetic alone, by multiply-adds, gives a ratio of {against.least:.2f} against {against.name}; "
                f"measured: {compared['ratio']:.2f}."
            )
    parts.append(" ".join(filter(None, [row.bounds, *nearness])))
    if row.tried:
        parts.append(f"Tried: {row.tried}")
    parts.append(f'`make bench ARGS="--rows {row.id}"`')
    return "\n\n".join(parts)


def _bound(row, entry: dict, run: dict) -> str:
    """The least time that the machine's speed allows, and the share of it that is reached."""
    for kind, amount in (entry.get("work", {}) if row.work else {}).items():
        rate = run["machine"]["rates"].get(kind)
        if rate and entry["ours"]:
            work = "forward pass, and twice as many backward," if row.work[1] == 3 else "network"
            least = amount / rate
            return (
                f"A bound is {BOUNDS[kind].format(work=work)}: {table.amount(least, 's')}, which is "
                f"{100 * least / entry['ours']:.0f} % of the time that ours takes."
            )
    return ""


if __name__ == "__main__":
    sys.exit(main())
