"""A confusion matrix's scores, for people and for programs."""

from __future__ import annotations

import numpy as np

from gluon_confseg.metrics import ConfusionMatrix
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


def table(matrix: ConfusionMatrix, names) -> str:
    """IoU, recall and pixels of each class, as plain text."""
    iou, recall, pixels = matrix.iou(), matrix.recall(), _pixels(matrix)
    rows = [[name, percent(iou[k]), percent(recall[k]), f"{pixels[k]:,}"] for k, name in enumerate(names)]
    rows.append(["mean", percent(matrix.mean_iou()), percent(matrix.mean_recall()), f"{sum(pixels):,}"])
    return Grid(["class", "IoU, %", "recall, %", "pixels of the truth"], rows).text()


def means(matrix: ConfusionMatrix) -> str:
    """The three numbers of a matrix, in one line."""
    return (
        f"mIoU {percent(matrix.mean_iou())} %, pixel accuracy {percent(matrix.pixel_accuracy())} %, "
        f"mean recall {percent(matrix.mean_recall())} %"
    )


def rule(matrix: ConfusionMatrix, names) -> str:
    """How absent classes count, and which ones that concerned."""
    absent, predicted = left_out(matrix, names), only_predicted(matrix, names)
    return (
        f"{RULE}\nLeft out: {', '.join(absent) or 'none'}. "
        f"Only predicted, so 0: {', '.join(predicted) or 'none'}."
    )


def left_out(matrix: ConfusionMatrix, names) -> list:
    """Names of the classes that are neither in the truth nor predicted."""
    return [names[k] for k in np.flatnonzero(np.isnan(matrix.iou()))]


def only_predicted(matrix: ConfusionMatrix, names) -> list:
    """Names of the classes that are predicted, and not in the truth."""
    here = np.array(_pixels(matrix)) > 0
    return [names[k] for k in np.flatnonzero(~here & (matrix.counts.sum(0) > 0))]


def _pixels(matrix: ConfusionMatrix) -> list:
    return (matrix.counts.sum(1) + matrix.misses).tolist()


def _number(value: float):
    return None if np.isnan(value) else float(value)
