"""Checks of a whole data set before anything trains on it: all that is wrong, at once, with what to do about each."""

from __future__ import annotations

from .findings import Finding
from .report import Report, SplitReport
from .whole import check

__all__ = ["Finding", "Report", "SplitReport", "check"]
