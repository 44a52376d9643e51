"""results.json and groups.json of a run, computed from its matrices and settings."""

from __future__ import annotations

import dataclasses

import numpy as np

from gluon_confseg import groups, metrics

NOT_RUN = (
    "The paper's own setting - ResNet-101 with ImageNet weights, full-size Cityscapes, 100 epochs on GPUs - "
    "was not run for this report, unless its first line and its settings say so."
)


def groups_record(experiment) -> dict:
    """The groups that got subnets, with their confusion in the training matrix, and what discovery finds there."""
    normalized = metrics.normalize(experiment.matrices["train"])
    return {
        "source": source(experiment.recipe),
        "groups": [_group(experiment, g, normalized) for g in experiment.groups()],
        "discovered": [_group(experiment, g, normalized) for g in experiment.discovered()],
        "threshold": groups.automatic_threshold(normalized),
    }


def source(recipe) -> str:
    """Where the groups come from, in words."""
    if recipe.groups == "discover":
        return "discovered"
    return "paper, Table 1" if recipe.data == "cityscapes" else "paper, Section 4.2"


def _group(experiment, group, normalized: np.ndarray) -> dict:
    members = [int(k) for k in group]
    inside = normalized[np.ix_(members, members)]
    return {
        "classes": members,
        "names": [experiment.train_set.classes[k] for k in members],
        "confusion": float(inside.sum() - np.trace(inside)),
    }


def record(experiment) -> dict:
    """Everything that the report shows, but for the matrices."""
    recipe, data = experiment.recipe, experiment.val_set
    return {
        "schema": 1,
        "experiment": recipe.experiment,
        "title": recipe.title,
        "first_line": f"Data: {data.description}",
        "data": {
            "name": recipe.data,
            "drawn": bool(data.drawn),
            "train_images": len(experiment.train_set),
            "val_images": len(data),
            "description": data.description,
        },
        "classes": list(data.classes),
        "colors": np.asarray(data.labels.colors).tolist(),
        "network": network_record(experiment),
        "loss": {"scheme": recipe.scheme, "penalty": recipe.penalty},
        "training": training_record(recipe),
        "seed": recipe.seed,
        "groups": {
            "source": source(recipe),
            "classes": [list(g) for g in experiment.groups()],
            "discovered": [list(g) for g in experiment.discovered()],
        },
        "paper": {"table": recipe.paper_table, "encoder": recipe.paper_encoder, "data": recipe.paper_data},
        "arms": [arm_record(experiment, arm) for arm in experiment.arms],
        "other_rules": other_rules(experiment),
        "not_run": [] if recipe.profile == "full" and recipe.data == "cityscapes" else [NOT_RUN],
    }


def network_record(experiment) -> dict:
    """Encoder, stride, heads and rule."""
    recipe = experiment.recipe
    return {
        "encoder": recipe.encoder,
        "output_stride": recipe.output_stride,
        "last_stage": recipe.last_stage,
        "pretrained": recipe.pretrained,
        "subnets": recipe.subnets,
        "rule": recipe.rule,
        "head": dataclasses.asdict(recipe.head),
        "subnet_head": dataclasses.asdict(recipe.subnet_head),
    }


def training_record(recipe) -> dict:
    """Stages and augmentation in the words of the settings."""
    return {
        "profile": recipe.profile,
        "crop": list(recipe.crop),
        "scale": list(recipe.scale),
        "batch_size": recipe.batch_size,
        "optimiser": "SGD, momentum 0.9, weight decay 0.0005, linear decay to 0",
        "stages": [dataclasses.asdict(stage) for stage in recipe.stages],
    }


def arm_record(experiment, arm) -> dict:
    """An arm's scores from its matrix."""
    counts = experiment.per_image(arm).sum(0)
    return {
        "key": arm.key,
        "subnets": arm.subnets,
        "loss": arm.loss,
        "rule": experiment.recipe.rule_of(arm),
        "test": arm.test,
        "updates": experiment.updates(experiment.recipe.stage(arm.stage)),
        "paper_mean_iou": arm.paper,
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


def other_rules(experiment) -> list:
    """The arms with subnets, fused by the other rules."""
    recipe, rows = experiment.recipe, []
    for arm in experiment.arms:
        if arm.subnets == "0":
            continue
        counted = experiment.counts(arm.stage, arm.test)
        for rule in dict.fromkeys(
            (experiment.recipe.rule_of(arm), *(r for r in recipe.other_rules if r in counted))
        ):
            rows.append({"arm": arm.key, "rule": rule, **scores(counted[rule].sum(0))})
    return rows
