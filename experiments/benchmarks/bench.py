"""This package against others: one table, every row ours against theirs in the same run, the sides in turns.

Run:   make bench                                     every row
       make bench ARGS="--rows loss matrix --rounds 5"   some of them; `--list` names them
       make bench ARGS=--quick                        that all sides run, at sizes that measure nothing
Cost:  about a quarter of an hour on 2 cores, and 6 GB of memory; nothing else should run meanwhile
Gives: the table; a line in experiments/benchmarks/history.jsonl; from that, docs/performance.md

Each side is a process of its own. It loads and warms up once, and then the sides take turns, a round each, so that what
else the machine does hits all of them. A ratio is the median of the rounds' ratios. The others (PyTorch, onnxruntime,
scikit-learn, networkx, the official Cityscapes scorer) have an environment of their own, .venv-bench.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from pathlib import Path

from gluon_confseg.cli import frame
from gluon_confseg.errors import RunError, did_you_mean
from gluon_confseg.progress import say

from .. import argument_parser
from . import figures, history, page, rounds, rows, table
from .growths import all_growths

RATES = {"multiply": "multiply_adds_of_a_product", "copy": "bytes_of_a_copy"}
RATE_NAMES = {"multiply": "multiply_adds", "copy": "bytes"}


def main(argv: list | None = None) -> int:
    """Measure, print the tables, keep the figures and write the page; the exit status."""
    parser = argument_parser("benchmarks.bench", __doc__)
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows (see --list)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of each side (default: 3)")
    parser.add_argument("--quick", action="store_true", help="every row, small, in a minute; nothing is kept")
    parser.add_argument("--list", action="store_true", help="name the rows, and end")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error("--rounds is 1 or more")
    return frame.run(lambda: _run(arguments))


def _run(arguments) -> None:
    every, growths = rows.all_rows(arguments.quick), all_growths(arguments.quick)
    if arguments.list:
        print("\n".join(f"{one.id:26} {one.title}" for one in (*every, *growths)))
        return
    every, growths = chosen(every, growths, arguments.rows)
    if arguments.quick and not arguments.rows:
        growths = growths[:2]  # the others run the same programs
    peers = rounds.PEERS.exists()
    if not peers:
        if not arguments.quick:
            raise RunError(
                f"{rounds.PEERS}: is not there, and holds what is compared with; run `make setup-bench`"
            )
        say("there is no .venv-bench (`make setup-bench`): only this package's sides run")
    load, runs = os.getloadavg()[0], history.read()
    versions, rates = ({}, {}) if arguments.quick or not peers else machine_rates()
    run = history.begin(versions, rates, load)
    lines, growth_lines, failed = [], [], []
    total = len(every) + len(growths)
    for number, row in enumerate(every, 1):
        say(f"[{number}/{total}] {row.title}")
        try:
            found = measured(row, 1 if arguments.quick else arguments.rounds, versions, peers)
        except RunError as error:  # the others' figures are kept
            failed.append(row.id)
            say(f"{row.id}: {error}")
            continue
        for against, entry in found:
            run["rows"].append(entry)
            lines.append(table.of_row(row, against, entry, runs, run["machine"]))
    for number, growth in enumerate(growths, len(every) + 1):
        say(f"[{number}/{total}] growth: {growth.title}, {growth.axis}")
        try:
            entry = measured_growth(growth, 1 if arguments.quick else min(arguments.rounds, 2), versions)
        except RunError as error:
            failed.append(growth.id)
            say(f"{growth.id}: {error}")
            continue
        run["growths"].append(entry)
        growth_lines.append(table.of_growth(growth, entry, runs, run["machine"]))
    if lines:
        print(table.markdown(table.HEADS, lines), end="\n\n")
    if growth_lines:
        print(table.markdown(table.GROWTH_HEADS, growth_lines), end="\n\n")
    if not arguments.quick and (lines or growth_lines):
        history.append(run)
        page.write()
    if failed:
        raise RunError(f"{', '.join(failed)}: not measured, for the reasons above; the other rows were")


def chosen(every: list, growths: list, names: list | None) -> tuple:
    """The rows and growths of these names, or all. Raises RunError for an unknown name."""
    if not names:
        return every, growths
    known = [one.id for one in (*every, *growths)]
    for name in names:
        if name not in known:
            raise RunError(f"no row {name!r}{did_you_mean(name, known)}; choose of {', '.join(known)}")
    return [row for row in every if row.id in names], [growth for growth in growths if growth.id in names]


def machine_rates() -> tuple:
    """(versions, {"multiply_adds" and "bytes": how many a second}) that this machine reaches at most."""
    sides = [rounds.Side(name, "peers_bounds", {"work": name}) for name in RATES]
    outcome = rounds.measure(sides, 3)
    rates = {
        RATE_NAMES[name]: figures.short(outcome.facts[fact] / min(outcome.sides[name].seconds))
        for name, fact in RATES.items()
    }
    return outcome.versions, rates


def measured(row, count: int, versions: dict, peers: bool) -> list:
    """[(`Against` or None, figures)] of a row; adds to `versions`. Without peers their sides are left out."""
    sides = {side.name: side for side in row.ours}
    comparisons = row.comparisons()
    for _, against in comparisons:
        sides.update({side.name: side for side in (against.sides if against else ())})
    with tempfile.TemporaryDirectory() as folder:
        if row.prepare is not None:
            row.prepare(Path(folder))
        kept = [_in_folder(side, folder) for side in sides.values() if peers or not side.is_peer]
        outcome = rounds.measure(kept, min(count, row.rounds or count))
    versions.update(outcome.versions)
    for name in sides.keys() - outcome.sides.keys():
        outcome.sides[name] = rounds.Measured()
    return [(against, figures.compared(name, row, against, outcome)) for name, against in comparisons]


def measured_growth(growth, count: int, versions: dict) -> dict:
    """The figures of a growth; its sizes are the sides, and take turns."""
    with tempfile.TemporaryDirectory() as folder:
        sides = [
            dataclasses.replace(_in_folder(growth.side(size), folder), name=str(size))
            for size in growth.sizes
        ]
        outcome = rounds.measure(sides, count, same_work=False)
    versions.update(outcome.versions)
    return figures.grown(growth, {size: outcome.sides[str(size)] for size in growth.sizes})


def _in_folder(side, folder: str):
    settings = {key: folder if value == rows.FOLDER else value for key, value in side.settings.items()}
    return dataclasses.replace(side, settings=settings)


if __name__ == "__main__":
    sys.exit(main())
