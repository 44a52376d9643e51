"""The report of a run: pictures, tables and one page that holds them, computed from a run folder's files."""

from __future__ import annotations

from pathlib import Path


def write(run_folder) -> Path:
    """Write pictures/*.png, report.md and report.html of a run folder; returns the path of report.html.

    The same run gives the same bytes. Reads only the files of the run folder.
    raises   RunError, one sentence, for a file that is missing, damaged or of another run
    """
    # tables and costs of a matrix are read without Matplotlib
    from gluon_confseg.report import writing

    return writing.write(run_folder)


__all__ = ["write"]
