"""A confusion matrix for people: its rows in percent, and the pairs of classes that cost most."""

from __future__ import annotations

import numpy as np

from gluon_confseg import metrics
from gluon_confseg.cli.matrices import NamedMatrix
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.report import costs
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.tables import percent

MISSED = "(no class)"  # predictions of 255


def worst_pairs(named: NamedMatrix, most: int, only=()) -> list:
    """The pairs that cost most, as records; `only`: those of one of these classes.

    share is of the truth's pixels; cost the mIoU that would be gained if none of these pixels were wrong.
    """
    full = with_misses(named.matrix)
    cost = costs.pair_costs(named.matrix.counts, named.matrix.misses)
    shares = metrics.normalize(full)
    names = [*named.classes, MISSED]
    ranked = np.argsort(-cost, axis=None, kind="stable")
    pairs = []
    for i, j in zip(*np.unravel_index(ranked, cost.shape)):
        if i == j or not full[i, j] or (len(only) and i not in only and j not in only):
            continue
        numbers = {
            "pixels": int(full[i, j]),
            "share": float(shares[i, j]),
            "cost": float(cost[i, j]),
        }
        pairs.append({"truth": names[i], "prediction": names[j], **numbers})
    return pairs[:most]


def pairs_table(pairs: list) -> str:
    """What `worst_pairs` found."""
    head = ["truth", "taken for", "pixels", "% of the truth", "costs, mIoU points"]
    cells = [
        [p["truth"], p["prediction"], f"{p['pixels']:,}", percent(p["share"]), percent(p["cost"])]
        for p in pairs
    ]
    return Grid(head, cells, words=2).text()


def rows(named: NamedMatrix) -> str:
    """The matrix in whole percents, as plain text; "." is less than half a percent, "" nothing at all."""
    full = with_misses(named.matrix)
    heads = [str(k) for k in range(len(named.classes))] + ["none"] * bool(named.matrix.misses.any())
    shares = metrics.normalize(full)
    wide, widest = 5 if heads[-1] == "none" else 4, max(len(name) for name in named.classes)
    lines = [" " * (widest + 4) + "".join(f"{head:>{wide}}" for head in heads)]
    for k, name in enumerate(named.classes):
        cells = [_cell(full[k, j], shares[k, j]) for j in range(len(heads))]
        text = "".join(f"{cell:>{wide}}" for cell in cells) if full[k].any() else "  no pixels in the truth"
        lines.append(f"{k:>3} {name:<{widest}}{text}".rstrip())
    return "\n".join(lines)


def with_misses(matrix: ConfusionMatrix) -> np.ndarray:
    """(K + 1, K + 1) counts: predictions of no class get the last column, and its row is empty."""
    full = np.zeros((matrix.num_classes + 1,) * 2, np.int64)
    full[:-1, :-1], full[:-1, -1] = matrix.counts, matrix.misses
    return full


def _cell(pixels: int, share: float) -> str:
    if not pixels:
        return ""
    return f"{100 * share:.0f}" if share >= 0.005 else "."
