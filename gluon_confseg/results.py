"""The contents of a finished run's groups.json and results.json. Writes no files."""

from __future__ import annotations

import dataclasses

import numpy as np

from . import build, groups, metrics
from .settings import FROM_MATRIX, SETTINGS

SCHEMA = 2
NOT_RUN = (
    "The paper's own setting - ResNet-101 with ImageNet weights, full-size Cityscapes, 100 epochs on GPUs - "
    "was not run for this report."
)


def groups_record(recipe, used: list, matrix: np.ndarray, labels) -> dict:
    """groups.json: the groups that got subnets, their confusion in the training matrix, and the discovered groups."""
    shares = metrics.normalize(matrix)

    def described(found) -> list:
        return [
            {
                "classes": [int(k) for k in group],
                "names": [labels.classes[k] for k in group],
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
    kinds = {phase.groups.split()[0] for phase in recipe.phases if phase.part.trains_subnets}
    if "paper" in kinds:
        return "paper, Table 1" if recipe.data == "cityscapes" else "paper, Section 4.2"
    return "given" if kinds - set(FROM_MATRIX) else "discovered"


def record(
    recipe,
    data,
    *,
    cells,
    left_out: dict,
    made_with: dict,
    counts: dict,
    used: list,
    matrix: np.ndarray,
    log: list,
) -> dict:
    """Everything that the report shows, but for the matrices.

    cells      those that were scored
    left_out   phase -> why it was not trained
    made_with  phase that was trained -> {"threads": ..., "compiled": ...}, as `RunFolder.made_with` gives it
    counts     cell's key -> rule -> (K, K) counts of its network, for every fusion rule that was evaluated
    used       the groups that got subnets
    matrix     (K, K) training matrix
    log        the records of log.jsonl
    """
    val, shares = data.val, metrics.normalize(matrix)
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
        "training": training_record(recipe, made_with),
        "evaluation": {"images": recipe.evaluation.describe()},
        "seed": recipe.seed,
        "groups": {
            "source": source(recipe),
            "classes": [list(g) for g in used],
            "discovered": [list(g) for g in groups.discover(shares)],
        },
        "paper": {"table": recipe.paper_table, "encoder": recipe.paper_encoder, "data": recipe.paper_data},
        "cells": [
            {
                **cell_record(recipe, cell, counts[cell.key][recipe.rule_of(cell)], data),
                "continues": continues(recipe, cell, cells),
            }
            for cell in cells
        ],
        "left_out": [
            {"cell": cell.key, "why": left_out[cell.phase]} for cell in recipe.cells if cell.phase in left_out
        ],
        "other_rules": other_rules(recipe, cells, counts),
        "phases": phase_scores(log),
        "not_run": not_run(recipe),
    }


def not_run(recipe) -> list:
    """Sentences on what these numbers are not, if a reader could take them for the paper's."""
    is_papers = recipe.profile == "full" and recipe.data == "cityscapes"
    return [] if is_papers or recipe.data == "custom" else [NOT_RUN]


# a phase that agrees in these with the phase that it starts from trains the same network on
OF_TRAINING_ON = ("trains", "loss", "scheme", "penalty", "matrix", "average")
# these are in `network_record`
NETWORK_SETTINGS = ("encoder", "output_stride", "last_stage", "pretrained", "subnets", "rule")


def network_record(recipe) -> dict:
    """Encoder, stride, heads and fusion rule, of the first phase that trains subnets (else of the first phase)."""
    phase = next((p for p in recipe.phases if p.part.trains_subnets), recipe.phases[0])
    names = ("encoder", "output_stride", "last_stage", "subnets", "rule")
    return {
        **{name: getattr(phase, name) for name in names},
        "pretrained": recipe.phases[0].pretrained,
        "head": dataclasses.asdict(phase.head),
        "subnet_head": dataclasses.asdict(phase.subnet_head),
    }


def training_record(recipe, made_with: dict | None = None) -> dict:
    """The settings of training: once, where all phases in which a setting has an effect agree, and else by phase.

    The settings of the networks are in `network_record`. config.json holds all settings. The number of threads and the
    compiled operators are no settings, but the last bits of a result depend on them.
    """
    shared, phases, made_with = {"profile": recipe.profile}, [], made_with or {}
    for phase in recipe.phases:
        phases.append({"name": phase.name, "start": phase.start, "trains": phase.trains})

    def note(name: str, used: list) -> None:
        if len({repr(value) for _, value in used}) == 1:
            shared[name] = used[0][1]
        else:
            for said, value in used:
                said[name] = value

    for name, setting in SETTINGS.items():
        if setting.of == "phase" and "." not in name and name not in NETWORK_SETTINGS:
            pairs = zip(phases, recipe.phases)
            note(name, [(said, getattr(phase, name)) for said, phase in pairs if not setting.idle(phase)])
    for key, name in (("threads", "threads"), ("compiled", "compiled_operators")):
        note(name, [(said, made_with[said["name"]][key]) for said in phases if said["name"] in made_with])
    return {**shared, "phases": phases}


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


def continues(recipe, cell, cells) -> str | None:
    """The key of the cell whose network this cell's is, trained on by the same loss; None where there is none."""
    phase = recipe.phase(cell.phase)
    while phase.start is not None:
        before = recipe.phase(phase.start)
        if any(getattr(before, name) != getattr(phase, name) for name in OF_TRAINING_ON):
            return None
        for other in cells:
            if (other.phase, other.tta, recipe.rule_of(other)) == (
                before.name,
                cell.tta,
                recipe.rule_of(cell),
            ):
                return other.key
        phase = before
    return None


def scores(counts: np.ndarray) -> dict:
    """mIoU, pixel accuracy and mean recall of a matrix."""
    matrix = metrics.ConfusionMatrix(len(counts))
    matrix.counts += counts
    return {
        "mean_iou": matrix.mean_iou(),
        "pixel_accuracy": matrix.pixel_accuracy(),
        "mean_recall": matrix.mean_recall(),
    }


def other_rules(recipe, cells, counts: dict) -> list:
    """Scores of the cells with subnets, by the other fusion rules."""
    rows = []
    for cell in (cell for cell in cells if cell.subnets != "0"):
        asked = (recipe.rule_of(cell), *(rule for rule in recipe.other_rules if rule in counts[cell.key]))
        rows += [
            {"cell": cell.key, "rule": rule, **scores(counts[cell.key][rule])}
            for rule in dict.fromkeys(asked)
        ]
    return rows


def phase_scores(log: list) -> list:
    """Each phase's last scores on training and validation images."""
    last = {r["phase"]: r for r in log if "val_mean_iou" in r}
    names = ("epoch", "val_mean_iou", "train_mean_iou", "worst")
    return [{"phase": phase, **{n: r[n] for n in names if n in r}} for phase, r in last.items()]
