"""A run folder made of invented numbers: small, quick, and in the form that `train.run` leaves."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from gluon_confseg import checkpoint, metrics
from gluon_confseg.predictions import Keeper

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
SIZE = (48, 80)  # height and width of the images


def invented_counts(size: int = 6, seed: int = 0) -> dict:
    """Cell key -> (K, K) int64: random, a little better from cell to cell; "train" is the first cell's."""
    draw = np.random.default_rng(seed)
    base = draw.integers(0, 90, (size, size))
    counts = {cell["key"]: base + np.diag([300 + 40 * better] * size) for better, cell in enumerate(CELLS)}
    return {**counts, "train": counts["subnet0_ce"]}


def scenes(count: int, classes: int = 6, seed: int = 0) -> list:
    """[(photograph, truth, {cell key: prediction})]: patches of classes, of which later cells get less wrong.

    The first six rows have no label. Every fifth image is all right.
    """
    draw, found = np.random.default_rng(seed), []
    for number in range(count):
        truth = cv2.resize(draw.integers(0, classes, (4, 6)).astype(np.uint8), SIZE[::-1], interpolation=0)
        photograph = draw.integers(0, 255, (*SIZE, 3)).astype(np.uint8)
        spots = cv2.resize(draw.random((8, 12)).astype(np.float32), SIZE[::-1], interpolation=0)
        other = ((truth + draw.integers(1, classes, SIZE)) % classes).astype(np.uint8)
        # most errors inside a group
        for group in GROUPS if classes == len(CLASSES) else ():
            for klass, partner in (group, group[::-1]):
                other[(truth == klass) & (draw.random(SIZE) < 0.8)] = partner
        answers = {}
        for better, cell in enumerate(CELLS):
            wrong = spots < (0.35 - 0.06 * better) * (number % 5 != 4)
            answers[cell["key"]] = np.where(wrong, other, truth).astype(np.uint8)
        truth = truth.copy()
        truth[:6] = 255
        found.append((photograph, truth, answers))
    return found


def counted(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) counts of one image."""
    matrix = metrics.ConfusionMatrix(classes)
    matrix.update(truth, answer)
    return matrix.counts


def make(
    folder, counts=None, classes=CLASSES, groups=GROUPS, drawn=True, images: int = 0, seed: int = 0
) -> Path:
    """Write a complete run folder.

    counts   as from `invented_counts`
    images   so many validation images, which the counts are then of, with predictions and everything about them
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if images:
        shown = scenes(images, len(classes), seed)
        by_image = {
            cell["key"]: np.array(
                [counted(truth, answers[cell["key"]], len(classes)) for _, truth, answers in shown]
            )
            for cell in CELLS
        }
        counts = {key: of_cell.sum(0) for key, of_cell in by_image.items()}
        counts["train"] = counts["subnet0_ce"] + 1
        keep(folder, shown, by_image)
    counts = counts or invented_counts(len(classes))
    np.savez(folder / "confusion.npz", **counts)
    write(folder / "results.json", results(counts, classes, groups, drawn, images or 5, seed))
    found = [{"classes": group, "names": [classes[k] for k in group], "confusion": 0.3} for group in groups]
    write(folder / "groups.json", {"source": "discovered", "groups": found, "threshold": 0.02})
    log = [
        {"phase": phase, "epoch": epoch + 1, "epochs": 3, "loss": {"subnet0": 2 / (epoch + 1)}}
        for phase in PHASES
        for epoch in range(3)
    ]
    for line in log:
        if line["epoch"] == 3:
            line["val_mean_iou"] = 0.5
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return folder


def keep(folder: Path, shown: list, by_image: dict) -> None:
    """Write what a run keeps of its validation images: counts, predictions, photographs and labels."""
    for cell in CELLS:
        phase, rule = phase_of(cell), rule_of(cell)
        place = folder / "checkpoints"
        checkpoint.save(place / f"{phase}.evaluation.npz", {rule: by_image[cell["key"]]}, {"phase": phase})
        keeper = Keeper([rule], range(len(shown)))
        for index, (_, _, answers) in enumerate(shown):
            keeper.add(index, {rule: answers[cell["key"]]})
        checkpoint.save(place / f"{phase}.predictions.npz", keeper.kept().arrays(), {"phase": phase})
    place = folder / "examples"
    place.mkdir()
    listed = []
    for index, (photograph, truth, _) in enumerate(shown):
        names = {"photograph": f"{index:05d}.jpg", "labels": f"{index:05d}.png"}
        cv2.imwrite(str(place / names["photograph"]), photograph)
        cv2.imwrite(str(place / names["labels"]), truth)
        listed.append({"index": index, **names})
    names = [f"town/scene{number}" for number in range(len(shown))]
    write(place / "examples.json", {"split": "val", "names": names, "images": listed})


def phase_of(cell: dict) -> str:
    """The phase whose network a cell scores."""
    return cell["key"].replace("subnet0_", "")


def rule_of(cell: dict) -> str:
    """The rule that a cell is fused by."""
    return "subnet0" if cell["subnets"] == "0" else "residual_product"


def results(counts, classes=CLASSES, groups=GROUPS, drawn=True, images: int = 5, seed: int = 0) -> dict:
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
    phases = [
        {"name": phase, "loss": "confusion_ce" if "confusion" in phase else "ce", "epochs": 3}
        for phase in PHASES
    ]
    return {
        "schema": 2,
        "recipe": "table3",
        "title": "Table 3: subnets and the improved cross-entropy",
        "first_line": first_line,
        "data": {
            "name": "cityscapes",
            "drawn": drawn,
            "train_images": 20,
            "val_images": images,
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
        "training": {"scheme": "confusion", "penalty": 5.0, "learning_rate": 0.002, "phases": phases},
        "seed": seed,
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
    of_network = {"rule": rule_of(cell), "tta": "single", "checkpoint": f"checkpoints/{phase_of(cell)}.npz"}
    return {**cell, **of_network, **scores, "iou": iou}
