"""A confusion matrix for people and for programs: scores, rows in percent, the pairs of classes that cost most."""

from __future__ import annotations

import numpy as np

from gluon_confseg import metrics
from gluon_confseg.cli.matrices import NamedMatrix
from gluon_confseg.instance_iou import InstanceIoU
from gluon_confseg.labels import VOC, LabelSpace
from gluon_confseg.metrics import ConfusionMatrix, mean_of_defined
from gluon_confseg.report import costs
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.tables import percent

MOST_COLUMNS = 40  # of four characters each
MISSED = "(no class)"  # predictions of 255
RULE = (
    "IoU by the rule of the official Cityscapes scorer: a class that is neither in the truth nor predicted "
    "is left out of the mean, one that is only predicted counts 0."
)


def record(matrix: ConfusionMatrix, names) -> dict:
    """Everything for programs: shares as fractions, null where there is none."""
    left_out, only_predicted = _absent(matrix, names)
    return {
        "classes": [
            {"name": name, "iou": _number(iou), "recall": _number(recall), "pixels": pixels}
            for name, iou, recall, pixels in zip(names, matrix.iou(), matrix.recall(), _pixels(matrix))
        ],
        "mean_iou": _number(matrix.mean_iou()),
        "pixel_accuracy": _number(matrix.pixel_accuracy()),
        "mean_recall": _number(matrix.mean_recall()),
        "left_out": left_out,
        "only_predicted": only_predicted,
        "confusion": matrix.counts.tolist(),
        "misses": matrix.misses.tolist(),
    }


def benchmark_record(matrix: ConfusionMatrix, labels: LabelSpace, instances: InstanceIoU | None) -> dict:
    """What Cityscapes' benchmark lists besides: IoU of categories, and iIoU where there are instance ids."""
    if not labels.categories:
        return {}
    iou = matrix.category_iou(labels.categories)
    found = {
        "categories": _by_name(labels.categories, iou),
        "mean_category_iou": _number(mean_of_defined(iou)),
    }
    if instances is not None:
        classes, categories = instances.classes(matrix), instances.categories(matrix)
        found["iiou"] = {
            "classes": _by_name(labels.classes, classes),
            "categories": _by_name(labels.categories, categories),
        }
        found["mean_iiou"] = _number(mean_of_defined(classes))
        found["mean_category_iiou"] = _number(mean_of_defined(categories))
    return found


def table(matrix: ConfusionMatrix, names, instances: InstanceIoU | None = None) -> str:
    """IoU, recall and pixels of each class, as plain text; iIoU where instances were counted."""
    weighted = {} if instances is None else {"iIoU, %": instances.classes(matrix)}
    shares = {"IoU, %": matrix.iou(), **weighted, "recall, %": matrix.recall()}
    head, rows = ["class", *shares, "pixels of the truth"], _with_means(names, shares)
    pixels = _pixels(matrix)
    for row, count in zip(rows, [*pixels, sum(pixels)]):
        row.append(f"{count:,}")
    return Grid(head, rows).text()


def category_table(matrix: ConfusionMatrix, categories, instances: InstanceIoU | None = None) -> list:
    """Lines of a table of the IoU of each category, and an empty one; none where there are no categories."""
    if not categories:
        return []
    weighted = {} if instances is None else {"iIoU, %": instances.categories(matrix)}
    shares = {"IoU, %": matrix.category_iou(categories), **weighted}
    return [Grid(["category", *shares], _with_means(categories, shares)).text(), ""]


def _with_means(names, shares: dict) -> list:
    """Rows of a table of scores in percent, and one of their means. shares: {head of a column: scores}"""
    columns = [[*scores, mean_of_defined(scores)] for scores in shares.values()]
    return [[name, *map(percent, row)] for name, *row in zip([*names, "mean"], *columns)]


def means(matrix: ConfusionMatrix, categories=(), instances: InstanceIoU | None = None) -> str:
    """The three numbers of a matrix in one line, and in a second those that Cityscapes' benchmark lists besides."""
    lines = [
        f"mIoU {percent(matrix.mean_iou())} %, pixel accuracy {percent(matrix.pixel_accuracy())} %, "
        f"mean recall {percent(matrix.mean_recall())} %"
    ]
    if categories:
        lines.append(f"category IoU {percent(mean_of_defined(matrix.category_iou(categories)))} %")
    if instances is not None:
        classes = percent(mean_of_defined(instances.classes(matrix)))
        things = percent(mean_of_defined(instances.categories(matrix)))
        lines[-1] += f", iIoU of classes {classes} %, of categories {things} %"
    return "\n".join(lines)


def rule(matrix: ConfusionMatrix, names) -> str:
    """How absent classes count, and which ones that concerned."""
    absent, predicted = _absent(matrix, names)
    devkit = " (VOC's own devkit has no mean then.)" if absent and tuple(names) == VOC.classes else ""
    return (
        f"{RULE}\nLeft out: {', '.join(absent) or 'none'}.{devkit} "
        f"Only predicted, so 0: {', '.join(predicted) or 'none'}."
    )


def worst_pairs(named: NamedMatrix, most: int, only=()) -> list:
    """The pairs that cost most, as records; `only`: those of one of these classes.

    share is of the truth's pixels; cost the mIoU that would be gained if none of these pixels were wrong.
    """
    full = with_misses(named.matrix)
    cost = costs.pair_costs(named.matrix.counts, named.matrix.misses)
    shares, names = metrics.normalize(full), [*named.classes, MISSED]
    ranked = np.argsort(-cost, axis=None, kind="stable")
    pairs = []
    for i, j in zip(*np.unravel_index(ranked, cost.shape)):
        if i == j or not full[i, j] or (len(only) and i not in only and j not in only):
            continue
        numbers = {"pixels": int(full[i, j]), "share": float(shares[i, j]), "cost": float(cost[i, j])}
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
    """The matrix in whole percents, as plain text; "." is less than half a percent, "" nothing at all.

    One sentence instead where there are more classes than fit beside each other.
    """
    if len(named.classes) > MOST_COLUMNS:
        return (
            f"{len(named.classes)} classes are too many for a table; --picture FILE.png draws it, "
            "and --json prints its counts."
        )
    full = with_misses(named.matrix)
    heads = [str(k) for k in range(len(named.classes))] + ["none"] * bool(named.matrix.misses.any())
    shares = metrics.normalize(full)
    wide, widest = 5 if heads[-1] == "none" else 4, max(len(name) for name in named.classes)
    lines = [" " * (widest + 4) + "".join(f"{head:>{wide}}" for head in heads)]
    for k, name in enumerate(named.classes):
        shown = np.where(shares[k] < 0.005, ".", [f"{100 * share:.0f}" for share in shares[k]])
        cells = np.where(full[k], shown, "")[: len(heads)]
        text = "".join(f"{cell:>{wide}}" for cell in cells) if full[k].any() else "  no pixels in the truth"
        lines.append(f"{k:>3} {name:<{widest}}{text}".rstrip())
    return "\n".join(lines)


def with_misses(matrix: ConfusionMatrix) -> np.ndarray:
    """(K + 1, K + 1) counts: predictions of no class get the last column, and its row is empty."""
    full = np.zeros((matrix.num_classes + 1,) * 2, np.int64)
    full[:-1, :-1], full[:-1, -1] = matrix.counts, matrix.misses
    return full


def _absent(matrix: ConfusionMatrix, names) -> tuple:
    """Names of the classes that are neither in the truth nor predicted, and of those that are only predicted."""
    true, predicted = np.array(_pixels(matrix)) > 0, matrix.counts.sum(0) > 0
    left_out = [name for k, name in enumerate(names) if not true[k] and not predicted[k]]
    return left_out, [name for k, name in enumerate(names) if not true[k] and predicted[k]]


def _by_name(names, scores: np.ndarray) -> dict:
    return {name: _number(score) for name, score in zip(names, scores)}


def _pixels(matrix: ConfusionMatrix) -> list:
    return (matrix.counts.sum(1) + matrix.misses).tolist()


def _number(value: float):
    return None if np.isnan(value) else float(value)
