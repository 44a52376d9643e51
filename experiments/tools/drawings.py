"""Draws the pictures that explain the method: docs/images/*.svg, each for light and for dark pages.

Run:   .venv/bin/python -m experiments.tools.drawings
Cost:  some seconds
Gives: `method` (the whole), `groups` (Section 3.1), `loss` (Section 3.2) and `fusion` (Section 3.3) as NAME.svg and
       NAME-dark.svg. Their example, a matrix of ten classes, is made up; what follows from it is computed by the
       package.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib
import mxnet as mx
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from gluon_confseg import files, fusion, groups, losses
from gluon_confseg.cli import frame

from .. import PROJECT, argument_parser

FOLDER = PROJECT / "docs" / "images"
CLASSES = ("sky", "road", "building", "wall", "fence", "car", "truck", "bus", "person", "rider")
# made up: per mille of a true class (row) taken for another, in the order of CLASSES
CONFUSIONS = {
    ("building", "wall"): 60, ("wall", "building"): 310, ("wall", "fence"): 140, ("fence", "wall"): 160,
    ("fence", "building"): 190, ("building", "fence"): 30, ("car", "truck"): 40, ("truck", "car"): 260,
    ("truck", "bus"): 170, ("bus", "truck"): 240, ("bus", "car"): 110, ("person", "rider"): 90,
    ("rider", "person"): 340, ("road", "car"): 12, ("car", "road"): 20, ("person", "building"): 45,
    ("rider", "car"): 30, ("sky", "building"): 15, ("building", "sky"): 14, ("fence", "person"): 20,
    ("wall", "road"): 25, ("bus", "building"): 28,
}  # fmt: skip
LABELLED_BELOW = (
    "wall",
    "bus",
    "road",
    "fence",
    "truck",
    "rider",
    "person",
)  # in the graph, where lines come from above
MENDED = 0.45  # made up: what is left of a confusion inside a group, in the last matrix of `method`


class Theme(NamedTuple):
    """Colours of a drawing: its paper (None: none), lines and text, faint parts, and one for each group."""

    paper: str | None
    ink: str
    faint: str
    fill: str
    heat: tuple
    groups: tuple
    wrong: str


LIGHT = Theme("#ffffff", "#24292f", "#8a939c", "#f2f4f7", ("#ffffff", "#b3261e"), ("#b35900", "#0b66c2", "#1a7f37"),
              "#b3261e")  # fmt: skip
DARK = Theme(None, "#e6edf3", "#848d97", "#21262d", ("#161b22", "#ff7b72"), ("#ffa657", "#6cb6ff", "#56d364"),
             "#ff7b72")  # fmt: skip
THEMES = {"": LIGHT, "-dark": DARK}


def main(argv: list | None = None) -> int:
    """Draw all; the exit status."""
    argument_parser("tools.drawings", __doc__).parse_args(argv)
    return frame.run(lambda: print("\n".join(map(str, write(FOLDER)))))


def write(folder: Path) -> list:
    """Write every drawing in both themes; returns the files."""
    written = []
    for name, draw in DRAWINGS.items():
        for ending, theme in THEMES.items():
            written.append(folder / f"{name}{ending}.svg")
            files.write_bytes(written[-1], svg(draw, theme))
    return written


def svg(draw, theme: Theme) -> bytes:
    """A drawing as SVG, the same bytes each time."""
    with matplotlib.rc_context({"svg.hashsalt": "gluon-confseg", "svg.fonttype": "path", "font.size": 12}):
        sheet = Sheet(*draw.size, theme)
        draw(sheet)
        content = io.BytesIO()
        FigureCanvasSVG(sheet.figure).print_svg(content, metadata={"Date": None, "Creator": None})
    return content.getvalue()


def matrix() -> np.ndarray:
    """(10, 10) shares of the example; rows sum to 1."""
    shares = np.zeros((len(CLASSES),) * 2)
    for (truth, taken), per_mille in CONFUSIONS.items():
        shares[CLASSES.index(truth), CLASSES.index(taken)] = per_mille / 1000
    return shares + np.diag(1 - shares.sum(1))


def found_groups() -> list:
    """The groups that the package finds in the example, by their first class."""
    return sorted((group.classes for group in groups.discover(matrix())), key=lambda group: group[0])


class Sheet:
    """A drawing's surface, in points from the upper left corner, with what drawings are made of."""

    def __init__(self, width: float, height: float, theme: Theme):
        self.theme, self.size = theme, (width, height)
        self.figure = Figure(figsize=(width / 72, height / 72), facecolor=theme.paper or "none")
        self.axes = self.figure.add_axes([0, 0, 1, 1])
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.axis("off")

    def text(
        self, x, y, words, size=12.0, color=None, ha="left", va="center", weight="normal", rotation=0
    ) -> None:
        """Words at a place."""
        self.axes.text(x, y, words, size=size, color=color or self.theme.ink, ha=ha, va=va, weight=weight,
                       rotation=rotation, linespacing=1.25)  # fmt: skip

    def heading(self, x, y, number, words) -> None:
        """A numbered heading."""
        if number:
            self.axes.add_patch(Circle((x + 10, y), 10, color=self.theme.ink))
            self.text(x + 10, y, str(number), 12, self.theme.paper or "#0d1117", ha="center", weight="bold")
        self.text(x + (28 if number else 0), y, words, 13, weight="bold")

    def box(self, x, y, width, height, words="", color=None, fill=None, size=12.0, dashed=False) -> None:
        """A box with words in its middle."""
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y),
                width,
                height,
                "round,pad=0,rounding_size=6",
                linewidth=1.6,
                linestyle="--" if dashed else "-",
                edgecolor=color or self.theme.ink,
                facecolor=fill or self.theme.fill,
            )  # fmt: skip
        )
        self.text(x + width / 2, y + height / 2, words, size, color, ha="center")

    def bar(self, x, y, length, color, height=18) -> None:
        """A bar from a line to the right, or with a length below 0 to the left."""
        self.axes.add_patch(
            Rectangle((min(x, x + length), y - height / 2), abs(length), height, facecolor=color)
        )

    def arrow(self, start, end, color=None) -> None:
        """An arrow from one place to another."""
        self.axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=14,
                linewidth=1.6,
                color=color or self.theme.ink,
                shrinkA=0,
                shrinkB=0,
            )  # fmt: skip
        )

    def heat(self, x, y, cell, shares, outlined, names=True) -> None:
        """A confusion matrix, its diagonal left grey, with groups outlined in their colours."""
        low, high = (np.array(matplotlib.colors.to_rgb(color)) for color in self.theme.heat)
        for (i, j), share in np.ndenumerate(shares):
            color = self.theme.faint if i == j else tuple(low + (high - low) * min(1, share / 0.34) ** 0.6)
            alpha = 0.45 if i == j else 1
            self.axes.add_patch(Rectangle((x + j * cell, y + i * cell), cell, cell, facecolor=color, alpha=alpha,
                                          edgecolor=self.theme.fill, linewidth=0.8))  # fmt: skip
        colors = self.color_of_class(outlined)
        for number, group in enumerate(outlined):
            first, last = min(group), max(group) + 1
            self.axes.add_patch(
                Rectangle(
                    (x + first * cell, y + first * cell),
                    (last - first) * cell,
                    (last - first) * cell,
                    fill=False,
                    edgecolor=self.theme.groups[number],
                    linewidth=2.6,
                )  # fmt: skip
            )
        for k, name in enumerate(CLASSES if names else ()):
            self.text(x - 5, y + (k + 0.5) * cell, name, 10.5, colors[k], ha="right")
        side = cell * len(shares)
        self.axes.add_patch(
            Rectangle((x, y), side, side, fill=False, edgecolor=self.theme.faint, linewidth=1)
        )

    def color_of_class(self, outlined) -> list:
        """The colour of each class's name: its group's, or that of text."""
        colors = [self.theme.ink] * len(CLASSES)
        for number, group in enumerate(outlined):
            for k in group:
                colors[k] = self.theme.groups[number]
        return colors

    def graph(self, places, shares, outlined, threshold=0.0) -> None:
        """Classes as nodes, confusions above a threshold as lines between them."""
        symmetric, colors = shares + shares.T, self.color_of_class(outlined)
        for i in range(len(CLASSES)):
            for j in range(i):
                weight = symmetric[i, j] - threshold
                if weight > 0.004:
                    same = any(i in group and j in group for group in outlined)
                    color, wide = colors[i] if same else self.theme.faint, 0.8 + 11 * weight
                    self.axes.plot(
                        *zip(places[i], places[j]), linewidth=wide, color=color, alpha=0.65, zorder=1
                    )
        for k, name in enumerate(CLASSES):
            self.axes.add_patch(
                Circle(places[k], 6, facecolor=self.theme.fill, edgecolor=colors[k], linewidth=2, zorder=2)
            )
            self.text(
                places[k][0],
                places[k][1] + (15 if name in LABELLED_BELOW else -14),
                name,
                10.5,
                colors[k],
                ha="center",
            )


def sized(width: float, height: float):
    """Give a drawing its size in points."""

    def give(draw):
        draw.size = (width, height)
        return draw

    return give


PLACES = (
    (150, 22), (150, 180), (25, 60), (15, 135), (80, 105), (215, 60), (280, 105), (220, 145), (105, 235), (195, 235),
)  # fmt: skip


def moved(dx: float, dy: float, scale: float = 1.0) -> list:
    """The places of a graph's classes, elsewhere."""
    return [(dx + scale * x, dy + scale * y) for x, y in PLACES]


@sized(660, 752)
def method(sheet: Sheet) -> None:
    """Matrix, groups, heads, matrix again."""
    shares, found, theme = matrix(), found_groups(), sheet.theme
    sheet.heading(14, 22, 1, "What the network confuses")
    sheet.text(14, 46, "true class", 10.5, theme.faint)
    sheet.heat(82, 56, 21, shares, [])
    sheet.text(187, 280, "predicted as", 10.5, theme.faint, ha="center")
    sheet.arrow((302, 160), (340, 160))
    sheet.heading(352, 22, 2, "Groups of look-alike classes")
    sheet.graph(moved(354, 50), shares, found, groups.automatic_threshold(shares))
    sheet.heading(14, 330, 3, "A head (subnet) for each group, on the frozen encoder")
    heads = [("subnet 0: all classes", theme.ink)]
    heads += [
        (f"subnet {m}: others, {', '.join(CLASSES[k] for k in group)}", theme.groups[m - 1])
        for m, group in enumerate(found, 1)
    ]
    sheet.box(14, 425, 60, 60, "image")
    sheet.arrow((76, 455), (92, 455))
    sheet.box(94, 410, 84, 90, "encoder\n(frozen)")
    for number, (words, color) in enumerate(heads):
        y = 357 + 52 * number
        sheet.arrow((180, 455), (206, y + 18), color)
        sheet.box(208, y, 250, 36, words, color, size=11)
        sheet.arrow((460, y + 18), (496, 455), color)
    sheet.box(498, 410, 66, 90, "fusion")
    sheet.arrow((566, 455), (584, 455))
    sheet.box(586, 425, 66, 60, "classes")
    sheet.heading(14, 590, 4, "The matrix again")
    sheet.text(
        42,
        656,
        "The network is also trained by a loss that\npenalises each wrong class, the more the\n"
        "more often the true class is taken for it.\nThe aim: less confusion inside the groups.",
    )
    sheet.heat(498, 588, 15, mended(shares, found), found, names=False)
    sheet.arrow((420, 660), (484, 660))


def mended(shares: np.ndarray, found: list) -> np.ndarray:
    """The example with less confusion inside the groups."""
    after = shares.copy()
    for group in found:
        block = np.ix_(group, group)
        after[block] = shares[block] * np.where(np.eye(len(group)), 1, MENDED)
    return after + np.diag(1 - after.sum(1))


@sized(660, 300)
def find_groups(sheet: Sheet) -> None:
    """From the matrix to the groups: Section 3.1."""
    shares, found, theme = matrix(), found_groups(), sheet.theme
    threshold = groups.automatic_threshold(shares)
    sheet.heading(10, 20, 0, "Confusion matrix")
    sheet.heat(72, 56, 13, shares, [])
    sheet.text(10, 222, "Rows are true classes,\ncolumns predictions.", 10.5, theme.faint)
    sheet.heading(238, 20, 0, "Confusion of each pair")
    sheet.graph(moved(236, 62, 0.62), shares, [])
    sheet.text(238, 254, "The share of A taken for B, plus\nthe share of B taken for A.", 10.5, theme.faint)
    sheet.heading(456, 20, 0, "Groups")
    sheet.graph(moved(458, 62, 0.62), shares, found, threshold)
    sheet.text(
        456,
        254,
        f"What is left when the mean of all\npairs, {100 * threshold:.1f} %, is subtracted.",
        10.5,
        theme.faint,
    )
    sheet.arrow((212, 120), (236, 120))
    sheet.arrow((430, 120), (454, 120))


TRUTH, SEEN = (
    "wall",
    {"building": 1.6, "wall": 1.2, "fence": 0.4, "sky": 0.4},
)  # a pixel's logits; all others are -1.5
PENALTY = 5.0


def pushes(weights: np.ndarray, penalty: float) -> tuple:
    """(probabilities, by how much a step raises each logit) of one pixel of class TRUTH, by the package's own loss."""
    logits = mx.nd.full((1, len(CLASSES), 1, 1), -1.5)
    for name, value in SEEN.items():
        logits[0, CLASSES.index(name)] = value
    logits.attach_grad()
    with mx.autograd.record():
        loss = losses.ConfusionCELoss(weights, penalty)(logits, mx.nd.full((1, 1, 1), CLASSES.index(TRUTH)))
    loss.backward()
    return mx.nd.softmax(logits, axis=1).asnumpy().ravel(), -logits.grad.asnumpy().ravel()


@sized(660, 240)
def penalise(sheet: Sheet) -> None:
    """What the loss does to one pixel, and the penalty of one wrong class: Section 3.2."""
    theme, shares = sheet.theme, matrix()
    weights = losses.confusion_weights(shares)
    probabilities, plain = pushes(weights, 0.0)
    _, improved = pushes(weights, PENALTY)
    sheet.heading(10, 20, 0, f"One pixel whose true class is {TRUTH}")
    heads = (("probability", 130), ("cross-entropy", 250), ("with the penalty", 360))
    for words, x in heads:
        sheet.text(x, 48, words, 11, theme.faint, ha="center")
    for row, name in enumerate(SEEN):
        k, y = CLASSES.index(name), 72 + 40 * row
        sheet.text(82, y, name, 12, ha="right", weight="bold" if name == TRUTH else "normal")
        sheet.bar(95, y, 80 * probabilities[k], theme.faint)
        sheet.text(95 + 80 * probabilities[k] + 5, y, f"{100 * probabilities[k]:.0f} %", 10.5)
        for x, push in ((250, plain[k]), (360, improved[k])):
            sheet.bar(x, y, 38 * push, theme.groups[2] if push > 0 else theme.wrong)
            sheet.axes.plot([x, x], [y - 13, y + 13], color=theme.faint, linewidth=1)
    sheet.heading(448, 20, 0, "The penalty of one class")
    left, top, width, height = 470, 50, 170, 150
    q = np.linspace(0, 0.97, 120)
    pairs = (("building", theme.groups[0]), ("fence", theme.groups[1]), ("road", theme.groups[2]))
    for number, (name, color) in enumerate(pairs):
        weight = weights[CLASSES.index(TRUTH), CLASSES.index(name)]
        penalty = -PENALTY * weight * np.log1p(-q)
        sheet.axes.plot(
            left + width * q, top + height * (1 - np.minimum(penalty, 4) / 4), color=color, linewidth=2.2
        )
        sheet.text(left + 8, top + 12 + 17 * number, f"{name}: c = {weight:.3g}", 11, color)
    sheet.axes.plot(
        [left, left, left + width], [top, top + height, top + height], color=theme.faint, linewidth=1
    )
    sheet.text(left + width / 2, top + height + 14, "its probability, 0 to 1", 10.5, theme.faint, ha="center")
    sheet.text(left - 10, top + height / 2, "penalty, 0 to 4", 10.5, theme.faint, ha="center", rotation=90)


def fused_pixel() -> tuple:
    """One pixel of a truck: subnet 0's probabilities (10,), subnet 2's (4,), mapped to all classes, and fused (10,)."""
    group = found_groups()[1]
    subnet0 = np.full(len(CLASSES), -2.0)
    subnet0[list(group)] = (2.0, 1.6, 0.8)  # car, truck, bus: made up, as the next line is
    subnet = np.array([-0.6, 0.2, 2.2, 0.4])  # others, car, truck, bus
    logits = [mx.nd.array(values.reshape(1, -1, 1, 1)) for values in (subnet0, subnet)]
    rule = fusion.Fusion([group], len(CLASSES), "sum")
    shares = [mx.nd.softmax(each, axis=1) for each in logits]
    mapped = fusion.spread(shares[1], group, len(CLASSES))
    fused = mx.nd.softmax(rule(*logits), axis=1)
    return tuple(each.asnumpy().ravel() for each in (*shares, mapped, fused))


@sized(660, 276)
def fuse(sheet: Sheet) -> None:
    """From a group's scores to all classes: Section 3.3."""
    theme, group = sheet.theme, found_groups()[1]
    subnet0, subnet, mapped, fused = fused_pixel()
    columns = ((100, "subnet 0", subnet0), (420, "mapped", mapped / mapped.sum()), (556, "sum rule", fused))
    sheet.heading(10, 20, 0, "One pixel of a truck, from two subnets to one prediction")
    for x, words, values in columns:
        sheet.text(x, 48, words, 11, theme.faint)
        for k, value in enumerate(values):
            y, color = 68 + 20 * k, theme.groups[1] if k in group else theme.faint
            sheet.bar(x, y, 90 * value, color, 13)
            best = value == values.max()
            sheet.text(x + 90 * value + 5, y, f"{100 * value:.0f} %", 10, weight="bold" if best else "normal")
    for k, name in enumerate(CLASSES):
        sheet.text(90, 68 + 20 * k, name, 11, theme.groups[1] if k in group else theme.ink, ha="right")
    sheet.text(290, 48, "subnet 2", 11, theme.faint)
    rows = {"others": 108, **{CLASSES[k]: 68 + 20 * k for k in group}}
    for (name, y), value in zip(rows.items(), subnet):
        sheet.text(282, y, name, 11, theme.groups[1] if name != "others" else theme.ink, ha="right")
        sheet.bar(290, y, 60 * value, theme.groups[1] if name != "others" else theme.faint, 13)
        sheet.text(
            290 + 60 * value + 5,
            y,
            f"{100 * value:.0f} %",
            10,
            weight="bold" if value == subnet.max() else "normal",
        )
        targets = [y] if name != "others" else [68 + 20 * k for k in range(len(CLASSES)) if k not in group]
        for target in targets:
            sheet.axes.plot([388, 412], [y, target], color=theme.faint, linewidth=0.9)


DRAWINGS = {"method": method, "groups": find_groups, "loss": penalise, "fusion": fuse}

if __name__ == "__main__":
    sys.exit(main())
