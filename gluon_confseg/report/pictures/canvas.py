"""What all pictures share: one figure per file without global state, the colours, and an atomic, repeatable PNG."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gluon_confseg.files import write_bytes

INK, FAINT, GRID = "#1f2328", "#6e7781", "#d8dee4"
# told apart by colour-blind readers too (after Okabe and Ito); a class in no group is NO_GROUP
GROUPS = ("#0072b2", "#c8500a", "#00805f", "#a6407c", "#8a6d00", "#3f4fa8", "#7a4a20", "#4d7a99")
NO_GROUP = "#6e7781"
ARMS = ("#9aa4ae", "#56b4e9", "#e69f00", "#0b4f8a", "#009e73", "#cc79a7")

_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
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
def figure(path, width: float, height: float, dpi: int = 110) -> Iterator[Figure]:
    """A figure of `width` x `height` inches that is written to `path` when the block ends."""
    # a reader's own matplotlibrc must not change the picture
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "agg", **_STYLE}):
        drawn = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn
        png = io.BytesIO()
        drawn.savefig(png, format="png", metadata={"Software": None})
    write_bytes(path, png.getvalue())


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
