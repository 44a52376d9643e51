"""Writes the graphs of the tables' networks into symbols/, and lists them in its README.

Run:   make export
Gives: symbols/*-symbol.json and the table in symbols/README.md. Graphs only: parameters come from a training, whose
       own network `confseg export RUN/checkpoints/PHASE.npz --out PREFIX` writes with graph and parameters.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np

from gluon_confseg import build, export, files, recipe_files
from gluon_confseg.cli import frame
from gluon_confseg.labels import LABEL_SPACES

from .. import PROJECT, argument_parser
from .marked_text import replace_between

TABLES = ("table3", "table4", "table5")
MARKS = ("<!-- table: make export -->", "<!-- end of table -->")


def main(argv: list | None = None) -> int:
    """Write every graph, then the table; the exit status."""
    parser = argument_parser("tools.export_symbols", __doc__)
    parser.parse_args(argv)
    return frame.run(_run)


def _run() -> None:
    rows = [row for name in TABLES for row in write_table(recipe_files.find(name).profile("full"))]
    head = "| graph | network | outputs | parameters |\n|---|---|---|---|\n"
    lines = [
        f"| `{name}-symbol.json` | {about} | {outputs} | {size} |" for name, about, outputs, size in rows
    ]
    replace_between(PROJECT / "symbols" / "README.md", MARKS, head + "\n".join(lines))
    print("\n".join(f"symbols/{row[0]}-symbol.json" for row in rows))


def write_table(recipe) -> list:
    """The graphs of one table's networks, subnet 0 alone and all subnets fused: rows of symbols/README.md."""
    labels, rows = LABEL_SPACES[recipe.data], []
    for name in ("subnet0", "subnets"):
        cell = next(cell for cell in recipe.cells if (cell.subnets == "0") == (name == "subnet0"))
        network, phase, rule = construct(recipe, cell), recipe.phase(cell.phase), recipe.rule_of(cell)
        name = f"{recipe.name}-{phase.encoder}-{recipe.data}-{name}"
        graph = export.graph(network, rule).tojson().encode()
        files.write_bytes(PROJECT / "symbols" / f"{name}-symbol.json", graph)
        about = f"{phase.encoder}, output stride {phase.output_stride}, " + (
            f"{phase.subnets} subnets 0-{len(network.groups)}, {rule} rule" if network.groups else "subnet 0"
        )
        count = sum(int(np.prod(p.shape)) for p in network.collect_params().values())
        rows.append((name, about, f"(N, {labels.num_classes}, H, W)", f"{count / 1e6:.1f} M"))
    return rows


def construct(recipe, cell):
    """The network of a cell's phase, every subnet by the phase's settings, with initial values."""
    phase = dataclasses.replace(recipe.phase(cell.phase), pretrained=False)
    return build.construct(phase, LABEL_SPACES[recipe.data], seed=recipe.seed)


if __name__ == "__main__":
    sys.exit(main())
