"""What a recipe will need in time, memory and disk, from what a dry run measured: its record, and its pages of text."""

from __future__ import annotations

import dataclasses
import os
import textwrap

import numpy as np

from gluon_confseg import runtime, train
from gluon_confseg.build import steps_per_epoch
from gluon_confseg.report.grid import Grid

from . import workers
from .figures import as_seconds, as_size, as_time

# settings of a phase that don't change how long its steps take
APART = set(
    "name start path depth draws matrix weights pretrained epochs learning_rate warm_up schedule power momentum "
    "weight_decay biases penalty scheme others_weight crops".split()
)


def record(recipe, cells, data, folder, left_out: list, device, load: float, seconds: float) -> dict:
    """Everything measured, and what follows for the whole; bytes and seconds, for JSON.

    recipe    as it would run
    cells     those that were done
    data      `data.FirstImages`
    folder    the `folder.DryFolder` that measured
    left_out  [{"cell": ..., "why": ...}, ...]: cells that can't be trained on these data
    load      the machine's load average when it began
    """
    phases = [
        _phase(
            recipe.phase(name),
            figures,
            _fastest_step(folder.recipe, name, folder.phases),
            data.counts["train"],
        )
        for name, figures in folder.phases.items()
    ]
    matrices = [_matrix(recipe, name, found, data) for name, found in folder.matrices_of.items()]
    evaluations = [_evaluation(recipe, key, found, data) for key, found in folder.evaluations.items()]
    trained = [cell for cell in cells if cell.phase in folder.phases]
    return {
        "recipe": recipe.name,
        "profile": recipe.profile,
        "data": {
            "name": recipe.data,
            "drawn": data.drawn,
            "images": data.counts,
            "size": list(data.splits.train[0][1].shape[::-1]),
        },
        "machine": {
            "device": str(device),
            "threads": runtime.threads(),
            "load": round(load, 2),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
        "peak_restarts": folder.peak_restarts,
        "phases": phases,
        "matrices": matrices,
        "evaluations": evaluations,
        "cells": [_cell(recipe, cell, phases, matrices, evaluations) for cell in trained],
        "left_out": left_out,
        "whole": _whole(phases, matrices, evaluations, data),
        "seconds": round(seconds, 1),
    }


def _fastest_step(recipe, name: str, measured: dict) -> float:
    """Seconds of the fastest step of all phases that train like this one: the first also set things up.

    What else a machine does can make single steps many times as long.
    """

    def alike(phase) -> dict:
        return {key: value for key, value in dataclasses.asdict(phase).items() if key not in APART}

    wanted = alike(recipe.phase(name))
    same = [found for other, found in measured.items() if alike(recipe.phase(other)) == wanted]
    return min((value for found in same for value in found.seconds), default=0.0)


def _phase(phase, found, fastest: float, train_images: int) -> dict:
    """A phase's figures, and those of a full batch: every further image takes as long and as much as the first."""
    steps = phase.epochs * steps_per_epoch(phase, train_images)
    features = max(0, found.steps_peak - found.base - found.momentum) / found.images
    batch = found.base + found.momentum + features * phase.batch_size if found.seconds else found.peak
    from_matrix = found.groups and phase.discovers
    return {
        "name": phase.name,
        "start": phase.start,
        "weights": phase.weights,
        "trains": phase.trains,
        "loss": phase.loss,
        "groups": list(found.groups),
        "groups_made_up_for": phase.matrix if from_matrix else None,
        "epochs": phase.epochs,
        "crop": list(phase.crop),
        "batch_size": phase.batch_size,
        "steps": steps,
        "images_per_step": found.images,
        "seconds_per_step": [round(value, 3) for value in found.seconds],
        "fastest_step": fastest,
        "mean_loss": found.loss if np.isfinite(found.loss) else None,
        "memory": {
            "base": found.base,
            "steps": found.steps_peak,
            "peak": found.peak,
            "momentum": found.momentum,
            "image": features,
        },
        "memory_of_batch": round(max(batch, found.peak)),
        "exchanged": {"gradients": found.momentum, "statistics": found.statistics},
        "checkpoint": found.checkpoint,
        "best": found.best,
        "progress": found.progress,
        "hours": steps * fastest / found.images * phase.batch_size / 3600,
    }


def _matrix(recipe, phase: str, found, data) -> dict:
    images = min(recipe.matrix_images or data.counts["train"], data.counts["train"])
    return {"phase": phase, "images": images, "hours": images * found.seconds / 3600, **_image(found)}


def _evaluation(recipe, key: tuple, found, data) -> dict:
    """A network's evaluation in one way: in all validations while it is trained, or once for the cells."""
    (name, tta), val = key, data.counts["val"]
    times = train.validations(recipe, recipe.phase(name)) if tta == "single" else 0
    sample = min(train.SAMPLE, val, data.counts["train"]) if times else 0
    images, classes = max(times, 1) * val + sample, data.splits.val.num_classes
    return {
        "phase": name,
        "tta": tta,
        "rules": list(found.rules),
        "validations": times,
        "images": images,
        "file": 8 * classes**2 * val * len(found.rules),
        "hours": images * found.seconds / 3600,
        **_image(found),
    }


def _image(found) -> dict:
    height, width = found.size
    return {"seconds_per_image": round(found.seconds, 2), "size": [width, height], "peak": found.peak}


def _cell(recipe, cell, phases: list, matrices: list, evaluations: list) -> dict:
    """A cell, and the hours of all that it depends on: what `--cell` with its name alone would take."""
    needed = recipe.needed([cell])
    names, read = [phase.name for phase in needed], {recipe.matrix_phase, *recipe.measured(needed)}
    own = next(e for e in evaluations if (e["phase"], e["tta"]) == (cell.phase, cell.tta))
    hours = sum(phase["hours"] for phase in phases if phase["name"] in names)
    hours += sum(matrix["hours"] for matrix in matrices if matrix["phase"] in read)
    validated = [e for e in evaluations if e is not own and e["validations"] and e["phase"] in names]
    return {
        "key": cell.key,
        "phase": cell.phase,
        "rule": recipe.rule_of(cell),
        "tta": cell.tta,
        "seconds_per_image": own["seconds_per_image"],
        "evaluation_hours": own["hours"],
        "hours": hours + own["hours"] + sum(e["hours"] for e in validated),
    }


def _whole(phases: list, matrices: list, evaluations: list, data) -> dict:
    """Sums over the table. The run folder is largest while its largest phase keeps two intermediate states."""
    hours = {
        name: sum(part["hours"] for part in parts)
        for name, parts in (("training", phases), ("matrices", matrices), ("evaluation", evaluations))
    }
    kept = sum(phase["checkpoint"] + phase["best"] for phase in phases) + sum(e["file"] for e in evaluations)
    measured = [p["memory"]["peak"] for p in phases] + [e["peak"] for e in (*matrices, *evaluations)]
    return {
        "hours": {**hours, "all": sum(hours.values())},
        "memory_here": max(measured),
        "memory_of_batch": max(measured + [phase["memory_of_batch"] for phase in phases]),
        "run_folder": kept,
        "run_folder_at_most": kept + 2 * max(phase["progress"] for phase in phases),
        "data": data.bytes,
    }


# ---- text


def text(found: dict) -> str:
    """For people: what was measured, tables by phase and cell, the whole, what the figures are not, and the workers."""
    head, sums, notes = (_paragraphs(part(found)) for part in (_head, _sums, _notes))
    parts = [head, _phases(found).text(), _cells(found).text(), sums, notes]
    if "workers" in found:
        parts += [
            _paragraphs(workers.head(found)),
            workers.table(found).text(),
            _paragraphs(workers.sums(found)),
        ]
    return "\n\n".join(parts)


def _paragraphs(said: list) -> str:
    return "\n".join(map(_wrapped, said))


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, 116, subsequent_indent="  ")


def _head(found: dict) -> list:
    data, machine = found["data"], found["machine"]
    origin = "drawn images of" if data["drawn"] else "the first images of the data, of"
    weights = sorted({phase["weights"] for phase in found["phases"] if phase["weights"]})
    start = f"the values of {', '.join(weights)}" if weights else "random values (no ImageNet weights)"
    crops = sorted({tuple(phase["crop"]) for phase in found["phases"] if phase["epochs"]})
    images = max(phase["images_per_step"] for phase in found["phases"])
    images = (
        f"{images} {'image' if images == 1 else 'images'} of {' or '.join(_by(crop[::-1]) for crop in crops)}"
    )
    steps = f"two steps of each phase, of {images}; and " if crops else ""
    where = f"{machine['device']}, {machine['threads']} {'thread' if machine['threads'] == 1 else 'threads'}"
    return [
        f"Dry run of {found['recipe']}, profile {found['profile']}, on {origin} {_by(data['size'])}, from {start}: "
        f"{found['seconds']:.0f} s.",
        f"Measured on {where}: {steps}one whole image for each network and way of testing, where networks that differ "
        "in their values alone count as one.",
        "Extrapolated from that: time (from the fastest step of phases that train alike, by images), and memory of a "
        "full batch (network, gradients and momentum once, all else by images). Both are upper bounds: what a step "
        "does once counts for every image.",
    ]


def _phases(found: dict) -> Grid:
    head = ["phase", "trains", "loss", "s, step 1", "s, step 2", "memory here"]
    head += ["batch", "memory, full batch", "checkpoint", "epochs", "steps", "time"]
    return Grid(head, [_phase_row(phase) for phase in found["phases"]], words=3)


def _phase_row(phase: dict) -> list:
    seconds = [as_seconds(value) for value in phase["seconds_per_step"]] or ["-", "-"]
    row = [phase["name"], phase["trains"], phase["loss"], *seconds, as_size(phase["memory"]["peak"])]
    row += [
        str(phase["batch_size"]),
        as_size(phase["memory_of_batch"]),
        as_size(phase["checkpoint"]),
    ]
    return [*row, str(phase["epochs"]), f"{phase['steps']:,}", as_time(phase["hours"])]


def _cells(found: dict) -> Grid:
    words = ["cell", "network of", "rule", "tested"]
    head = [*words, "s per image", "validation and test", "this cell alone"]
    rows = [
        [
            *(cell[name] for name in ("key", "phase", "rule", "tta")),
            as_seconds(cell["seconds_per_image"]),
            as_time(cell["evaluation_hours"]),
            as_time(cell["hours"]),
        ]
        for cell in found["cells"]
    ]
    return Grid(head, rows, words=len(words))


def _sums(found: dict) -> list:
    whole, data = found["whole"], found["data"]
    hours = whole["hours"]
    days = f" ({hours['all'] / 24:,.0f} days)" if hours["all"] >= 48 else ""
    images = " and ".join(f"{count:,} {split}" for split, count in data["images"].items())
    return [
        f"All of it on this machine: {as_time(hours['all'])}{days}: training {as_time(hours['training'])}, "
        f"training matrices {as_time(hours['matrices'])}, validation and test {as_time(hours['evaluation'])}. Cells "
        "share phases.",
        f"Memory: {as_size(whole['memory_here'])} at most here; {as_size(whole['memory_of_batch'])} with full batches. "
        f"This machine has {as_size(found['machine']['memory'])}.",
        f"Disk: the run folder ends with {as_size(whole['run_folder'])} and has {as_size(whole['run_folder_at_most'])} "
        f"at most; {images} images take {as_size(whole['data'])}"
        + (", if files were like those drawn." if data["drawn"] else "."),
    ]


def _notes(found: dict) -> list:
    notes = []
    for why in dict.fromkeys(left["why"] for left in found["left_out"]):
        cells = [left["cell"] for left in found["left_out"] if left["why"] == why]
        notes.append(f"Left out, as training would: {', '.join(cells)}: {why}.")
    made_up = [phase for phase in found["phases"] if phase["groups_made_up_for"]]
    if made_up:
        sizes, matrix = made_up[0]["groups"], made_up[0]["groups_made_up_for"]
        notes.append(
            f"The groups are made up: {_groups(sizes)}, neighbours in the list of classes. Training finds its own in "
            f"the training matrix of phase {matrix}, which two steps can't give; time and memory of "
            f"{', '.join(phase['name'] for phase in made_up)} will be those of as many subnets as it finds."
        )
    for phase in found["phases"]:
        if not (phase["epochs"] or phase["start"] or phase["weights"]):
            notes.append(
                f"Phase {phase['name']} has no epochs: here it has random values; training wants its weights, given "
                "with --weights."
            )
    notes.append(
        "The learning rate of these steps is a millionth of the recipe's, since random values may not stand more."
    )
    notes.append(
        "Not measured: reading and checking the data, the report's pictures, and the predictions kept for them."
    )
    machine = found["machine"]
    if machine["load"] > machine["threads"] / 2:
        notes.append(
            f"The machine was busy with other work (load average {machine['load']}), so times "
            "are too long, perhaps several times."
        )
    if not found["peak_restarts"]:
        notes.append("This system does not reset a process's peak, so each peak is the highest so far.")
    if machine["device"].startswith("gpu"):
        notes.append("Memory is the host's; the GPU's was not measured.")
    return notes


def _groups(sizes: list) -> str:
    classes = f"{sizes[0]}" if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
    return f"{len(sizes)} of {classes} classes" if len(sizes) > 1 else f"one of {classes} classes"


def _by(size) -> str:
    return f"{size[0]} x {size[1]}"
