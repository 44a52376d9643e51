"""The confusion matrix as a picture, Fig. 2, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch, Rectangle

from gluon_confseg.report.pictures import canvas
from gluon_confseg.report.pictures.lettering import Lettering

_RIGHT = LinearSegmentedColormap.from_list("right", ["#ffffff", "#dbe7f3", "#7fa8d1"])
_WRONG = LinearSegmentedColormap.from_list("wrong", ["#ffffff", "#fde3cf", "#f6a26b", "#d9541e", "#8f2a06"])
_CHANGE = LinearSegmentedColormap.from_list(
    "change", ["#b35806", "#f1a340", "#fbe3c4", "#ffffff", "#cfe3f2", "#67a9cf", "#1b5e92"]
)
_SATURATED = 0.30  # a confusion this large is as dark as it gets
_CHANGE_SATURATED = 0.15


def confusion_matrix(
    path,
    normalized: np.ndarray,
    classes: Sequence[str],
    groups: Sequence = (),
    title: str = "",
    *,
    by_group: bool = True,
) -> None:
    """Draw a row-normalised confusion matrix with its whole percents, as Fig. 2; zeros are left out.

    normalized   (K, K) shares, rows truth, columns prediction; a row without pixels is zero and drawn hatched
    groups       sequences of class ids, outlined in their colours
    by_group     classes ordered by group; False keeps the order of `classes`
    """
    normalized = np.asarray(normalized, np.float64)
    size = len(classes)
    order = canvas.grouped_order(size, groups) if by_group else list(range(size))
    shares = normalized[np.ix_(order, order)]
    colors = _WRONG(np.sqrt(np.clip(shares / _SATURATED, 0, 1)))
    colors[np.diag_indices(size)] = _RIGHT(np.diag(shares))
    numbers = [[f"{100 * share:.0f}" if share >= 0.005 else "" for share in row] for row in shares]
    dark = (shares > 0.6 * _SATURATED) & ~np.eye(size, dtype=bool)
    note = "percent of each truth row"
    _draw(path, colors, numbers, dark, classes, groups, order, title, note, shares.sum(1) == 0)


def difference(
    path,
    baseline: np.ndarray,
    new: np.ndarray,
    classes: Sequence[str],
    groups: Sequence = (),
    title: str = "",
    *,
    by_group: bool = True,
) -> None:
    """Draw `new` minus `baseline` (both (K, K), rows normalised) in percentage points, as whole numbers.

    Blue is for the better, orange for the worse: more on the diagonal is better, more beside it is worse.
    """
    baseline, new = np.asarray(baseline, np.float64), np.asarray(new, np.float64)
    size = len(classes)
    order = canvas.grouped_order(size, groups) if by_group else list(range(size))
    change = (new - baseline)[np.ix_(order, order)]
    gain = np.where(np.eye(size, dtype=bool), change, -change)
    strength = np.sign(gain) * np.sqrt(np.clip(np.abs(gain) / _CHANGE_SATURATED, 0, 1))
    colors, dark = _CHANGE(0.5 + 0.5 * strength), np.abs(gain) > 0.6 * _CHANGE_SATURATED
    numbers = [
        [f"{100 * share:+.0f}".replace("-", "\u2212") if abs(share) >= 0.005 else "" for share in row]
        for row in change
    ]
    note = "percentage points, new minus baseline; blue: better, orange: worse"
    _draw(path, colors, numbers, dark, classes, groups, order, title, note, baseline[order].sum(1) == 0)


def _draw(path, colors, numbers, dark, classes, groups, order, title, note, empty) -> None:
    lettering = Lettering(classes, title)
    size, longest, title = len(order), 0.085 * lettering.longest, lettering.text(title)
    # title and note are wider than a few classes
    wide = max(0.42 * size, 0.1 * len(title), 0.068 * len(note))
    with canvas.figure(path, 0.7 + longest + wide, 1.65 + 0.8 * longest + 0.42 * size, lettering) as figure:
        axes = figure.add_subplot(anchor="W")
        axes.imshow(colors, interpolation="nearest")
        edges = np.arange(size + 1) - 0.5
        axes.hlines(edges, -0.5, size - 0.5, colors="#eef1f4", linewidth=0.6)
        axes.vlines(edges, -0.5, size - 0.5, colors="#eef1f4", linewidth=0.6)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
        axes.spines[:].set_visible(False)
        for row, column in np.ndindex(size, size):
            if numbers[row][column]:
                color = "white" if dark[row, column] else canvas.INK
                style = {"color": color, "weight": "bold" if row == column else "normal"}
                axes.text(column, row, numbers[row][column], ha="center", va="center", size=8, **style)
        hatched = {"fill": False, "hatch": "////", "edgecolor": canvas.GRID}
        for row in np.flatnonzero(empty):
            axes.add_patch(Rectangle((-0.5, row - 0.5), size, 1, linewidth=0, **hatched))
        names = [lettering.names[klass] for klass in order]
        axes.set_xticks(range(size), names, rotation=50, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), names)
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            for tick, klass in zip(ticks, order):
                tick.set_color(canvas.group_colors(len(classes), groups)[klass])
        _groups(figure, axes, groups, order, hatched if empty.any() else None)
        axes.set(xlabel="prediction (columns)", ylabel="truth (rows)")
        axes.set_title(f"{title}\n" if title else "", pad=4)
        axes.text(0, 1.004, note, transform=axes.transAxes, size=8.5, color=canvas.FAINT, va="bottom")


def _groups(figure, axes, groups, order, hatched: dict | None) -> None:
    """Outline the cells of each group: one box where its members stand side by side; and the legend."""
    size, entries = len(order), []
    for index, group in enumerate(canvas.members(groups)):
        inside = np.zeros((size + 2, size + 2), bool)
        member = np.isin(order, group)
        inside[1:-1, 1:-1] = member[:, None] & member[None, :]
        color = canvas.GROUPS[index % len(canvas.GROUPS)]
        style = {"colors": color, "linewidth": 2.2, "clip_on": False, "zorder": 3}
        rows, columns = np.nonzero(inside[1:] != inside[:-1])
        axes.hlines(rows - 0.5, columns - 1.5, columns - 0.5, **style)
        rows, columns = np.nonzero(inside[:, 1:] != inside[:, :-1])
        axes.vlines(columns - 0.5, rows - 1.5, rows - 0.5, **style)
        entries.append(Patch(fill=False, edgecolor=color, linewidth=2, label=f"group {index + 1}"))
    if hatched:
        entries.append(Patch(label="class without pixels in the truth", **hatched))
    if entries:
        style = {"ncols": min(len(entries), 6), "frameon": False, "fontsize": 8.5}
        figure.legend(handles=entries, loc="outside lower right", **style)
