"""The report of a run: pictures, tables and one page that holds them, computed from a run folder's files."""

from gluon_confseg.report.writing import write

__all__ = ["write"]
