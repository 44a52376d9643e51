"""IoU of each class, baseline against every cell, and what each gained: Fig. 5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gluon_confseg.report.pictures import canvas
from gluon_confseg.report.pictures.lettering import Lettering


def class_iou(
    path,
    iou: Sequence,
    cells: Sequence[str],
    classes: Sequence[str],
    groups: Sequence = (),
    title: str = "",
    *,
    by_group: bool = True,
) -> None:
    """Draw bars of each class's IoU in every cell above, and its gain over the first cell below.

    iou      (A, K) fractions, the baseline first; None or NaN for a class that occurs nowhere
    cells     A names
    groups   sequences of class ids: shaded in their colours, classes side by side where `by_group`
    """
    values = [[np.nan if value is None else value for value in row] for row in iou]
    order = canvas.grouped_order(len(classes), groups) if by_group else list(range(len(classes)))
    values = 100 * np.array(values, np.float64)[:, order]
    lettering = Lettering(classes, *cells, title)
    names, cells = [lettering.names[klass] for klass in order], list(map(lettering.text, cells))
    colors = [canvas.group_colors(len(classes), groups)[klass] for klass in order]
    with canvas.figure(path, 3.2 + 0.56 * len(classes), 6.6, lettering) as figure:
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1.5, 1)})
        _bars(above, values, cells, 0, colors)
        above.set(ylabel="IoU, %", ylim=(0, 100), title=lettering.text(title))
        for place in np.flatnonzero(np.isnan(values).all(0)):
            style = {"rotation": 90, "ha": "center", "va": "bottom", "color": canvas.FAINT, "size": 8}
            above.text(place, 2, "in no image", **style)
        _bars(below, values - values[0], cells, 1, colors)
        below.axhline(0, color=canvas.INK, linewidth=0.8)
        below.set_ylabel(f"gain over\n{cells[0]}, points")
        below.set_xticks(range(len(order)), names, rotation=40, ha="right", rotation_mode="anchor")
        for tick, color in zip(below.get_xticklabels(), colors):
            tick.set_color(color)
        columns = len(cells) if len(classes) > 8 else 2
        handles = above.get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper right", ncols=columns, frameon=False)


def _bars(axes, values: np.ndarray, cells: Sequence[str], first: int, colors: list) -> None:
    """One bar per cell from `first` on, side by side at each class, which is shaded in its group's color."""
    shown = range(first, len(cells))
    width = 0.8 / max(len(shown), 1)
    for place, cell in enumerate(shown):
        x = np.arange(values.shape[1]) + (place - (len(shown) - 1) / 2) * width
        style = {"color": canvas.CELLS[cell % len(canvas.CELLS)], "label": cells[cell], "zorder": 2}
        axes.bar(x, np.nan_to_num(values[cell]), width * 0.94, **style)
    for place, color in enumerate(colors):
        if color != canvas.NO_GROUP:
            axes.axvspan(place - 0.5, place + 0.5, color=color, alpha=0.09, linewidth=0, zorder=-1)
    axes.set_xlim(-0.6, len(colors) - 0.4)
    axes.grid(axis="y", color=canvas.GRID, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
