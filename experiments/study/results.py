"""The study's numbers: every cell's mIoU per seed, and differences between cells with how sure one can be of them.

A difference is paired: by seed, since both cells started from one network and drew the same crops; and by image, since
both were scored on the same ones. Its interval is a bootstrap over the images, the seeds as they are; its spread is
the standard deviation over the seeds.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from gluon_confseg import checkpoint, files, metrics
from gluon_confseg.run_folder import read_json

from . import evaluation
from .results import scores

DRAWS = 2000
# what each cell is to be set beside: (cell, reference)
DIFFERENCES = (
    ("new_ce", "ce"),
    ("new_ce", "new_ce_shuffled"),
    ("new_ce_shuffled", "ce"),
    ("ce_subnets", "ce"),
    ("ce_subnets", "ce_continued"),
    ("ce_subnets", "ce_one"),
    ("ce_subnets", "ce_whole"),
    ("ce_subnets", "ce_random"),
    ("new_subnets", "ce"),
    ("new_subnets", "ce_continued"),
    ("new_subnets", "new_ce"),
    ("new_subnets", "new_continued"),
    ("new_subnets", "new_one"),
    ("new_subnets_slow", "new_one_slow"),
    ("new_subnets_fast", "new_one_fast"),
    ("new_subnets", "new_whole"),
    ("new_subnets", "new_whole_mean"),
    ("new_subnets", "new_random"),
    ("new_continued", "ce_continued"),
    ("long_subnets", "new_continued"),
    ("long_subnets", "ce_longer"),
    ("long_subnets", "new_longer"),
    ("long_subnets", "long_one"),
    ("new_longer", "ce_longer"),
    ("new_conditional", "new_sum"),
    ("new_learned", "new_sum"),
    ("new_subnets", "new_sum"),
    ("new_learned", "new_subnets"),
    ("new_iterated", "new_subnets"),
    ("ce_plain", "ce"),
)


def collect(recipe, out: Path, split: str = "val") -> dict:
    """Everything the page shows, from the run folders OUT/seed*; cells that no seed has finished are left out."""
    counted = {seed: _counted(recipe, folder, split) for seed, folder in _folders(out)}
    keys = [arm.key for arm in recipe.arms if any(arm.key in cells for cells in counted.values())]
    about = _about(out)
    pairs = [*DIFFERENCES, *((key, "ce") for key in keys if _is_another_loss(recipe, key))]
    found = [difference(*pair, counted) for pair in pairs]
    return {
        "schema": 1,
        "data": f"{recipe.data if recipe.draw is None else 'drawn scenes (not Cityscapes)'}, {split}",
        "profile": recipe.profile,
        "settings": json.loads(json.dumps({**dataclasses.asdict(recipe), "arms": None})),
        **about,
        "cells": [_cell(recipe, key, counted, about["updates"]) for key in keys],
        "differences": [d for d in found if d],
    }


def _is_another_loss(recipe, key: str) -> bool:
    """Whether a cell is the base network trained on by a loss that DIFFERENCES does not name."""
    plan = recipe.stage(recipe.cells([key])[0].stage)
    return plan.start == "base" and key not in {cell for pair in DIFFERENCES for cell in pair}


def describe(experiment) -> None:
    """about.json of a seed's run folder: what the page needs beside the matrices."""
    plans, file = experiment.recipe.stages, experiment.folder.path / "about.json"
    images = read_json(file)["images"] if file.exists() else {}
    about = {
        "classes": list(experiment.val_set.classes),
        "images": {
            **images,
            "train": len(experiment.train_set),
            experiment.val_set.split: len(experiment.val_set),
        },
        "updates": {plan.name: experiment.updates(plan) for plan in plans},
        "groups": [list(group) for group in experiment.discovered()],
    }
    files.write_json(file, about)


def _folders(out: Path) -> list:
    found = [
        (int(path.name[4:]), path)
        for path in out.glob("seed*")
        if path.name[4:].isdigit() and (path / "about.json").exists()
    ]
    return sorted(found)


def _counted(recipe, folder: Path, split: str) -> dict:
    """cell -> (images, K, K) counts of one seed."""
    found = {}
    for arm in recipe.arms:
        for stage in _holders(recipe, arm):
            file = folder / "checkpoints" / evaluation.file_name(stage, arm.test, split)
            counts = checkpoint.load(file)[0] if file.exists() else {}
            if recipe.rule_of(arm) in counts:
                found[arm.key] = counts[recipe.rule_of(arm)]
                break
    return found


def _holders(recipe, arm) -> list:
    """The stages whose evaluation may hold an arm's counts: see `Experiment.read_from`."""
    above = [plan.name for plan in recipe.stages if plan.start == arm.stage and plan.trains == "subnets"]
    return [arm.stage, *(above if arm.subnets == "0" else [])]


def _about(out: Path) -> dict:
    """Class names and each seed's groups, as the run folders' about.json have them."""
    found = {seed: read_json(path / "about.json") for seed, path in _folders(out)}
    first = next(iter(found.values()))
    return {**first, "groups": {str(seed): about["groups"] for seed, about in found.items()}}


def _cell(recipe, key: str, counted: dict, updates: dict) -> dict:
    """A cell's scores: each seed's, their mean, and their standard deviation."""
    each = {seed: cells[key].sum(0) for seed, cells in counted.items() if key in cells}
    arm = recipe.cells([key])[0]
    values = [metrics.mean_of_defined(metrics.iou(counts)) for counts in each.values()]
    iou = np.mean([metrics.iou(counts) for counts in each.values()], axis=0)
    return {
        "key": key,
        "loss": arm.loss,
        "subnets": arm.subnets,
        "rule": recipe.rule_of(arm),
        "updates": updates[arm.stage],
        "seeds": {str(seed): scores(counts) for seed, counts in each.items()},
        "mean_iou": float(np.mean(values)),
        "spread": _spread(values),
        "iou": [None if np.isnan(v) else float(v) for v in iou],
    }


def difference(cell: str, reference: str, counted: dict) -> dict | None:
    """mIoU of a cell less that of its reference, over the seeds that have both; None where no seed has."""
    pairs = {s: (c[cell], c[reference]) for s, c in counted.items() if cell in c and reference in c}
    if not pairs:
        return None
    each = {
        str(seed): float(np.subtract(*(_mean_iou(c.sum(0)) for c in pair))) for seed, pair in pairs.items()
    }
    low, high = interval(list(pairs.values()))
    values = list(each.values())
    return {
        "cell": cell,
        "reference": reference,
        "seeds": each,
        "mean": float(np.mean(values)),
        "spread": _spread(values),
        "interval": [low, high],
    }


def interval(pairs: list, draws: int = DRAWS, level: float = 0.95) -> tuple:
    """Bootstrap over images of the mean difference: [(cell's (images, K, K), reference's), ...] -> (low, high)."""
    images = len(pairs[0][0])
    chosen = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=draws)
    gains = [_mean_iou(_resampled(chosen, a)) - _mean_iou(_resampled(chosen, b)) for a, b in pairs]
    low, high = np.quantile(np.mean(gains, axis=0), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(chosen: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(draws, images) times an image was drawn, (images, K, K) -> (draws, K, K)."""
    return np.tensordot(chosen, counts, axes=1)


def _mean_iou(counts: np.ndarray) -> np.ndarray:
    """(..., K, K) -> (...): mean over the classes that occur."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    unions = counts.sum(-1) + counts.sum(-2) - hits
    return np.nanmean(np.divide(hits, unions, out=np.full(hits.shape, np.nan), where=unions > 0), axis=-1)


def _spread(values: list) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


# ---- as text


def table(record: dict) -> str:
    """Cells and differences in mIoU points, for people."""
    lines = ["| cell | updates | mIoU, % | seeds | spread |", "|---|---|---|---|---|"]
    for cell in record["cells"]:
        each = " / ".join(f"{100 * s['mean_iou']:.2f}" for s in cell["seeds"].values())
        mean, spread = f"{100 * cell['mean_iou']:.2f}", _points(cell["spread"])
        lines.append(f"| {cell['key']} | {cell['updates']} | {mean} | {each} | {spread} |")
    lines += ["", "| cell - reference | gain | seeds | spread | 95 % over images |", "|---|---|---|---|---|"]
    for d in record["differences"]:
        each = " / ".join(f"{100 * v:+.2f}" for v in d["seeds"].values())
        low, high = (f"{100 * v:+.2f}" for v in d["interval"])
        name = f"{d['cell']} - {d['reference']}"
        lines.append(
            f"| {name} | {100 * d['mean']:+.2f} | {each} | {_points(d['spread'])} | {low} to {high} |"
        )
    return "\n".join(lines)


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
