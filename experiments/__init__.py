"""Recipes of the paper's tables; the study, the benchmarks, and the tools that write the documents from results."""

from __future__ import annotations

import argparse
from pathlib import Path

from gluon_confseg.cli import options  # before MXNet: it readies the threads

PROJECT = Path(__file__).resolve().parent.parent


def argument_parser(module: str, doc: str) -> options.Parser:
    """The parser of `python -m experiments.MODULE`, whose docstring is its help."""
    formatter = argparse.RawDescriptionHelpFormatter
    return options.Parser(f"python -m experiments.{module}", description=doc, formatter_class=formatter)
