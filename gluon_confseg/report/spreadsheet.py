"""results.csv: a row for each arm and class, and one for each arm as a whole, for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import math

from gluon_confseg import metrics
from gluon_confseg.report.comparison import Arm, Comparison

ALL = "(mean of classes)"
HEAD = (
    *("run", "arm", "subnets", "loss", "rule", "tta", "updates", "seed", "class"),
    *("iou", "recall", "precision", "pixels", "pixel_accuracy", "paper_mean_iou"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(compared: Comparison) -> str:
    """Comma-separated values with a head, fractions from 0 to 1 with all their digits, empty where undefined."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    for arm in compared.arms:
        writer.writerows(_rows(compared, arm))
    return out.getvalue()


def _rows(compared: Comparison, arm: Arm) -> list:
    cell, run = arm.cell, arm.run
    about = [
        "" if run is None else run.folder.name,
        arm.name,
        *(cell.get(name) for name in ("subnets", "loss", "rule", "tta", "updates")),
        None if run is None else run.results.get("seed"),
    ]
    about = [_text(value) for value in about]
    pixels = arm.full.sum(1)
    paper = cell.get("paper_mean_iou")
    whole = [metrics.mean_of_defined(each) for each in (arm.iou, arm.recall, arm.precision)]
    rows = [
        [
            *(*about, ALL),
            *map(_number, whole),
            int(pixels.sum()),
            _number(arm.pixel_accuracy),
            "" if paper is None else paper / 100,
        ]
    ]
    for k, name in enumerate(compared.classes):
        scores = [_number(each[k]) for each in (arm.iou, arm.recall, arm.precision)]
        rows.append([*about, _text(name), *scores, int(pixels[k]), "", ""])
    return rows


def _text(value) -> str:
    """Text that no spreadsheet takes for a formula: class names and folders come from anywhere."""
    text = "" if value is None else str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _number(value: float):
    return "" if math.isnan(value) else repr(float(value))


def records(compared: Comparison) -> list:
    """The scores of each arm as a whole, for JSON: fractions, None where undefined."""
    found = []
    for arm in compared.arms:
        scores = {
            "mean_iou": arm.mean_iou,
            "pixel_accuracy": arm.pixel_accuracy,
            "mean_recall": metrics.mean_of_defined(arm.recall),
        }
        scores = {name: None if math.isnan(value) else float(value) for name, value in scores.items()}
        iou = [None if math.isnan(value) else float(value) for value in arm.iou]
        found.append({"arm": arm.name, **scores, "iou": dict(zip(compared.classes, iou))})
    return found
