"""Writes the graphs of the tables' networks into symbols/, and lists them in its README.

Run:   make export
Gives: symbols/*-symbol.json and the table in symbols/README.md. Graphs only: parameters come from a training, whose
       own network `confseg export RUN/checkpoints/STAGE.npz --out PREFIX` writes with graph and parameters.
"""

from __future__ import annotations

import gluon_confseg  # noqa: F401  first of all: it readies threads and CUDA libraries before MXNet is imported

# isort: split
import numpy as np

from gluon_confseg import export, files, groups, network
from gluon_confseg.labels import LABEL_SPACES

from . import table3, table4, table5
from .command import PROJECT

MARKS = ("<!-- table: make export -->", "<!-- end of table -->")


def main() -> None:
    """Write every graph, then the table."""
    rows = [row for tables in (table3, table4, table5) for row in write_table(tables.RECIPES["full"])]
    head = "| graph | network | outputs | parameters |\n|---|---|---|---|\n"
    lines = [
        f"| `{name}-symbol.json` | {about} | {outputs} | {size} |" for name, about, outputs, size in rows
    ]
    replace_between(PROJECT / "symbols" / "README.md", MARKS, head + "\n".join(lines))
    print("\n".join(f"symbols/{row[0]}-symbol.json" for row in rows))


def write_table(recipe) -> list:
    """The graphs of one table's networks: subnet 0 alone, and all subnets fused."""
    rows = []
    for fused in dict.fromkeys(arm.subnets != "0" for arm in recipe.arms):
        subnets = groups.PAPER[recipe.data] if fused else ()
        classes = LABEL_SPACES[recipe.data].num_classes
        built = network.build(
            recipe.encoder, classes, subnets, recipe.output_stride, recipe.subnets, recipe.head, recipe.head
        )
        rule = recipe.rule if fused else "subnet0"
        name = f"{recipe.experiment}-{recipe.encoder}-{recipe.data}-{'subnets' if fused else 'subnet0'}"
        graph = export.graph(built, rule).tojson().encode()
        files.write_bytes(PROJECT / "symbols" / f"{name}-symbol.json", graph)
        about = f"{recipe.encoder}, output stride {recipe.output_stride}, " + (
            f"{recipe.subnets} subnets 0-{len(subnets)}, {rule} rule" if fused else "subnet 0"
        )
        count = sum(int(np.prod(p.shape)) for p in built.collect_params().values())
        rows.append((name, about, f"(N, {classes}, H, W)", f"{count / 1e6:.1f} M"))
    return rows


def replace_between(path, marks: tuple, text: str) -> None:
    """Replace what stands between two marks of a Markdown file."""
    before, rest = path.read_text().split(marks[0])
    after = rest.split(marks[1])[1]
    files.write_bytes(path, f"{before}{marks[0]}\n{text}\n{marks[1]}{after}".encode())


if __name__ == "__main__":
    main()
