"""Recipes of the paper's tables; the study, the benchmarks, and the tools that write the documents from results."""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
