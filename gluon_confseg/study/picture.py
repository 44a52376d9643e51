"""The picture of a study: each claim's difference with its seeds and its interval, in mIoU and in confusion."""

from __future__ import annotations

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gluon_confseg.report.pictures import canvas
from gluon_confseg.report.pictures.lettering import Lettering
from gluon_confseg.study import claims

WIDTH = 800 / canvas.DPI  # inches: of 800 pixels
BETTER, WORSE, OPEN = "#0072b2", "#c8500a", canvas.FAINT
# by measure: the title of its column, and the color of a settled rise and of a settled fall
COLUMNS = {
    claims.MEAN_IOU: ("mIoU, points\n(right is better)", BETTER, WORSE),
    claims.INSIDE: ("confusion inside the groups,\npoints (left is better)", WORSE, BETTER),
}


def draw(path, records: dict) -> None:
    """Write a PNG, 800 pixels wide, of label -> record: rows are claims, and in them data sets if there are several.

    The same records give the same bytes.
    """
    labels, rows = list(records), _rows(records)
    lettering = Lettering([], *labels)
    with canvas.figure(path, WIDTH, 1.35 + 0.21 * len(rows), lettering) as figure:
        plots = figure.subplots(1, len(COLUMNS), sharey=True)
        for axes, (measure, (title, rise, fall)) in zip(plots, COLUMNS.items()):
            colors = {claims.RISES: rise, claims.FALLS: fall}
            for place, (_, claim, label) in enumerate(rows):
                if claim is not None:
                    _difference(axes, place, claims.find(records[label], claim, measure), colors)
            axes.axvline(0, color=canvas.INK, linewidth=0.8, zorder=1)
            axes.set_title(title, size=9, weight="normal")
            axes.grid(axis="x", color=canvas.GRID, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines[:].set_visible(False)
        plots[0].set_ylim(len(rows) - 0.4, -0.6)
        plots[0].set_yticks(range(len(rows)), [lettering.text(text) for text, _, _ in rows])
        for (_, claim, _), tick in zip(rows, plots[0].get_yticklabels()):
            tick.set_weight("bold" if claim is None else "normal")
        figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, handlelength=1.4)


def _rows(records: dict) -> list:
    """(text, claim, label) from above; a heading has neither claim nor label."""
    if len(records) == 1:
        (label,) = records
        return [(claim.in_picture, claim, label) for claim in claims.CLAIMS]
    rows = []
    for claim in claims.CLAIMS:
        rows += [(claim.in_picture, None, None), *((label, claim, label) for label in records)]
    return rows


def _difference(axes, place: int, difference: dict | None, colors: dict) -> None:
    if difference is None:
        axes.annotate(
            "not measured", (0, place), (4, 0), textcoords="offset points", va="center", color=OPEN, size=7
        )
        return
    called = claims.verdict(difference)
    color = colors.get(called, OPEN)
    axes.plot([100 * end for end in difference["interval"]], [place, place], color=color, linewidth=5, alpha=0.35,
              solid_capstyle="butt", zorder=2)  # fmt: skip
    seeds = [100 * value for value in difference["seeds"].values()]
    axes.plot(seeds, [place] * len(seeds), "|", color=color, markersize=9, markeredgewidth=1.4, zorder=3)
    face = "white" if called == claims.ONE_SEED else color
    axes.plot(
        100 * difference["mean"], place, "o", color=color, markerfacecolor=face, markersize=5.5, zorder=4
    )


def _legend() -> list:
    dot = {"marker": "o", "linestyle": "", "markersize": 5.5, "color": OPEN}
    stroke = {"marker": "|", "linestyle": "", "markersize": 9, "markeredgewidth": 1.4, "color": OPEN}
    return [
        Patch(color=BETTER, label="settled: better"),
        Patch(color=WORSE, label="settled: worse"),
        Patch(color=OPEN, label="open"),
        Line2D([], [], linewidth=5, alpha=0.35, color=OPEN, label="95 % interval"),
        Line2D([], [], **dot, label="mean of the seeds"),
        Line2D([], [], **dot, markerfacecolor="white", label="one seed alone"),
        Line2D([], [], **stroke, label="each seed"),
    ]
