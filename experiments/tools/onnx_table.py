"""Exports every network as ONNX and compares it with the live one: the tables', all encoders, heads and fusion rules.

Run:   make onnx-table                                measure all, and write the table of docs/onnx.md
       make onnx-table ARGS="--only resnet18 heads"    measure the rows whose name has one of these words
       make onnx-table ARGS="--only"                   measure nothing, and write the table again
       make onnx-table ARGS="--only table3 --size 1024 2048"     on one picture of this size, as a line of its own
Cost:  up to 8 GB, and most of an hour on 2 cores
Gives: experiments/results/onnx/networks.json, which keeps what was measured before, and the table: for each network
       the largest difference of scores and the share of pixels with the same class, on random pictures of 1 x 1 to
       10,000 x 4 pixels. Nobody trained these networks: their values come from seeds (`made_up_values`).
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable

from gluon_confseg import encoders, files, fusion, network, onnx_export, recipe_files
from gluon_confseg.cli import frame
from gluon_confseg.network import FusedNetwork
from gluon_confseg.subnets import CONTEXTS, KINDS, HeadSettings

from .. import PROJECT, argument_parser
from . import made_up_values
from .export_symbols import TABLES, construct
from .marked_text import replace_between

KEPT = PROJECT / "experiments" / "results" / "onnx" / "networks.json"
PAGE = PROJECT / "docs" / "onnx.md"
MARKS = ("<!-- table: make onnx-table -->", "<!-- end of table -->")
SIZES = (*onnx_export.CHECKED, (1, 4, 10_000))
GROUPS = ((0, 1), (4, 2))
CLASSES = 5
ALONE = "; one picture of "


@dataclasses.dataclass(frozen=True)
class Row:
    """A network by its name, and by which rules it is fused."""

    name: str
    build: Callable
    rules: tuple = ("sum",)

    def names(self) -> list:
        """The names of its lines, one for each rule."""
        return [self.name] if len(self.rules) == 1 else [f"{self.name}, rule {rule}" for rule in self.rules]


def main(argv: list | None = None) -> int:
    """Measure and print; the exit status."""
    parser = argument_parser("tools.onnx_table", __doc__)
    parser.add_argument("--only", nargs="*", metavar="WORD", help="measure rows with one of these words")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="one picture of this size")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments.only, arguments.size))


def _run(only: list | None, size: list | None) -> None:
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    sizes, ending = (SIZES, "") if size is None else (((1, *size),), f"{ALONE}{size[1]} x {size[0]}")
    for row in rows():
        if only is None or any(word in row.name for word in only):
            for name, figures in measured(row, sizes).items():
                kept[name + ending] = figures
                files.write_json(KEPT, kept)
                print(line(name + ending, figures), flush=True)
    replace_between(PAGE, MARKS, page_table(kept))


def page_table(kept: dict) -> str:
    """The page's table, of what was measured; it says what was not."""
    lines = ["| network | largest difference of scores | pixels with the same class |\n|---|---|---|"]
    for name in (name for row in rows() for name in row.names()):
        known = [key for key in kept if key.split(ALONE)[0] == name]
        lines += [line(key, kept[key]) for key in known] or [f"| {name} | not measured | |"]
    return "\n".join(lines)


def line(name: str, figures: dict) -> str:
    """A line of the table."""
    return f"| {name} | {figures['difference']:.1e} | {100 * figures['equal_pixels']:.3f} % |"


def measured(row: Row, sizes) -> dict:
    """{name: figures} of a row's network on pictures of these sizes, one for each rule."""
    built, found = row.build(), {}
    made_up_values.fill(built)
    for rule, name in zip(row.rules, row.names()):
        fused = FusedNetwork(built, rule)
        difference, equal = onnx_export.check(fused, onnx_export.model(fused), sizes=sizes)
        found[name] = {"difference": difference, "equal_pixels": equal}
    return found


def rows() -> list:
    """All networks."""
    found = [row for table in TABLES for row in of_table(recipe_files.find(table).profile("full"))]
    found += [
        Row(f"{name}, output stride {stride}", _builder(encoder=name, output_stride=stride))
        for name in encoders.NAMES
        for stride in ((8, 32) if name in ("resnet18", "efficientnet_lite0") else (8,))
    ]
    settings = {kind: HeadSettings(kind=kind) for kind in KINDS}
    settings.update({f"plain after {context}": HeadSettings(context=context) for context in CONTEXTS})
    found += [
        Row(f"resnet18, heads {name}", _builder(encoder="resnet18", head=head, subnet_heads=head))
        for name, head in settings.items()
    ]
    finer = HeadSettings(channels=64, dilation=1, stages=(1, 2, 4), output_stride=4)
    for kind in network.SUBNETS:
        for name, head in ((kind, {}), (f"{kind}, on a grid of stride 4", {"subnet_heads": finer})):
            built = _builder(encoder="resnet18", subnets=kind, learned_fusion=True, **head)
            found.append(Row(f"resnet18, {name}", built, (*fusion.RULES, fusion.LEARNED)))
    return found


def of_table(recipe) -> list:
    """Subnet 0 alone, and all subnets fused, of a table's recipe."""
    found = []
    for alone in (True, False):
        cell = next(cell for cell in recipe.cells if (cell.subnets == "0") == alone)
        rule = recipe.rule_of(cell)
        name = f"{recipe.name}: {recipe.phase(cell.phase).encoder}, " + (
            "subnet 0" if alone else f"subnets {cell.subnets}, rule {rule}"
        )
        found.append(Row(name, lambda cell=cell: construct(recipe, cell), (rule,)))
    return found


def _builder(**settings) -> Callable:
    return lambda: network.build(num_classes=CLASSES, groups=GROUPS, **settings)


if __name__ == "__main__":
    sys.exit(main())
