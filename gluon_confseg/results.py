"""What a finished run says: groups.json, results.json, the matrices of its cells, and prediction panels (Fig. 8)."""

from __future__ import annotations

import dataclasses

import cv2
import mxnet as mx
import numpy as np

from . import build, engine, files, groups, metrics, settings
from .datasets import normalize
from .fusion import Fusion
from .inference import TTA

SCHEMA = 2
PANELS = 6
ABREAST = 6  # cells that a panel can show
NOT_RUN = (
    "The paper's own setting - ResNet-101 with ImageNet weights, full-size Cityscapes, 100 epochs on GPUs - "
    "was not run for this report, unless its first line and its settings say so."
)


def conclude(recipe, cells, left_out: dict, data, folder, device=None) -> None:
    """Write what the report reads, from what the run folder holds.

    cells      those that were scored
    left_out   phase -> why it was not trained
    """
    per_image = {cell.key: of_cell(recipe, cell, data, folder) for cell in cells}
    folder.save_matrices({key: counts.sum(0) for key, counts in per_image.items()})
    used = groups_used(recipe, data, folder)
    folder.write("groups.json", groups_record(recipe, data, folder, used))
    write_panels(recipe, cells, per_image, used, data, folder, device)
    folder.write("results.json", record(recipe, cells, left_out, per_image, used, data, folder))


def of_cell(recipe, cell, data, folder) -> np.ndarray:
    """(images, K, K) int64 counts of a cell."""
    return folder.evaluation(cell.phase, cell.tta, data.val.split)[recipe.rule_of(cell)]


def groups_used(recipe, data, folder) -> list:
    """The groups that get subnets, of the first phase that trains any; there may be none.

    Nor are there any where they would be found in a training matrix that no cell needed.
    """
    with_subnets = next((p for p in recipe.phases if p.trains == "subnets"), None)
    if with_subnets is None:
        return []
    found_in_matrix = with_subnets.groups.split()[0] in settings.GROUPS[1:]
    if found_in_matrix and folder.matrix_name(with_subnets.matrix) not in folder.matrices():
        return []
    if build.why_left_out(recipe, with_subnets, data.labels, folder):
        return []
    return build.groups_of(recipe, with_subnets, data.labels, folder)


def groups_record(recipe, data, folder, used: list) -> dict:
    """The groups that got subnets, with their confusion in the training matrix, and what discovery finds there."""
    shares = metrics.normalize(folder.training_matrix(recipe.matrix_phase))

    def described(found) -> list:
        return [
            {
                "classes": [int(k) for k in group],
                "names": [data.labels.classes[k] for k in group],
                "confusion": groups.inside(shares, group),
            }
            for group in found
        ]

    return {
        "source": source(recipe),
        "groups": described(used),
        "discovered": described(groups.discover(shares)),
        "threshold": groups.automatic_threshold(shares),
    }


def source(recipe) -> str:
    """Where the groups come from, in words."""
    kinds = {phase.groups.split()[0] for phase in recipe.phases if phase.trains == "subnets"}
    if "paper" in kinds:
        return "paper, Table 1" if recipe.data == "cityscapes" else "paper, Section 4.2"
    return "given" if kinds - {"discover", "random", "whole", "one"} else "discovered"


def record(recipe, cells, left_out: dict, per_image: dict, used: list, data, folder) -> dict:
    """Everything that the report shows, but for the matrices."""
    val, first = data.val, recipe.phases[0]
    shares = metrics.normalize(folder.training_matrix(recipe.matrix_phase))
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "title": recipe.title,
        "first_line": f"Data: {val.description}",
        "data": {
            "name": recipe.data,
            "drawn": bool(val.drawn),
            "train_images": len(data.train),
            "val_images": len(val),
            "description": val.description,
        },
        "classes": list(val.classes),
        "colors": np.asarray(val.labels.colors).tolist(),
        "network": network_record(recipe),
        "loss": {"scheme": first.scheme, "penalty": first.penalty},
        "training": training_record(recipe),
        "seed": recipe.seed,
        "groups": {
            "source": source(recipe),
            "classes": [list(g) for g in used],
            "discovered": [list(g) for g in groups.discover(shares)],
        },
        "paper": {"table": recipe.paper_table, "encoder": recipe.paper_encoder, "data": recipe.paper_data},
        "cells": [cell_record(recipe, cell, per_image[cell.key].sum(0), data) for cell in cells],
        "left_out": [
            {"cell": cell.key, "why": left_out[cell.phase]} for cell in recipe.cells if cell.phase in left_out
        ],
        "other_rules": other_rules(recipe, cells, data, folder),
        "phases": phase_scores(folder),
        "not_run": [] if recipe.profile == "full" and recipe.data == "cityscapes" else [NOT_RUN],
    }


def network_record(recipe) -> dict:
    """Encoder, stride, heads and rule, of the phase that has most of them."""
    phase = next((p for p in recipe.phases if p.trains == "subnets"), recipe.phases[0])
    names = ("encoder", "output_stride", "last_stage", "subnets", "rule")
    return {
        **{name: getattr(phase, name) for name in names},
        "pretrained": recipe.phases[0].pretrained,
        "head": dataclasses.asdict(phase.head),
        "subnet_head": dataclasses.asdict(phase.subnet_head),
    }


def training_record(recipe) -> dict:
    """Phases, augmentation and optimiser as they were used."""
    first = recipe.phases[0]
    return {
        "profile": recipe.profile,
        "crop": list(first.crop),
        "scale": list(first.scale),
        "batch_size": first.batch_size,
        "optimiser": {
            name: getattr(first, name) for name in ("momentum", "weight_decay", "schedule", "biases")
        },
        "phases": [
            {
                name: getattr(phase, name)
                for name in (
                    "name",
                    "start",
                    "trains",
                    "loss",
                    "epochs",
                    "learning_rate",
                    "warm_up",
                    "penalty",
                    "scheme",
                )
            }
            for phase in recipe.phases
        ],
    }


def cell_record(recipe, cell, counts: np.ndarray, data) -> dict:
    """A cell's scores from its matrix."""
    return {
        "key": cell.key,
        "subnets": cell.subnets,
        "loss": cell.loss,
        "rule": recipe.rule_of(cell),
        "tta": cell.tta,
        "checkpoint": f"checkpoints/{cell.phase}.npz",
        "updates": build.updates(recipe, recipe.phase(cell.phase), len(data.train)),
        "paper_mean_iou": cell.paper,
        **scores(counts),
        "iou": [None if np.isnan(v) else float(v) for v in metrics.iou(counts)],
    }


def scores(counts: np.ndarray) -> dict:
    """mIoU, pixel accuracy and mean recall of a matrix."""
    matrix = metrics.ConfusionMatrix(len(counts))
    matrix.counts += counts
    return {
        "mean_iou": matrix.mean_iou(),
        "pixel_accuracy": matrix.pixel_accuracy(),
        "mean_recall": matrix.mean_recall(),
    }


def other_rules(recipe, cells, data, folder) -> list:
    """The cells with subnets, fused by the other rules."""
    rows = []
    for cell in (cell for cell in cells if cell.subnets != "0"):
        counted = folder.evaluation(cell.phase, cell.tta, data.val.split)
        asked = (recipe.rule_of(cell), *(rule for rule in recipe.other_rules if rule in counted))
        rows += [
            {"cell": cell.key, "rule": rule, **scores(counted[rule].sum(0))} for rule in dict.fromkeys(asked)
        ]
    return rows


def phase_scores(folder) -> list:
    """Each phase's last scores on training and validation images, from the log."""
    last = {r["phase"]: r for r in folder.logged() if "val_mean_iou" in r}
    names = ("epoch", "val_mean_iou", "train_mean_iou", "worst")
    return [{"phase": phase, **{n: r[n] for n in names if n in r}} for phase, r in last.items()]


# ---- panels


def write_panels(recipe, cells, per_image: dict, used: list, data, folder, device) -> None:
    """Crops where the cells differ most inside the groups, and one where the last cell did worst: Fig. 8.

    None where there are more cells than can stand side by side: their networks would not fit in memory together.
    """
    place = folder.path / "panels"
    chosen = (
        choose_panels(per_image[cells[0].key], per_image[cells[-1].key], used)
        if len(cells) <= ABREAST
        else []
    )
    networks = {}
    for cell in cells if chosen else ():
        if cell.phase not in networks:
            networks[cell.phase] = build.load(recipe.phase(cell.phase), folder, device)
    records = []
    for index, pair, worse in chosen:
        name, (image, mask) = data.val.names[index].replace("/", "_"), data.val[index]
        pictures = {"image": cv2.cvtColor(image, cv2.COLOR_RGB2BGR), "truth": mask}
        for cell in cells:
            network, rule = networks[cell.phase], recipe.rule_of(cell)
            views = recipe.evaluation if cell.tta == "single" else TTA[cell.tta]
            images = mx.nd.array(normalize(image, **network.normalisation)[None], ctx=device)
            fusions = {rule: Fusion.of(network, rule)}
            pictures[cell.key] = engine.predict(network, fusions, images, views)[rule][0]
        for key, picture in pictures.items():
            files.write_bytes(place / name / f"{key}.png", cv2.imencode(".png", picture)[1].tobytes())
        first, last = pictures[cells[0].key], pictures[cells[-1].key]
        changed = (mask == pair[0]) & ((first == pair[1]) != (last == pair[1]))
        i, j = (data.val.classes[k] for k in pair)
        why = f"{i} taken for {j}" + (", worse with the last cell" if worse else "")
        box = _box(changed, mask.shape)
        records.append({"name": name, "why": why, "worse": worse, "box": box, "classes": list(pair)})
    folder.write("panels/panels.json", records)


def choose_panels(before: np.ndarray, after: np.ndarray, used: list) -> list:
    """[(image index, (true class, predicted class), whether it got worse)]: at most PANELS, none twice.

    before, after   (images, K, K) counts of the first cell and of the last
    """
    pairs = _worst_pairs(before.sum(0), used)
    chosen, taken = [], set()
    for i, j in pairs:
        index = _best_unused((before - after)[:, i, j], taken)
        if index is not None and len(chosen) < PANELS - 1:
            chosen.append((index, (i, j), False))
    if pairs:
        i, j = max(pairs, key=lambda pair: (after - before)[:, pair[0], pair[1]].max())
        index = _best_unused((after - before)[:, i, j], taken)
        if index is not None:
            chosen.append((index, (i, j), True))
    if pairs and not chosen:  # nothing changed: show where the worst pair is confused most
        chosen.append((int(before[:, pairs[0][0], pairs[0][1]].argmax()), pairs[0], False))
    return chosen


def _best_unused(gains: np.ndarray, taken: set):
    for index in np.argsort(-gains, kind="stable"):
        if gains[index] <= 0:
            return None
        if int(index) not in taken:
            taken.add(int(index))
            return int(index)
    return None


def _worst_pairs(counts: np.ndarray, used) -> list:
    """Pairs (truth, prediction) inside the groups by their share of the truth, the groups taking turns."""
    shares = metrics.normalize(counts)
    ranked = [
        sorted(
            ((i, j) for i in group for j in group if i != j and shares[i, j] > 0), key=lambda p: -shares[p]
        )
        for group in used
    ]
    longest = max((len(pairs) for pairs in ranked), default=0)
    return [pairs[turn] for turn in range(longest) for pairs in ranked if turn < len(pairs)]


def _box(changed: np.ndarray, shape: tuple) -> list:
    """[top, left, bottom, right] of 60 % of the image's height and half its width, about the changed pixels."""
    height, width = round(shape[0] * 0.6), round(shape[1] * 0.5)
    rows, columns = np.nonzero(changed)
    row, column = (
        int(np.median(v)) if v.size else s // 2 for v, s in ((rows, shape[0]), (columns, shape[1]))
    )
    top = min(max(row - height // 2, 0), shape[0] - height)
    left = min(max(column - width // 2, 0), shape[1] - width)
    return [top, left, top + height, left + width]
