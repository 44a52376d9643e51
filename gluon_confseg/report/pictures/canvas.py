"""What all pictures share: one figure per file without global state, colours, atomic and repeatable PNGs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gluon_confseg.files import write_bytes
from gluon_confseg.report.pictures.lettering import NOTE, Lettering

DPI = 110
INK, FAINT, GRID = "#1f2328", "#6e7781", "#d8dee4"
# told apart by colour-blind readers too (after Okabe and Ito); a class in no group is NO_GROUP
GROUPS = ("#0072b2", "#c8500a", "#00805f", "#a6407c", "#8a6d00", "#3f4fa8", "#7a4a20", "#4d7a99")
NO_GROUP = "#6e7781"
CELLS = ("#9aa4ae", "#56b4e9", "#e69f00", "#0b4f8a", "#009e73", "#cc79a7")

_STYLE = {
    "font.size": 9,
    "text.parse_math": False,  # a $ in a name is a $
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": "white",
    "hatch.linewidth": 0.6,
}


@contextlib.contextmanager
def figure(
    path, width: float, height: float, lettering: Lettering, *, photographs: bool = False
) -> Iterator[Figure]:
    """A figure of `width` x `height` inches that is written to `path` when the block ends.

    lettering       gives the fonts; where it numbers classes, a note is set below
    photographs     False: it is stored in 256 colours, a third of the bytes, and no eye sees it
    """
    # a reader's own matplotlibrc must not change the picture
    style = {**matplotlib.rcParamsDefault, "backend": "agg", **_STYLE, "font.family": lettering.fonts}
    with matplotlib.rc_context(style):
        drawn = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        yield drawn
        parts = [_pixels(drawn)]
        if lettering.numbered:
            below = Figure(figsize=(width, 0.25), dpi=DPI)
            below.text(0.08 / width, 0.5, NOTE, va="center", size=7)
            parts.append(_pixels(below))
    picture, png = Image.fromarray(np.concatenate(parts)), io.BytesIO()
    (picture if photographs else picture.quantize(256)).save(png, format="png", optimize=True)
    write_bytes(path, png.getvalue())


def _pixels(drawn: Figure) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    agg = FigureCanvasAgg(drawn)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].copy()


def members(groups: Sequence) -> list:
    """Groups of any kind (lists, ConfusingGroup) as lists of ints."""
    return [[int(klass) for klass in group] for group in groups]


def group_colors(num_classes: int, groups: Sequence) -> list:
    """The colour of each class: that of its first group."""
    colors = [NO_GROUP] * num_classes
    for index, group in reversed(list(enumerate(members(groups)))):
        for klass in group:
            colors[klass] = GROUPS[index % len(GROUPS)]
    return colors


def grouped_order(num_classes: int, groups: Sequence) -> list:
    """Class ids with the members of each group side by side, those in no group last."""
    order = list(dict.fromkeys(klass for group in members(groups) for klass in group))
    return order + [klass for klass in range(num_classes) if klass not in order]
