"""`confseg report`: a run's report again, from its files."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg.cli.output import Output

SUMMARY = "Write a run's report.html again from its files, and print its table."


def add_arguments(parser) -> None:
    """The run."""
    parser.add_argument("run", type=Path, help="a run folder")


def run(arguments) -> Output:
    """Write report.html and its pictures, and show the main table."""
    from gluon_confseg import report
    from gluon_confseg.report import tables
    from gluon_confseg.run_folder import read_json

    page = report.write(arguments.run)
    results = read_json(arguments.run / "results.json")
    return Output(f"{tables.terminal(results)}\n\nReport: {page}", {"report": str(page), "results": results})
