"""A run folder made of invented numbers: small, quick, and in the form that `train.run` leaves."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from gluon_confseg import metrics

CLASSES = ["road", "wall & <fence>", "pole", "bus", "tram", "sky"]
GROUPS = [[1, 2], [3, 4]]
CELLS = [
    {"key": "subnet0_ce", "subnets": "0", "loss": "CE", "updates": 300, "paper_mean_iou": 74.70},
    {"key": "subnets_ce", "subnets": "0-3", "loss": "CE", "updates": 1500, "paper_mean_iou": 75.55},
    {
        "key": "subnet0_confusion_ce",
        "subnets": "0",
        "loss": "confusion CE",
        "updates": 300,
        "paper_mean_iou": 76.21,
    },
    {
        "key": "subnets_confusion_ce",
        "subnets": "0-3",
        "loss": "confusion CE",
        "updates": 1500,
        "paper_mean_iou": 77.75,
    },
]
PHASES = ("base", "ce", "confusion_ce", "subnets_ce", "subnets_confusion_ce")


def invented_counts(size: int = 6, seed: int = 0) -> dict:
    """Cell key -> (K, K) int64: random, a little better from cell to cell; "train" is the first cell's."""
    draw = np.random.default_rng(seed)
    base = draw.integers(0, 90, (size, size))
    counts = {cell["key"]: base + np.diag([300 + 40 * better] * size) for better, cell in enumerate(CELLS)}
    return {**counts, "train": counts["subnet0_ce"]}


def make(folder, counts=None, classes=CLASSES, groups=GROUPS, drawn=True, panels=2) -> Path:
    """Write a complete run folder; counts as from `invented_counts`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    counts = counts or invented_counts(len(classes))
    np.savez(folder / "confusion.npz", **counts)
    write(folder / "results.json", results(counts, classes, groups, drawn))
    found = [{"classes": group, "names": [classes[k] for k in group], "confusion": 0.3} for group in groups]
    write(folder / "groups.json", {"source": "discovered", "groups": found, "threshold": 0.02})
    log = [
        {"phase": phase, "epoch": epoch + 1, "epochs": 3, "loss": {"subnet0": 2 / (epoch + 1)}}
        for phase in PHASES
        for epoch in range(3)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    if panels:
        _panels(folder / "panels", panels, len(classes))
    return folder


def results(counts, classes=CLASSES, groups=GROUPS, drawn=True) -> dict:
    """results.json of these counts."""
    first_line = (
        "Data: street scenes drawn by gluon-confseg, no photographs"
        if drawn
        else "Data: Cityscapes, the real one"
    )
    colors = np.random.default_rng(3).integers(40, 255, (len(classes), 3)).tolist()
    fused = {
        "cell": "subnets_confusion_ce",
        "rule": "sum",
        "mean_iou": 0.1234,
        "pixel_accuracy": 0.2,
        "mean_recall": 0.3,
    }
    return {
        "schema": 2,
        "recipe": "table3",
        "title": "Table 3: subnets and the improved cross-entropy",
        "first_line": first_line,
        "data": {
            "name": "cityscapes",
            "drawn": drawn,
            "train_images": 20,
            "val_images": 5,
            "description": "invented for a test",
        },
        "classes": classes,
        "colors": colors,
        "network": {
            "encoder": "resnet18",
            "output_stride": 8,
            "subnets": "residual",
            "rule": "residual_product",
        },
        "loss": {"scheme": "rows", "penalty": 5.0},
        "training": {"epochs": {"base": 3, "ce": 3}, "learning_rate": 0.002},
        "seed": 0,
        "groups": {"source": "paper, Table 1", "classes": groups, "discovered": groups},
        "paper": {"table": "Table 3", "encoder": "ResNet-101", "data": "Cityscapes val"},
        "cells": [_cell(cell, counts[cell["key"]]) for cell in CELLS if cell["key"] in counts],
        "other_rules": [fused] if "subnets_confusion_ce" in counts else [],
        "not_run": ["ResNet-101 on Cityscapes itself: no such data here."],
    }


def write(path: Path, value) -> None:
    """Write JSON."""
    path.write_text(json.dumps(value))


def _cell(cell: dict, counts: np.ndarray) -> dict:
    matrix = metrics.ConfusionMatrix(len(counts))
    matrix.counts += counts
    iou = [None if np.isnan(value) else float(value) for value in matrix.iou()]
    scores = {
        "mean_iou": matrix.mean_iou(),
        "pixel_accuracy": matrix.pixel_accuracy(),
        "mean_recall": matrix.mean_recall(),
    }
    return {**cell, **scores, "iou": iou}


def _panels(folder: Path, count: int, size: int) -> None:
    draw = np.random.default_rng(1)
    for number in range(count):
        place = folder / f"scene{number}"
        place.mkdir(parents=True)
        truth = draw.integers(0, size, (24, 40)).astype(np.uint8)
        truth[:6] = 255
        cv2.imwrite(str(place / "image.png"), draw.integers(0, 255, (24, 40, 3)).astype(np.uint8))
        cv2.imwrite(str(place / "truth.png"), truth)
        for cell in CELLS:
            cv2.imwrite(str(place / f"{cell['key']}.png"), np.where(truth == 255, 0, truth).astype(np.uint8))
    listed = [
        {"name": f"scene{number}", "why": "pole/<wall>", "box": [0, 0, 24, 40], "classes": [1, 2]}
        for number in range(count)
    ]
    write(folder / "panels.json", listed)
