"""Training: the phases of a recipe on one data set, in one run folder. Killed anywhere, it goes on from there."""

from __future__ import annotations

import time
import zlib

import mxnet as mx
import numpy as np

from . import engine, metrics, results, runtime
from .build import Data, build, load, steps_per_epoch, why_left_out
from .errors import RunError, Stopped
from .inference import PLAIN, TTA
from .progress import Progress, WholeRun, say
from .report import costs
from .signals import Signals

SAMPLE = 30  # training images that are scored beside the validation images when a phase ends
APART = 0.15  # mIoU of training images above that of validation images, from which on it is said
WEIGHTS = {"subnets": 0.7, "fusion": 0.7, "image": 0.5}  # about how long each takes beside a step of subnet 0


def run(recipe, data: Data, folder, *, cells=None, device=None, list_weights: bool = False) -> None:
    """Train and score (the rest of) a recipe.

    folder   a `run_folder.RunFolder`; what is finished in it is not done again
    cells    keys of the cells to do, with the phases that they need; None: all
    The result is bit-identical however often the run was interrupted (CPU, same number of threads).
    """
    began, device, cells = time.monotonic(), device or runtime.default_context(), recipe.choose(cells)
    phases, left_out = recipe.needed(cells), {}
    whole = WholeRun(_work(recipe, phases, data, folder), WEIGHTS)
    for number, phase in enumerate(phases, 1):
        title = f"phase {number} of {len(phases)}: {describe(phase)}"
        why = left_out.get(phase.start) or why_left_out(recipe, phase, data.labels, folder)
        if why:
            left_out[phase.name] = why
            say(f"{title} is left out: {why}")
            continue
        if not folder.finished(phase.name):
            network, step, batches = build(
                recipe, phase, data, folder, device=device, list_weights=list_weights
            )
            rules = {"momentum": phase.momentum, "weight_decay": phase.weight_decay, "biases": phase.biases}
            trainer = engine.sgd(step.parameters(), **rules)
            at, per_epoch = folder.resume(phase.name, network, trainer), len(batches)
            steps, done = phase.epochs * per_epoch, at.epoch * per_epoch + at.batch
            about = _about(recipe, phase, data, steps)
            whole.drop(phase.trains, done)
            with batches, Signals() as signals, Progress(title, steps, initial=done) as bar:
                try:
                    for epoch in range(at.epoch, phase.epochs):
                        for batch in batches.epoch(epoch, at.batch):
                            with signals.held():
                                clock, number_of_step = time.monotonic(), epoch * per_epoch + at.batch
                                trainer.set_learning_rate(phase.rate_at(number_of_step, steps))
                                mx.random.seed(_draws(batches.seed, phase, number_of_step))
                                losses = step(engine.on_device(batch.images, device), batch.labels)
                                mean = at.add(losses, batch.names)
                                trainer.step(len(batch.names))
                                at.seconds += time.monotonic() - clock
                                whole.count(phase.trains, time.monotonic() - clock)
                                folder.save_if_due(phase.name, at, network, trainer)
                            bar.update(1, loss=mean, **{"the whole run": whole.left()})
                        record = _closed(phase, at, steps)
                        if _validates(recipe, phase, epoch):
                            record.update(
                                validate(recipe, phase, epoch, network, data, folder, cells, device, whole)
                            )
                            folder.save_best(phase.name, at, network, about, record["val_mean_iou"])
                            bar.update(0, **_shown(record))
                        with signals.held():
                            folder.log(record)
                            at.next_epoch()
                            folder.save(phase.name, at, network, trainer)
                except Stopped:
                    folder.save(phase.name, at, network, trainer)
                    raise
            folder.finish(phase.name, network, about)
        measure_training_set(recipe, phase, phases, data, folder, device)
    chosen, cells = cells, [cell for cell in cells if cell.phase not in left_out]
    if not cells:
        why = "; ".join(dict.fromkeys(left_out[cell.phase] for cell in chosen))
        raise RunError(f"there is nothing to score ({', '.join(cell.key for cell in chosen)}): {why}")
    score(recipe, cells, data, folder, device)
    results.conclude(recipe, cells, left_out, data, folder, device)
    folder.add_time(time.monotonic() - began)


def describe(phase) -> str:
    """What a phase does, in words that need no glossary."""
    loss = {"ce": "cross-entropy", "confusion_ce": "cross-entropy against confusions"}.get(
        phase.loss, phase.loss
    )
    return f"{phase.part.words} by {loss.replace('_', ' ')} ({phase.name})"


# ---- scores


def validate(recipe, phase, epoch: int, network, data: Data, folder, cells, device, whole: WholeRun) -> dict:
    """Scores of the network as it is, for the log: of the validation images, when a phase ends of training images too.

    The counts at a phase's end are kept, for the cells that are read from its network.
    """
    rule, ends = recipe.rule_at(phase), epoch == phase.epochs - 1
    rules, began = (recipe.rules_at(phase, cells) if ends else [rule]), time.monotonic()
    settings = {"device": device, "inference": recipe.evaluation}
    counts = counted("validation", network, data.val, range(len(data.val)), rules, **settings)
    whole.count("image", time.monotonic() - began, len(data.val))
    matrix = counts[rule].sum(0)
    record = {"val_mean_iou": metrics.mean_iou(matrix), "worst": worst_pair(matrix, data.val.classes)}
    if ends:
        folder.save_evaluation(phase.name, counts, split=data.val.split)
        sample = spread_indices(len(data.train), SAMPLE)
        seen = counted("training images", network, data.train, sample, [rule], **settings)[rule].sum(0)
        record["train_mean_iou"] = metrics.mean_iou(seen)
        if record["train_mean_iou"] - record["val_mean_iou"] > APART:
            say(
                f"{phase.name}: mIoU is {100 * record['train_mean_iou']:.1f} on training images and "
                f"{100 * record['val_mean_iou']:.1f} on validation images: the network knows its training images "
                "by heart; more of them help, or fewer epochs"
            )
    return record


def counted(title: str, network, dataset, indices, rules, *, device=None, inference=PLAIN) -> dict:
    """rule -> (images, K, K) int64 counts of these images, with progress."""
    found = {rule: [] for rule in rules}
    images = engine.evaluate_images(network, dataset, indices, rules, device=device, inference=inference)
    with Progress(title, len(indices), "image") as bar:
        for counts in images:
            for rule in rules:
                found[rule].append(counts[rule])
            bar.update(1)
    return {rule: np.stack(counts) for rule, counts in found.items()}


def measure_training_set(recipe, phase, phases, data: Data, folder, device) -> None:
    """The training matrix of a finished phase, where weights, groups or the report read it: Section 3.1."""
    name = folder.matrix_name(phase.name)
    if phase.name in {recipe.matrix_phase, *recipe.measured(phases)} and name not in folder.matrices():
        indices = spread_indices(len(data.train), recipe.matrix_images)
        network = load(phase, folder, device)
        counts = counted("training matrix", network, data.train, indices, ["subnet0"], device=device)
        folder.save_matrices({name: counts["subnet0"].sum(0)})


def score(recipe, cells, data: Data, folder, device) -> None:
    """Every network that a cell reads, once for each way of testing, by the rules that no evaluation holds yet."""
    for name, tta in dict.fromkeys((cell.phase, cell.tta) for cell in cells):
        phase, known = recipe.phase(name), folder.evaluation(name, tta, data.val.split)
        missing = [rule for rule in recipe.rules_at(phase, cells, tta) if rule not in known]
        if missing:
            title = f"evaluating {name}" + ("" if tta == "single" else f", {tta}")
            views = recipe.evaluation if tta == "single" else TTA[tta]
            network, every = load(phase, folder, device), range(len(data.val))
            counts = counted(title, network, data.val, every, missing, device=device, inference=views)
            folder.save_evaluation(name, {**known, **counts}, tta, data.val.split)


def worst_pair(matrix: np.ndarray, classes) -> dict | None:
    """The confusion that costs most mIoU: its classes, and the share of the truth's pixels; None where nothing is."""
    cost = costs.pair_costs(matrix)
    i, j = np.unravel_index(int(np.argmax(np.where(matrix > 0, cost, -1))), cost.shape)
    if i == j or not matrix[i, j]:
        return None
    share = float(matrix[i, j] / matrix[i].sum())
    return {"truth": classes[i], "prediction": classes[j], "share": share}


def spread_indices(count: int, wanted: int | None) -> list:
    """`wanted` of `count` indices, evenly spaced; all where None or more are wanted."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, wanted).round()]


# ---- what the loop says of itself


def _about(recipe, phase, data: Data, steps: int) -> dict:
    """What a checkpoint says of itself: its classes, the rule that its network is fused by, its cells."""
    cells = {c.key: {"rule": recipe.rule_of(c), "tta": c.tta} for c in recipe.cells if c.phase == phase.name}
    about = {"labels": data.labels.record(), "rule": recipe.rule_at(phase), "cells": cells}
    return {**about, "epoch": phase.epochs, "steps": steps}


def _draws(seed: int, phase, step: int) -> int:
    """Seed of what a step draws inside the network (dropout): MXNet's own random state is in no checkpoint."""
    return zlib.crc32(f"{seed} {phase.name} {step}".encode()) >> 1


def _validates(recipe, phase, epoch: int) -> bool:
    ends = epoch == phase.epochs - 1
    return ends or (recipe.validate_every > 0 and (epoch + 1) % recipe.validate_every == 0)


def _closed(phase, at, steps: int) -> dict:
    """An epoch's record for the log; a mean loss far above where the phase began is said."""
    per_epoch = steps // phase.epochs
    record = {
        "phase": phase.name,
        "epoch": at.epoch + 1,
        "epochs": phase.epochs,
        "loss": at.means(),
        "learning_rate": phase.rate_at((at.epoch + 1) * per_epoch - 1, steps),
        "seconds": round(at.seconds, 2),
        "images": at.images,
    }
    if at.diverged():
        record["diverged"] = True
        say(
            f"{phase.name}: the mean loss of epoch {at.epoch + 1} is {sum(at.means().values()):.3g}, and the phase "
            f"began at {at.began:.3g}: training diverges; stop it, and begin a new run with a lower learning rate"
        )
    return record


def _shown(record: dict) -> dict:
    """What progress shows of a validation."""
    worst = record["worst"]
    pair = f"{worst['truth']} taken for {worst['prediction']}" if worst else "none"
    return {"val mIoU": f"{100 * record['val_mean_iou']:.1f} %", "worst pair": pair}


def _work(recipe, phases, data: Data, folder) -> dict:
    """What is to be done, in steps by what they train, and in images to evaluate."""
    work = {"image": 0}
    for phase in phases:
        if not folder.checkpoint(phase.name).exists():
            steps = phase.epochs * steps_per_epoch(phase, len(data.train))
            work[phase.trains] = work.get(phase.trains, 0) + steps
            validations = sum(_validates(recipe, phase, epoch) for epoch in range(phase.epochs))
            work["image"] += validations * len(data.val)
    return work
