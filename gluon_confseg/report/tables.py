"""The tables of a report: Table 3 with our numbers beside the paper's, classes, groups, costliest confusions.

Numbers come in as fractions and are shown in percent. A number of the paper never stands here without the
network and the data that it was measured on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gluon_confseg import metrics
from gluon_confseg.groups import SubnetSpace, inside
from gluon_confseg.report import costs
from gluon_confseg.report.grid import Grid

MINUS = "\u2212"
WIDEST = 7  # cells that stand side by side
SEVERAL = "several networks"  # where the paper's numbers have no common baseline, and so no gains


def table(results: dict, style: str = "markdown") -> str:
    """The main table of results.json, cells as columns: Table 3. style: "markdown", "text" or "html"."""
    return getattr(cells(results), style)()


def terminal(results: dict) -> str:
    """What a run prints at its end: which data, what came out, the main table, and what was not run, as plain text."""
    from gluon_confseg.report import outcome

    parts = [results["first_line"], "\n".join(outcome.sentences(results)), table(results, "text")]
    parts += [f"Not run: {sentence}" for sentence in results.get("not_run", [])]
    return "\n\n".join(parts)


def cell_name(cell: dict) -> str:
    """ "subnet 0, CE", "subnets 0-3, confusion CE" """
    subnets = str(cell["subnets"])
    return f"{'subnet' if subnets.isdigit() else 'subnets'} {subnets}, {cell['loss']}"


def percent(share, sign: bool = False) -> str:
    """A fraction in percent with two decimals; "-" for None and NaN."""
    if share is None or math.isnan(share):
        return "-"
    return f"{100 * share:{'+' if sign else ''}.2f}".replace("-", MINUS)


def paper_label(results: dict) -> str:
    """What the paper's numbers were measured on, and whether they can be compared with this run's."""
    paper, data = results.get("paper") or {}, results["data"]
    source = f"{paper.get('encoder', '?')}, {paper.get('data', '?')}"
    if data.get("drawn") or str(data.get("name", "")).lower() not in source.lower().split():
        return f"paper ({source}, not comparable with this data)"
    encoder = results.get("network", {}).get("encoder", "")
    if _plain(encoder) != _plain(paper.get("encoder", "")):
        return f"paper ({source}; this run: {encoder})"
    return f"paper ({source})"


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def cells(results: dict) -> Grid:
    """Table 3, cells as columns: our mIoU, gain over the first cell, updates, accuracy, recall; the paper's mIoU.

    More than WIDEST cells are rows, as in Table 2.
    """
    columns = results["cells"]
    rows = [
        ["loss", *(cell["loss"] for cell in columns)],
        ["mIoU, %", *(percent(cell["mean_iou"]) for cell in columns)],
        ["gain, points", *_gains([cell["mean_iou"] for cell in columns])],
        ["updates", *map(updates, columns)],
        ["pixel accuracy, %", *(percent(cell.get("pixel_accuracy")) for cell in columns)],
        ["mean recall, %", *(percent(cell.get("mean_recall")) for cell in columns)],
    ]
    theirs = [cell.get("paper_mean_iou") for cell in columns]
    if any(value is not None for value in theirs):
        theirs = [None if value is None else value / 100 for value in theirs]
        rows.append([f"mIoU, %: {paper_label(results)}", *map(percent, theirs)])
        if (results.get("paper") or {}).get("encoder") != SEVERAL:
            rows.append([f"gain, points: {paper_label(results)}", *_gains(theirs)])
    head = ["subnets", *(str(cell["subnets"]) for cell in columns)]
    if len(columns) <= WIDEST:
        return Grid(head, rows)
    head, *rows = map(list, zip(head, *rows))
    return Grid(head, rows, words=2)


def updates(cell: dict) -> str:
    """How many steps of SGD the cell's network has had, those of all phases before it included."""
    count = cell.get("updates")
    return "-" if count is None else f"{count:,}"


def _gains(values: Sequence) -> list:
    return ["", *(_gain(value, values[0]) for value in values[1:])]


def _gain(value, first) -> str:
    return "-" if None in (value, first) else percent(value - first, sign=True)


def classes(results: dict, groups: Sequence = ()) -> Grid:
    """IoU of each class in every cell, and what the last gained over the first; groups by their number."""
    columns = results["cells"]
    rows = []
    for klass, name in enumerate(results["classes"]):
        values = [cell["iou"][klass] for cell in columns]
        group = ", ".join(str(index) for index, group in enumerate(groups, 1) if klass in group)
        rows.append([name, group, *map(percent, values), _gain(values[-1], values[0])])
    means = [cell["mean_iou"] for cell in columns]
    rows.append(["mean", "", *map(percent, means), percent(means[-1] - means[0], sign=True)])
    rows.append(["updates", "", *map(updates, columns), ""])
    head = ["class, IoU in %", "group", *map(cell_name, columns), "last \u2212 first"]
    return Grid(head, rows, words=2)


def groups(names: Sequence[str], used: Sequence, counts: np.ndarray | None = None) -> Grid:
    """Subnets and their classes in the form of Table 1.

    With the counts of an cell: the confusions inside each group, and the mIoU that a perfect subnet would add.
    """
    rows = [["subnet 0", str(len(names)), f"all the {len(names)} classes", "", ""]]
    for index, group in enumerate(used, 1):
        space = SubnetSpace(group, len(names))
        listed = ", ".join([f"others{index}"] * space.has_others + [names[klass] for klass in group])
        row = [f"subnet {index}", str(space.channels), listed]
        if counts is not None:
            perfect = metrics.mean_iou(costs.without_confusion_inside(counts, group))
            row.append(percent(inside(metrics.normalize(counts), group)))
            row.append(percent(perfect - metrics.mean_iou(counts), sign=True))
        rows.append(row)
    head = ["subnet", "nClass", "class names"]
    if counts is None:
        return Grid(head, [row[:3] for row in rows], words=3)
    head += ["confusion inside, % of rows, summed", "mIoU if none were left, points"]
    return Grid(head, rows, words=3)


def wrong_pixels(results: dict, counts: dict, used: Sequence) -> Grid:
    """Where the wrong pixels of each cell are: inside the groups, where subnets can help, or across them."""
    rows = [
        [cell_name(cell), updates(cell), *map(percent, costs.wrong_pixels(counts[cell["key"]], used))]
        for cell in results["cells"]
    ]
    return Grid(["% of all labelled pixels", "updates", "wrong", "inside a group", "across groups"], rows)


def rules(results: dict) -> Grid:
    """The cells with subnets by every rule of fusion that was evaluated: Section 3.3."""
    named = {cell["key"]: cell for cell in results["cells"]}
    first = results["cells"][0]["mean_iou"]
    rows = []
    for row in results["other_rules"]:
        shares = [percent(row[name]) for name in ("mean_iou", "pixel_accuracy", "mean_recall")]
        shares.insert(1, percent(row["mean_iou"] - first, sign=True))
        cell = named[row["cell"]]
        rows.append([cell_name(cell), row["rule"].replace("_", " "), *shares, updates(cell)])
    head = ["cell", "rule", "mIoU, %", "gain, points", "pixel accuracy, %", "mean recall, %", "updates"]
    return Grid(head, rows, words=2)


def pairs(results: dict, counts: dict, used: Sequence = (), most: int = 12) -> Grid:
    """The confusions that cost the first cell most, and their share of the truth row in every cell.

    The cost is the mIoU that the first cell would gain if none of these pixels were wrong.
    """
    names, columns = results["classes"], results["cells"]
    first = np.asarray(counts[columns[0]["key"]])
    cost = costs.pair_costs(first)
    shares = [metrics.normalize(counts[cell["key"]]) for cell in columns]
    worst = np.argsort(-cost, axis=None, kind="stable")[:most]
    rows = []
    for i, j in zip(*np.unravel_index(worst, cost.shape)):
        if i == j or not first[i, j]:
            continue
        group = next((str(index) for index, group in enumerate(used, 1) if i in group and j in group), "")
        numbers = [f"{first[i, j]:,}", percent(cost[i, j]), percent(shares[0][i, j])]
        changes = [percent(share[i, j] - shares[0][i, j], sign=True) for share in shares[1:]]
        rows.append([names[i], names[j], group, *numbers, *changes])
    head = ["truth", "taken for", "group", "pixels", "costs, mIoU points"]
    head += [f"% of the truth: {cell_name(columns[0])}"]
    head += [f"change: {cell_name(cell)}" for cell in columns[1:]]
    return Grid(head, rows, words=3)


def arms(compared) -> Grid:
    """The arms of a comparison, one in each row."""
    first = compared.arms[0]
    rows = [
        [
            arm.name,
            percent(arm.mean_iou),
            "" if arm is first else percent(arm.mean_iou - first.mean_iou, sign=True),
            percent(arm.pixel_accuracy),
            percent(metrics.mean_of_defined(arm.recall)),
        ]
        for arm in compared.arms
    ]
    return Grid(["arm", "mIoU, %", "gain, points", "pixel accuracy, %", "mean recall, %"], rows)
