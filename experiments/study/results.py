"""The study's numbers: every cell's mIoU per seed, and differences between cells with how sure one can be of them.

A difference is paired: by seed, since both cells started from one network and drew the same crops; and by image, since
both were scored on the same ones. Its interval is a bootstrap over the images, the seeds as they are; its spread is
the standard deviation over the seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gluon_confseg import metrics
from gluon_confseg.results import scores
from gluon_confseg.run_folder import read_evaluation, read_json

SCHEMA = 2
DRAWS = 2000
# what each cell is to be set beside: (cell, reference)
DIFFERENCES = (
    ("confusion_ce", "ce"),
    ("confusion_ce", "confusion_ce_shuffled"),
    ("confusion_ce_shuffled", "ce"),
    ("subnets_ce", "ce"),
    ("subnets_ce", "ce_continued"),
    ("subnets_ce", "one_ce"),
    ("subnets_ce", "whole_ce"),
    ("subnets_ce", "random_ce"),
    ("subnets_confusion_ce", "ce"),
    ("subnets_confusion_ce", "ce_continued"),
    ("subnets_confusion_ce", "confusion_ce"),
    ("subnets_confusion_ce", "confusion_ce_continued"),
    ("subnets_confusion_ce", "one_confusion_ce"),
    ("subnets_confusion_ce_slow", "one_confusion_ce_slow"),
    ("subnets_confusion_ce_fast", "one_confusion_ce_fast"),
    ("subnets_confusion_ce", "whole_confusion_ce"),
    ("subnets_confusion_ce", "whole_confusion_ce_mean"),
    ("subnets_confusion_ce", "random_confusion_ce"),
    ("confusion_ce_continued", "ce_continued"),
    ("subnets_confusion_ce_long", "confusion_ce_continued"),
    ("subnets_confusion_ce_long", "ce_longer"),
    ("subnets_confusion_ce_long", "confusion_ce_longer"),
    ("subnets_confusion_ce_long", "one_confusion_ce_long"),
    ("confusion_ce_longer", "ce_longer"),
    ("subnets_confusion_ce_conditional", "subnets_confusion_ce_sum"),
    ("subnets_confusion_ce_learned", "subnets_confusion_ce_sum"),
    ("subnets_confusion_ce", "subnets_confusion_ce_sum"),
    ("subnets_confusion_ce_learned", "subnets_confusion_ce"),
    ("subnets_confusion_ce_iterated", "subnets_confusion_ce"),
    ("plain_ce", "ce"),
)


def collect(recipe, out: Path, split: str = "val") -> dict:
    """Everything the page shows, from the run folders OUT/seed*; cells that no seed has finished are left out."""
    folders = [
        (int(path.name[4:]), path)
        for path in out.glob("seed*")
        if path.name[4:].isdigit() and (path / "about.json").exists()
    ]
    folders = dict(sorted(folders))
    about = {seed: read_json(path / "about.json") for seed, path in folders.items()}
    first = next(iter(about.values()))
    counted = {seed: _counted(recipe, path, split) for seed, path in folders.items()}
    cells = [cell for cell in recipe.cells if any(cell.key in found for found in counted.values())]
    pairs = [*DIFFERENCES, *((cell.key, "ce") for cell in cells if is_another_loss(recipe, cell))]
    found = [difference(*pair, counted) for pair in pairs]
    return {
        "schema": SCHEMA,
        "data": f"{recipe.data if recipe.draw is None else 'drawn scenes (not Cityscapes)'}, {split}",
        "profile": recipe.profile,
        "settings": {name: value for name, value in recipe.config().items() if name != "cells"},
        **first,
        "groups": {str(seed): each["groups"] for seed, each in about.items()},
        "cells": [_cell(recipe, cell, counted, first["updates"]) for cell in cells],
        "differences": [d for d in found if d],
    }


def is_another_loss(recipe, cell) -> bool:
    """Whether a cell is the base network trained on by a loss that DIFFERENCES does not name."""
    named = {key for pair in DIFFERENCES for key in pair}
    return recipe.phase(cell.phase).start == "base" and cell.key not in named


def _counted(recipe, folder: Path, split: str) -> dict:
    """cell -> (images, K, K) counts of one seed."""
    found = {}
    for cell in recipe.cells:
        counts = read_evaluation(folder, cell.phase, cell.tta, split)
        if recipe.rule_of(cell) in counts:
            found[cell.key] = counts[recipe.rule_of(cell)]
    return found


def _cell(recipe, cell, counted: dict, updates: dict) -> dict:
    """A cell's scores: each seed's, their mean, and their standard deviation."""
    each = {seed: cells[cell.key].sum(0) for seed, cells in counted.items() if cell.key in cells}
    values = [metrics.mean_iou(counts) for counts in each.values()]
    iou = np.mean([metrics.iou(counts) for counts in each.values()], axis=0)
    return {
        "key": cell.key,
        "loss": cell.loss,
        "subnets": cell.subnets,
        "rule": recipe.rule_of(cell),
        "updates": updates[cell.phase],
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
