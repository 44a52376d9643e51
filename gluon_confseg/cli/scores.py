"""A confusion matrix's scores, for people and for programs."""

from __future__ import annotations

import numpy as np

from gluon_confseg.instance_iou import InstanceIoU
from gluon_confseg.labels import VOC, LabelSpace
from gluon_confseg.metrics import ConfusionMatrix, mean_of_defined
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.tables import percent

RULE = (
    "IoU by the rule of the official Cityscapes scorer: a class that is neither in the truth nor predicted "
    "is left out of the mean, one that is only predicted counts 0."
)


def record(matrix: ConfusionMatrix, names) -> dict:
    """Everything for programs: shares as fractions, null where there is none."""
    iou, recall = matrix.iou(), matrix.recall()
    return {
        "classes": [
            {"name": name, "iou": _number(iou[k]), "recall": _number(recall[k]), "pixels": _pixels(matrix)[k]}
            for k, name in enumerate(names)
        ],
        "mean_iou": _number(matrix.mean_iou()),
        "pixel_accuracy": _number(matrix.pixel_accuracy()),
        "mean_recall": _number(matrix.mean_recall()),
        "left_out": left_out(matrix, names),
        "only_predicted": only_predicted(matrix, names),
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
    if instances is None:
        return found
    classes, categories = instances.classes(matrix), instances.categories(matrix)
    weighted = {
        "classes": _by_name(labels.classes, classes),
        "categories": _by_name(labels.categories, categories),
    }
    means = {"mean_iiou": classes, "mean_category_iiou": categories}
    return {**found, "iiou": weighted, **{name: _number(mean_of_defined(v)) for name, v in means.items()}}


def table(matrix: ConfusionMatrix, names, instances: InstanceIoU | None = None) -> str:
    """IoU, recall and pixels of each class, as plain text; iIoU where instances were counted."""
    iou, recall, pixels = matrix.iou(), matrix.recall(), _pixels(matrix)
    rows = [[name, percent(iou[k]), percent(recall[k]), f"{pixels[k]:,}"] for k, name in enumerate(names)]
    rows.append(["mean", percent(matrix.mean_iou()), percent(matrix.mean_recall()), f"{sum(pixels):,}"])
    head = ["class", "IoU, %", "recall, %", "pixels of the truth"]
    if instances is not None:
        _insert(head, rows, "iIoU, %", instances.classes(matrix))
    return Grid(head, rows).text()


def category_table(matrix: ConfusionMatrix, categories, instances: InstanceIoU | None = None) -> list:
    """Lines of a table of the IoU of each category, and an empty one; none where there are no categories."""
    if not categories:
        return []
    iou = matrix.category_iou(categories)
    rows = [[name, percent(score)] for name, score in zip(categories, iou)]
    rows.append(["mean", percent(mean_of_defined(iou))])
    head = ["category", "IoU, %"]
    if instances is not None:
        _insert(head, rows, "iIoU, %", instances.categories(matrix))
    return [Grid(head, rows).text(), ""]


def means(matrix: ConfusionMatrix, categories=(), instances: InstanceIoU | None = None) -> str:
    """The three numbers of a matrix in one line, and in a second those that Cityscapes' benchmark lists besides."""
    lines = [
        f"mIoU {percent(matrix.mean_iou())} %, pixel accuracy {percent(matrix.pixel_accuracy())} %, "
        f"mean recall {percent(matrix.mean_recall())} %"
    ]
    if categories:
        lines.append(f"category IoU {percent(mean_of_defined(matrix.category_iou(categories)))} %")
    if instances is not None:
        classes, things = (
            mean_of_defined(v) for v in (instances.classes(matrix), instances.categories(matrix))
        )
        lines[-1] += f", iIoU of classes {percent(classes)} %, of categories {percent(things)} %"
    return "\n".join(lines)


def rule(matrix: ConfusionMatrix, names) -> str:
    """How absent classes count, and which ones that concerned."""
    absent, predicted = left_out(matrix, names), only_predicted(matrix, names)
    devkit = " (VOC's own devkit has no mean then.)" if absent and tuple(names) == VOC.classes else ""
    return (
        f"{RULE}\nLeft out: {', '.join(absent) or 'none'}.{devkit} "
        f"Only predicted, so 0: {', '.join(predicted) or 'none'}."
    )


def left_out(matrix: ConfusionMatrix, names) -> list:
    """Names of the classes that are neither in the truth nor predicted."""
    return [names[k] for k in np.flatnonzero(np.isnan(matrix.iou()))]


def only_predicted(matrix: ConfusionMatrix, names) -> list:
    """Names of the classes that are predicted, and not in the truth."""
    here = np.array(_pixels(matrix)) > 0
    return [names[k] for k in np.flatnonzero(~here & (matrix.counts.sum(0) > 0))]


def _insert(head: list, rows: list, title: str, scores: np.ndarray) -> None:
    """A column of scores after the second one; the last row gets their mean."""
    head.insert(2, title)
    for row, score in zip(rows, [*scores, mean_of_defined(scores)]):
        row.insert(2, percent(score))


def _by_name(names, scores: np.ndarray) -> dict:
    return {name: _number(score) for name, score in zip(names, scores)}


def _pixels(matrix: ConfusionMatrix) -> list:
    return (matrix.counts.sum(1) + matrix.misses).tolist()


def _number(value: float):
    return None if np.isnan(value) else float(value)
