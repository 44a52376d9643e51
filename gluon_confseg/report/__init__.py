"""The report of a run: pictures, tables and one self-contained page, all computed from the files of a run folder."""

from gluon_confseg.report.writing import write

__all__ = ["write"]
