"""`confseg report`: a run's report again, from its files."""

from __future__ import annotations

from gluon_confseg import report
from gluon_confseg.cli.answer import Answer
from gluon_confseg.report import tables
from gluon_confseg.runs import read_json


def run(arguments) -> Answer:
    """Write report.html and its pictures, and show the main table."""
    page = report.write(arguments.run)
    results = read_json(arguments.run / "results.json")
    return Answer(f"{tables.terminal(results)}\n\nReport: {page}", {"report": str(page), "results": results})
