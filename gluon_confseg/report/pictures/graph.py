"""Groups of confused classes as a graph: who is mistaken for whom, how much, and what stays outside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from gluon_confseg.report.pictures import canvas
from gluon_confseg.report.pictures.lettering import Lettering

_LEAST_INSIDE, _LEAST_ACROSS = 0.01, 0.03  # weaker edges are not drawn
_MOST_ACROSS = 20  # nor, of those across groups, more than the strongest of these
_NUMBERED = 0.04  # edges from this share on carry their number where both classes stand in one circle
_POINTS = 55.0  # line width of a share of 1, in points
_NARROWEST = 6.5  # inches: the legend's title
_WIDEST = 0.3  # lines grow no wider from this share on


def groups(path, normalized: np.ndarray, classes: Sequence[str], groups: Sequence, title: str = "") -> None:
    """Draw classes as dots, groups as circles of them, confusions S = A + A^T as lines, wider where stronger.

    normalized   (K, K) shares, rows truth, columns prediction
    groups       sequences of class ids; classes in none stand together in grey
    """
    lettering, shares = Lettering(classes, title), np.asarray(normalized, np.float64)
    strength = shares + shares.T
    clusters = canvas.members(groups)
    rest = [klass for klass in range(len(classes)) if not any(klass in cluster for cluster in clusters)]
    places, disks = _layout([*clusters, rest] if rest else clusters)
    disk = np.array(disks)
    low = (disk[:, :2] - disk[:, 2:]).min(0) - (2.0, 0.9)
    high = (disk[:, :2] + disk[:, 2:]).max(0) + (2.0, 0.9)
    width, height = 0.56 * (high - low)
    width = max(width, _NARROWEST)
    with canvas.figure(path, width, height + 0.8, lettering) as figure:
        axes = figure.add_subplot()
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", title=lettering.text(title))
        axes.set_axis_off()
        for index, (x, y, radius) in enumerate(disks):
            grouped = index < len(clusters)
            color = canvas.GROUPS[index % len(canvas.GROUPS)] if grouped else canvas.NO_GROUP
            axes.add_patch(Circle((x, y), radius + 0.35, color=color, alpha=0.08, linewidth=0, zorder=0))
            name = f"group {index + 1}" if grouped else "in no group"
            axes.text(x, y - radius - 0.62, name, ha="center", va="top", color=color, size=9, weight="bold")
        least = _edges(axes, strength, places, clusters)
        _nodes(axes, lettering.names, places, disks, canvas.group_colors(len(classes), groups))
        _legend(figure, least)


def _layout(clusters: list) -> tuple:
    """Clusters on a large circle, members on a small one: class -> (x, y), cluster -> (x, y, radius)."""
    radii = [min(0.55 + 0.36 * len(cluster), 4.0) if len(cluster) > 1 else 0.5 for cluster in clusters]
    count = len(clusters)
    ring = 0.0
    if count > 1:
        pairs = [radii[i] + radii[(i + 1) % count] for i in range(count)]
        ring = (max(pairs) + 2.3) / (2 * math.sin(math.pi / count))
    places, disks = {}, []
    for index, (cluster, radius) in enumerate(zip(clusters, radii)):
        angle = math.pi * (1 - 1 / max(count, 2)) - 2 * math.pi * index / count
        x, y = 1.25 * ring * math.cos(angle), ring * math.sin(angle)
        disks.append((x, y, radius))
        for turn, klass in enumerate(cluster):
            around = math.pi / 2 - 2 * math.pi * (turn + 0.5) / len(cluster)
            reach = radius if len(cluster) > 1 else 0.0
            places.setdefault(klass, (x + reach * math.cos(around), y + reach * math.sin(around)))
    return places, disks


def _edges(axes, strength: np.ndarray, places: dict, clusters: list) -> float:
    """Draw the edges, weakest first; returns the share below which those across groups are left out."""
    inside = np.full(strength.shape, -1)  # index of the group that holds both classes
    for index, cluster in reversed(list(enumerate(clusters))):
        inside[np.ix_(cluster, cluster)] = index
    i, j = np.tril_indices(len(strength), -1)
    shares, group = strength[i, j], inside[i, j]
    across = np.sort(shares[group < 0])[::-1]
    least = max(_LEAST_ACROSS, across[_MOST_ACROSS] if len(across) > _MOST_ACROSS else 0.0)
    for edge in np.argsort(shares, kind="stable"):
        share, grouped = float(shares[edge]), group[edge] >= 0
        if share < (_LEAST_INSIDE if grouped else least):
            continue
        ends = np.array([places[i[edge]], places[j[edge]]])
        color = canvas.GROUPS[group[edge] % len(canvas.GROUPS)] if grouped else "#8c959f"
        alpha, layer = (0.75, 2) if grouped else (0.4, 1)
        width = max(_POINTS * min(share, _WIDEST), 0.6)
        axes.plot(*ends.T, color=color, alpha=alpha, linewidth=width, solid_capstyle="round", zorder=layer)
        if share >= _NUMBERED and inside[i[edge], i[edge]] == inside[j[edge], j[edge]]:
            box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
            middle = 0.6 * ends[0] + 0.4 * ends[1]  # not the middle, where diagonals cross
            style = {"ha": "center", "va": "center", "size": 7.5, "color": color, "bbox": box, "zorder": 5}
            axes.text(*middle, f"{100 * share:.0f}", **style)
    return least


def _nodes(axes, names, places: dict, disks: list, colors: list) -> None:
    for klass, (x, y) in places.items():
        cx, cy, _ = min(disks, key=lambda disk: abs(math.hypot(x - disk[0], y - disk[1]) - disk[2]))
        dx, dy = x - cx, y - cy
        if math.hypot(dx, dy) < 1e-6:  # alone in its circle
            dx, dy = 0.0, 1.0
        length = math.hypot(dx, dy) or 1.0
        side = "center" if abs(dx) < 0.2 * length else "left" if dx > 0 else "right"
        color, name = colors[klass], names[klass]
        axes.plot([x], [y], marker="o", markersize=8, color=color, markeredgecolor="white", zorder=4)
        x, y = x + 0.3 * dx / length, y + 0.3 * dy / length
        axes.text(x, y, name, ha=side, va="center", size=9, color=color, zorder=6)


def _legend(figure, least: float) -> None:
    widths = {"2 %": 0.02, "5 %": 0.05, "10 %": 0.1, f"{100 * _WIDEST:.0f} % or more": _WIDEST}
    style = {"color": "#57606a", "solid_capstyle": "butt"}
    lines = [Line2D([], [], linewidth=_POINTS * widths[name], label=name, **style) for name in widths]
    title = "share of class A taken for B plus share of B taken for A"
    note = f"grey: across groups, from {100 * least:.0f} % on"
    figure.legend(
        handles=lines,
        title=f"{title}; {note}",
        title_fontsize=8.5,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8.5,
        handlelength=2.6,
        columnspacing=2.5,
        handletextpad=1.4,
        labelspacing=1.1,
    )
