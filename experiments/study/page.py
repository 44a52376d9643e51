"""Writes the study's tables and picture into docs/study.md, from the kept results.

Run:   .venv/bin/python -m experiments.study.page
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from gluon_confseg import files
from gluon_confseg.cli import frame
from gluon_confseg.run_folder import read_json

from .. import PROJECT, argument_parser
from ..tools.marked_text import replace_between
from . import results

RESULTS = PROJECT / "experiments" / "results" / "study"
PAGE = PROJECT / "docs" / "study.md"
# result file -> the marks in PAGE that its tables stand between
MARKS = {
    name: (f"<!-- {name}: python -m experiments.study.page -->", f"<!-- end of {name} -->")
    for name in ("camvid", "quick", "drawn")
}
# the cells whose IoU is shown by class
BY_CLASS = ("ce", "confusion_ce", "subnets_ce", "subnets_confusion_ce", "one_confusion_ce")
GAIN, LOSS, OPEN = "#1b7837", "#b2182b", "#666666"


def main(argv: list | None = None) -> int:
    """Read, draw, write, for every study; the exit status."""
    argument_parser("study.page", __doc__).parse_args(argv)
    return frame.run(_run)


def _run() -> None:
    for name in MARKS:
        write(name, read_json(kept(name)))


def kept(name: str) -> Path:
    """The committed results of a study."""
    return RESULTS / f"{name}.json"


def write(name: str, record: dict) -> None:
    """One study's picture and its part of the page."""
    image = PROJECT / "docs" / "images" / f"study_{name}.png"
    files.write_bytes(image, picture(record["differences"]))
    text = results.table(record)
    replace_between(PAGE, MARKS[name], f"{groups(record)}\n\n{text}\n\n{classes(record)}")
    print(f"{name}: {record['data']}\n\n{text}\n")


def groups(record: dict) -> str:
    """Each seed's groups, by class names."""
    names = record["classes"]
    lines = [
        f"- seed {seed}: " + "; ".join("{" + ", ".join(names[k] for k in group) + "}" for group in found)
        for seed, found in record["groups"].items()
    ]
    return "\n".join(["Groups that the base network's training matrix gave:", "", *lines])


def classes(record: dict, cells=BY_CLASS) -> str:
    """IoU by class, mean over the seeds, of some cells."""
    shown = [cell for cell in record["cells"] if cell["key"] in cells]
    lines = [
        "| IoU, % | " + " | ".join(cell["key"] for cell in shown) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for k, name in enumerate(record["classes"]):
        values = [cell["iou"][k] for cell in shown]
        lines.append(
            f"| {name} | " + " | ".join("-" if v is None else f"{100 * v:.1f}" for v in values) + " |"
        )
    return "\n".join(lines)


def picture(differences: list) -> bytes:
    """PNG: each difference with its seeds and its interval; green where all are above 0, red below, grey else.

    Hollow where there is one seed alone: the interval does not hold what another training would change.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.5, 0.32 * len(differences) + 1.1), layout="constrained")
    for row, d in enumerate(reversed(differences)):
        low, high = (100 * v for v in d["interval"])
        each = [100 * v for v in d["seeds"].values()]
        least, most = min(low, *each), max(high, *each)
        colour = GAIN if least > 0 else LOSS if most < 0 else OPEN
        axes.plot([low, high], [row, row], color=colour, linewidth=2)
        axes.plot(
            [100 * v for v in d["seeds"].values()], [row] * len(d["seeds"]), "|", color=colour, markersize=9
        )
        filled = colour if len(d["seeds"]) > 1 else "white"
        axes.plot(100 * d["mean"], row, "o", color=colour, markerfacecolor=filled, markersize=6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(
        range(len(differences)), [f"{d['cell']} - {d['reference']}" for d in reversed(differences)]
    )
    axes.set_xlabel(
        "difference in val mIoU, points\nmean (hollow: of one seed), seeds (strokes), 95 % over images (bars)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    pyplot.close(figure)
    return content.getvalue()


if __name__ == "__main__":
    sys.exit(main())
