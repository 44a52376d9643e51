"""What a recipe will need in time, memory and disk, from what a dry run measured: its record, and its pages of text."""

from __future__ import annotations

import os
import textwrap

import numpy as np

from gluon_confseg import runtime
from gluon_confseg.report.grid import Grid

from .experiment import steps_per_epoch
from .recipe import Recipe

GIB = 2**30


def record(recipe: Recipe, dry, few, load: float, seconds: float) -> dict:
    """Everything measured, and what follows for the whole; bytes and seconds, for JSON.

    recipe    as it would run
    dry       the finished `dry_run.DryRun`
    few       its `dry_data.Few`
    load      the machine's load average when it began
    """
    stages = [_stage(recipe, plan, dry.stages[plan.name], few) for plan in recipe.needed(dry.arms)]
    matrices = [_matrix(recipe, name, found, few) for name, found in dry.training_matrices.items()]
    evaluations = [_evaluation(dry, key, found, few) for key, found in dry.evaluations.items()]
    cells = [_cell(dry, arm, stages, matrices, evaluations) for arm in dry.arms]
    return {
        "experiment": recipe.experiment,
        "profile": recipe.profile,
        "data": {
            "name": recipe.data,
            "drawn": few.drawn,
            "images": few.counts,
            "size": list(dry.train_set[0][1].shape[::-1]),
        },
        "training": {"crop": list(recipe.crop), "batch_size": recipe.batch_size},
        "machine": {
            "device": str(dry.context),
            "threads": runtime.threads(),
            "load": round(load, 2),
            "memory": _memory_of_machine(),
        },
        "weights": recipe.weights and str(recipe.weights),
        "peak_restarts": dry.can_restart,
        "stages": stages,
        "matrices": matrices,
        "evaluations": evaluations,
        "cells": cells,
        "whole": _whole(stages, matrices, evaluations, few),
        "seconds": round(seconds, 1),
    }


def _stage(recipe: Recipe, plan, found, few) -> dict:
    """A stage's figures, and those of a full batch: every further image takes as long and as much as the first."""
    steps = plan.epochs * steps_per_epoch(few.counts["train"], recipe.batch_size)
    per_image = (
        found.seconds[-1] / found.images if found.seconds else 0.0
    )  # the first step also sets things up
    features = max(0, found.steps_peak - found.base - found.momentum) / found.images
    batch = found.base + found.momentum + features * recipe.batch_size if found.seconds else found.peak
    return {
        "name": plan.name,
        "start": plan.start,
        "trains": plan.trains,
        "loss": plan.loss,
        "epochs": plan.epochs,
        "steps": steps,
        "images_per_step": found.images,
        "seconds_per_step": [round(value, 3) for value in found.seconds],
        "mean_loss": found.loss if np.isfinite(found.loss) else None,
        "memory": {
            "base": found.base,
            "steps": found.steps_peak,
            "peak": found.peak,
            "momentum": found.momentum,
        },
        "memory_of_batch": round(max(batch, found.peak)),
        "checkpoint": found.checkpoint,
        "progress": found.progress,
        "hours": steps * per_image * recipe.batch_size / 3600,
    }


def _matrix(recipe: Recipe, stage: str, found, few) -> dict:
    images = min(recipe.matrix_images or few.counts["train"], few.counts["train"])
    return {"stage": stage, "images": images, "hours": images * found.seconds / 3600, **_image(found)}


def _evaluation(dry, key: tuple, found, few) -> dict:
    images = few.counts["val"]
    counts = 8 * dry.classes**2 * images * len(found.rules)
    facts = {"stage": key[0], "test": key[1], "rules": list(found.rules), "images": images, "file": counts}
    return {**facts, "hours": images * found.seconds / 3600, **_image(found)}


def _image(found) -> dict:
    height, width = found.size
    return {"seconds_per_image": round(found.seconds, 2), "size": [width, height], "peak": found.peak}


def _cell(dry, arm, stages: list, matrices: list, evaluations: list) -> dict:
    """A cell, and the hours of all that it depends on: what `--cell` with its name alone would take."""
    recipe, needed = dry.recipe, dry.recipe.needed([arm])
    names = [plan.name for plan in needed]
    read = {recipe.matrix_stage, *(plan.matrix for plan in needed)}
    evaluation = next(e for e in evaluations if (e["stage"], e["test"]) == (dry.read_from(arm), arm.test))
    hours = sum(stage["hours"] for stage in stages if stage["name"] in names)
    hours += sum(matrix["hours"] for matrix in matrices if matrix["stage"] in read)
    return {
        "key": arm.key,
        "stage": arm.stage,
        "rule": recipe.rule_of(arm),
        "test": arm.test,
        "seconds_per_image": evaluation["seconds_per_image"],
        "evaluation_hours": evaluation["hours"],
        "hours": hours + evaluation["hours"],
    }


def _whole(stages: list, matrices: list, evaluations: list, few) -> dict:
    """Sums over the table. The run folder is largest while its largest stage keeps two intermediate states."""
    hours = {
        name: sum(part["hours"] for part in parts)
        for name, parts in (("training", stages), ("matrices", matrices), ("evaluation", evaluations))
    }
    kept = sum(stage["checkpoint"] for stage in stages) + sum(e["file"] for e in evaluations)
    measured = [s["memory"]["peak"] for s in stages] + [e["peak"] for e in (*matrices, *evaluations)]
    return {
        "hours": {**hours, "all": sum(hours.values())},
        "memory_here": max(measured),
        "memory_of_batch": max(measured + [stage["memory_of_batch"] for stage in stages]),
        "run_folder": kept,
        "run_folder_at_most": kept + 2 * max(stage["progress"] for stage in stages),
        "data": few.bytes,
    }


def _memory_of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# ---- text


def text(found: dict) -> str:
    """For people: what was measured, tables by stage and cell, the whole, and what the figures are not."""
    head, sums, notes = (_wrapped(part(found)) for part in (_head, _sums, _notes))
    return "\n\n".join([head, _stages(found).text(), _cells(found).text(), sums, notes])


def _wrapped(lines: str) -> str:
    return "\n".join(textwrap.fill(line, 116, subsequent_indent="  ") for line in lines.splitlines())


def _head(found: dict) -> str:
    data, machine, training = found["data"], found["machine"], found["training"]
    origin = "drawn images of" if data["drawn"] else "the first images of the data, of"
    start = (
        f"values of {found['weights']}"
        if found["weights"]
        else "random values (no ImageNet or released weights)"
    )
    return (
        f"Dry run of {found['experiment']}, profile {found['profile']}, on {origin} {_by(data['size'])}, from {start}: "
        f"{found['seconds']:.0f} s.\n"
        f"Measured on {machine['device']}, {machine['threads']} threads, load average {machine['load']} before: two "
        f"steps of each stage, of few images of {_by(training['crop'][::-1])}; one whole image per test and network, "
        "and networks that differ in their values alone count as one.\n"
        f"Extrapolated from that: hours (the second step's time, by images), and memory of a batch of "
        f"{training['batch_size']} (network, gradients and momentum once, all else by images). "
        "Both are upper bounds: what a step does once counts for every image."
    )


def _stages(found: dict) -> Grid:
    head = ["stage", "trains", "loss", "images", "s, step 1", "s, step 2", "GiB here"]
    head += [f"GiB, batch {found['training']['batch_size']}", "checkpoint, GiB", "steps", "hours"]
    return Grid(head, [_stage_row(stage) for stage in found["stages"]], words=3)


def _stage_row(stage: dict) -> list:
    seconds = [f"{value:.1f}" for value in stage["seconds_per_step"]] or ["-", "-"]
    memory = [_gib(stage[name]) for name in ("memory_of_batch", "checkpoint")]
    row = [stage["name"], stage["trains"], stage["loss"], str(stage["images_per_step"]), *seconds]
    return [*row, _gib(stage["memory"]["peak"]), *memory, f"{stage['steps']:,}", _hours(stage["hours"])]


def _cells(found: dict) -> Grid:
    head = [
        "cell",
        "network of",
        "rule",
        "test",
        "s per image",
        "hours, evaluation",
        "hours, this cell alone",
    ]
    rows = [
        [
            *(cell[name] for name in ("key", "stage", "rule", "test")),
            f"{cell['seconds_per_image']:.1f}",
            _hours(cell["evaluation_hours"]),
            _hours(cell["hours"]),
        ]
        for cell in found["cells"]
    ]
    return Grid(head, rows, words=4)


def _sums(found: dict) -> str:
    whole, data = found["whole"], found["data"]
    hours = whole["hours"]
    images = " and ".join(f"{count:,} {split}" for split, count in data["images"].items())
    return (
        f"All of it on this machine: {_hours(hours['all'])} hours - training {_hours(hours['training'])}, training "
        f"matrices {_hours(hours['matrices'])}, evaluation {_hours(hours['evaluation'])}; cells share stages.\n"
        f"Memory: {_gib(whole['memory_here'])} GiB at most here; {_gib(whole['memory_of_batch'])} GiB with full "
        f"batches (this machine has {_gib(found['machine']['memory'])}).\n"
        f"Disk: the run folder ends with {_gib(whole['run_folder'])} GiB and has {_gib(whole['run_folder_at_most'])} "
        f"at most; {images} images take {_gib(whole['data'])} GiB"
        + (", if files were like those drawn." if data["drawn"] else ".")
    )


def _notes(found: dict) -> str:
    notes = [
        "The steps' learning rate is a millionth of the recipe's, since random values may not stand more."
    ]
    notes.append("Not measured: the report's panels, reading and checking the data.")
    if not found["peak_restarts"]:
        notes.append("This system does not reset a process's peak, so each peak is the highest so far.")
    if found["machine"]["device"].startswith("gpu"):
        notes.append("Memory is the host's; the GPU's was not measured.")
    return " ".join(notes)


def _by(size: list) -> str:
    return f"{size[0]} x {size[1]}"


def _gib(count: int) -> str:
    return f"{count / GIB:.2f}"


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
