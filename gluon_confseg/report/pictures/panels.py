"""Crops of images beside their truth and every cell's answer: Fig. 8."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Patch

from gluon_confseg.report.pictures import canvas
from gluon_confseg.report.pictures.lettering import Lettering

IGNORED = 255
CELL = 2.35  # inches across
_IGNORED_COLORS = ((28, 28, 28), (78, 78, 78))  # dark diagonal stripes: no class has them


def panels(
    path,
    rows: Sequence[dict],
    cells: Sequence[str],
    classes: Sequence[str],
    colors: Sequence,
    title: str = "",
) -> None:
    """Draw one row for each crop: image, truth, and each cell with the share of labelled pixels it gets wrong.

    rows     dicts {"name", "why", "image": (H, W, 3) uint8 RGB, "truth": (H, W) train ids,
             "predictions": [(H, W), ...]}
    cells     names of the predictions, in their order
    colors   (K, 3) uint8 RGB of the classes
    """
    texts = [row[part] for row in rows for part in ("why", "name")]
    lettering = Lettering(classes, title, *cells, *texts)
    columns = 2 + len(cells)
    heights = [CELL * row["truth"].shape[0] / row["truth"].shape[1] + 0.58 for row in rows]
    heights[0] += 0.24  # the heads of the columns
    width, height = CELL * columns + 0.5, sum(heights) + (0.35 if title else 0.0)
    with canvas.figure(path, width, height, lettering, photographs=True) as figure:
        if title:
            figure.suptitle(lettering.text(title), x=0.01, ha="left", weight="bold", size=11)
        strips = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
        for place, (strip, row) in enumerate(zip(strips, rows)):
            heads = ["image", "truth", *map(lettering.text, cells)] if place == 0 else None
            _row(strip, row, heads, lettering, colors)


def colorize(train_ids: np.ndarray, colors: Sequence) -> np.ndarray:
    """(H, W) train ids -> (H, W, 3) uint8 RGB; ignored pixels are dark and striped."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    painted = table[train_ids]
    rows, columns = np.nonzero(train_ids >= len(colors))
    stripe = ((rows + columns) // 4) % 2
    painted[rows, columns] = np.array(_IGNORED_COLORS, np.uint8)[stripe]
    return painted


def _row(figure, row: dict, heads: list | None, lettering: Lettering, colors) -> None:
    truth = row["truth"]
    plots = figure.subplots(1, 2 + len(row["predictions"]))
    plots[0].imshow(row["image"])
    for axes, ids in zip(plots[1:], [truth, *row["predictions"]]):
        axes.imshow(colorize(ids, colors), interpolation="nearest")
    for axes in plots:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    for axes, head in zip(plots, heads or []):
        axes.set_title(head, size=9.5)
    room = max(int(15 * CELL * truth.shape[0] / truth.shape[1]), 10)  # characters beside the row
    plots[0].set_ylabel("\n".join(textwrap.wrap(lettering.text(row["why"]), room)), size=8)
    plots[0].set_xlabel(lettering.text(row["name"]), size=6.5, color=canvas.FAINT)
    labelled = truth != IGNORED
    for axes, ids in zip(plots[2:], row["predictions"]):
        wrong = ids[labelled] != truth[labelled]
        label = f"{100 * np.mean(wrong):.1f} % wrong" if wrong.size else "no labelled pixel"
        axes.set_xlabel(label, size=8.5)

    shown = np.unique(np.concatenate([array.ravel() for array in (truth, *row["predictions"])]))
    entries = [
        Patch(color=np.asarray(colors[klass]) / 255, label=lettering.names[klass])
        for klass in shown
        if klass < len(lettering.names)
    ]
    if shown[-1] >= len(lettering.names):
        face, edge = np.asarray(_IGNORED_COLORS) / 255
        entries.append(Patch(facecolor=face, edgecolor=edge, hatch="////", linewidth=0, label="not labelled"))
    style = {"ncols": 12, "frameon": False, "fontsize": 8, "handlelength": 1.1, "borderpad": 0}
    figure.legend(handles=entries, loc="outside lower left", **style)
