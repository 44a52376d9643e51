"""IoU of each class, baseline against every cell, and what each gained: Fig. 5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gluon_confseg.report.pictures import canvas


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
    values = 100 * np.array(
        [[np.nan if value is None else value for value in row] for row in iou], np.float64
    )
    order = canvas.grouped_order(len(classes), groups) if by_group else list(range(len(classes)))
    values = values[:, order]
    with canvas.figure(path, 3.2 + 0.56 * len(classes), 6.6) as figure:
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1.5, 1)})
        _bars(above, values, cells, first=0)
        above.set(ylabel="IoU, %", ylim=(0, 100))
        _absent(above, values)
        _bars(below, values - values[0], cells, first=1)
        below.axhline(0, color=canvas.INK, linewidth=0.8)
        below.set_ylabel(f"gain over\n{cells[0]}, points")
        for axes in (above, below):
            _shade(axes, groups, order)
        _names(below, classes, groups, order)
        above.set_title(title)
        figure.legend(
            *above.get_legend_handles_labels(),
            loc="outside upper right",
            ncols=len(cells) if len(classes) > 8 else 2,
            frameon=False,
        )


def _bars(axes, values: np.ndarray, cells: Sequence[str], first: int) -> None:
    """One bar per cell from `first` on, side by side at each class."""
    shown = range(first, len(cells))
    width = 0.8 / max(len(shown), 1)
    for place, cell in enumerate(shown):
        x = np.arange(values.shape[1]) + (place - (len(shown) - 1) / 2) * width
        axes.bar(
            x,
            np.nan_to_num(values[cell]),
            width * 0.94,
            color=canvas.CELLS[cell % len(canvas.CELLS)],
            label=cells[cell],
            zorder=2,
        )
    axes.grid(axis="y", color=canvas.GRID, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _absent(axes, values: np.ndarray) -> None:
    for place in np.flatnonzero(np.isnan(values).all(0)):
        axes.text(place, 2, "in no image", rotation=90, ha="center", va="bottom", color=canvas.FAINT, size=8)


def _shade(axes, groups, order) -> None:
    colors = canvas.group_colors(len(order), groups)
    for place, klass in enumerate(order):
        if colors[klass] != canvas.NO_GROUP:
            axes.axvspan(place - 0.5, place + 0.5, color=colors[klass], alpha=0.09, linewidth=0, zorder=-1)
    axes.set_xlim(-0.6, len(order) - 0.4)


def _names(axes, classes, groups, order) -> None:
    names = [classes[klass].replace("$", r"\$") for klass in order]
    axes.set_xticks(range(len(order)), names, rotation=40, ha="right", rotation_mode="anchor")
    for tick, color in zip(
        axes.get_xticklabels(), np.array(canvas.group_colors(len(classes), groups))[order]
    ):
        tick.set_color(str(color))
