"""Trains the phases of a recipe on one data set, in one run folder. A killed run goes on from its last saved state."""

from __future__ import annotations

import dataclasses
import functools
import time
import zlib

import cv2
import numpy as np

from . import engine, losses, metrics, results, runtime, side_by_side
from .build import Data, build, groups_of, load, steps_per_epoch, why_left_out
from .datasets.base import spread_indices
from .errors import DatasetError, DivergedError, RunError, Stopped
from .inference import PLAIN, TTA
from .live import Live
from .parallel import SINGLE, Parallel
from .precision import LossScale
from .predictions import MOST, Keeper
from .progress import Progress, WholeRun, say
from .recipe import Recipe
from .report import costs, examples
from .shared_folder import read_everywhere
from .signals import Signals

SAMPLE = 30  # at most so many training images are scored beside the validation images when a phase ends
APART = 0.15  # print a line if mIoU on training images is higher than on validation images by more than this
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]  # of the photographs that are kept for the report
WEIGHTS = {"subnets": 0.7, "fusion": 0.7, "image": 0.5}  # time relative to a step of subnet 0


@dataclasses.dataclass(frozen=True)
class Job:
    """What all phases of a run share but for its folder: as the arguments of `run`, with the chosen cells."""

    recipe: Recipe
    data: Data
    cells: tuple
    parallel: Parallel = SINGLE
    list_weights: bool = False
    leave_out_diverged: bool = False

    @property
    def device(self):
        """The device that evaluates: the first of this process."""
        return self.parallel.devices[0]

    @property
    def phases(self) -> tuple:
        """The phases that the cells depend on, in order."""
        return self.recipe.needed(self.cells)

    def title(self, phase) -> str:
        """A phase's number and what it does, in words."""
        return f"phase {self.phases.index(phase) + 1} of {len(self.phases)}: {describe(phase)}"

    def measures(self, phase) -> bool:
        """Whether weights, groups or the report need a phase's confusion matrix on training images."""
        return phase.name in {self.recipe.matrix_phase, *self.recipe.measured(self.phases)}


def run(
    recipe,
    data: Data,
    folder,
    *,
    cells=None,
    parallel: Parallel = SINGLE,
    jobs: int | None = None,
    list_weights: bool = False,
    leave_out_diverged: bool = False,
    later: tuple | None = None,
) -> None:
    """Train and score a recipe, or what is left of it.

    folder   a `run_folder.RunFolder`, or a `shared_folder.FolderOfRoot` where several processes train together; what is
             finished in it is not done again
    parallel the devices and processes that share the work of every step; where it is shared, one phase is trained after
             the other
    cells    keys of the cells to score, for which the phases that they need are trained; None: all
    jobs     at most so many phases are trained at once, where they don't need each other's results; None: as many as a
             few measured steps show to be fastest: see `side_by_side`
    leave_out_diverged   a phase whose loss is not finite is left out, like one without groups; else it ends the run
    later    (work that comes after this run, as `work` gives it, by so many processes): it counts for the time left
             that is shown
    On a CPU the result is bit-identical however often the run was interrupted. Its last bits depend on the number of
    threads that each phase is trained with, which the folder holds, and on the number of shares of a batch.
    """
    began, cells = time.monotonic(), recipe.choose(cells)
    devices = tuple(device or runtime.default_context() for device in parallel.devices)
    parallel = dataclasses.replace(parallel, devices=devices)
    job = Job(recipe, data, cells, parallel, list_weights, leave_out_diverged)
    folder.sharing = parallel.describe()
    for views in (recipe.evaluation, *(TTA[cell.tta] for cell in cells if cell.tta != "single")):
        views.check()  # a missing library is reported before days of training
    for phase in job.phases:  # groups that are given are looked at before anything is trained
        if phase.part.has_groups and not phase.discovers:
            groups_of(phase, data.labels)
    if all(folder.finished(phase.name) for phase in job.phases):
        say("All phases are finished in this run folder: nothing is trained again.")
    todo = work(recipe, [p for p in job.phases if not folder.checkpoint(p.name).exists()], data)
    whole = WholeRun(todo, WEIGHTS, later)
    left_out = side_by_side.train_phases(complete, job, folder, whole, jobs)
    chosen, cells = cells, [cell for cell in cells if cell.phase not in left_out]
    if not cells:
        why = "; ".join(dict.fromkeys(left_out[cell.phase] for cell in chosen))
        raise RunError(f"there is nothing to score ({', '.join(cell.key for cell in chosen)}): {why}")
    score(job, cells, folder)
    conclude(recipe, cells, left_out, data, folder)
    folder.add_time(time.monotonic() - began)
    parallel.communicator.barrier()


def complete(job: Job, phase, folder, whole: WholeRun) -> None:
    """Do what is left of a phase: its training, and its confusion matrix on training images where one is needed.

    The result depends on the data, the results of the phases before it and this process's number of threads alone, so
    any process can do it, also one that goes on where another was killed.
    """
    if not folder.finished(phase.name):
        try:
            train_phase(job, phase, folder, whole)
        except DivergedError as error:
            if not job.leave_out_diverged:
                raise
            folder.give_up(phase.name, f"at learning rate {phase.learning_rate:g}, {error}")
            say(f"{phase.name} is left out: its training diverged at learning rate {phase.learning_rate:g}")
            return
        finally:
            losses.memory.clear()
    if job.measures(phase):
        measure_training_set(job, phase, folder)


def train_phase(job: Job, phase, folder, whole: WholeRun) -> None:
    """Train a phase to its end, from its last saved state on."""
    recipe, data = job.recipe, job.data
    trainee, batches = build(
        phase,
        data,
        seed=recipe.seed,
        matrix=folder.training_matrix(phase.matrix) if phase.reads_matrix else None,
        statistics=folder.statistics(data.train) if phase.loss in losses.OTHER_LOSSES else None,
        start=folder.checkpoint(phase.start) if phase.start else None,
        parallel=job.parallel,
        list_weights=job.list_weights,
    )
    network, trainer = trainee.network, trainee.trainer
    at, per_epoch = folder.resume(phase.name, network, trainer), len(batches)
    trainee.spread()
    trainee.loss_scale = LossScale(phase.precision, at.loss_scale, at.clean_steps)
    steps, done = phase.epochs * per_epoch, at.epoch * per_epoch + at.batch
    about = _about(recipe, phase, data, steps)
    say(job.title(phase) + (f", from step {done} on" if done else ""))
    if job.parallel.caution(phase):
        say(
            f"{phase.name}: shares of a batch change the result by more than rounding: {job.parallel.caution(phase)}"
        )
    each = (min(phase.batch_size, len(data.train)), "image")
    bar = Progress(phase.name, steps, initial=done, each=each, whole=(whole, phase.trains))
    views = {"parallel": job.parallel, "inference": recipe.evaluation}
    events = folder.events(phase.name, done, at.epoch * per_epoch) if phase.epochs else None
    followed = groups_followed(recipe, phase, data.labels, folder) if folder.tensorboard else []
    shown = {"rule": recipe.rule_at(phase), "device": job.device, "inference": recipe.evaluation}
    live = Live(events, phase, data.val, followed, **shown)
    with batches, Signals(together=job.parallel.communicator.size > 1) as signals, bar:
        try:
            for epoch in range(at.epoch, phase.epochs):
                for batch in batches.epoch(epoch, at.batch):
                    with signals.held():
                        clock, number_of_step = time.monotonic(), epoch * per_epoch + at.batch
                        rate = phase.rate_at(number_of_step, steps)
                        draws = functools.partial(_draws, batches.seed, phase, number_of_step)
                        with trainee.memory_told(phase.name, batch):
                            terms = trainee.step(batch, draws, signals.caught)
                            mean = at.add(terms, batch.names, phase.precision)
                            trainee.update(rate, batch.names)
                        at.loss_scale, at.clean_steps = trainee.loss_scale.value, trainee.loss_scale.clean
                        signals.agree(trainee.stop)
                        at.seconds += time.monotonic() - clock
                        live.step(number_of_step + 1, mean, rate, len(batch.names))
                        folder.save_if_due(phase.name, at, network, trainer)
                    bar.update(1, loss=mean)
                record = _closed(phase, at, steps)
                if _validates(recipe, phase, epoch):
                    ends = epoch == phase.epochs - 1
                    rules = recipe.rules_at(phase, job.cells) if ends else [recipe.rule_at(phase)]
                    keeper = keeper_of(recipe, phase, job.cells, data.val) if ends else None
                    found, counts = validate(network, data.val, rules, whole, keeper=keeper, **views)
                    record.update(found)
                    if ends:  # for the cells that score this network
                        keep_scores(folder, phase.name, counts, keeper, split=data.val.split)
                        record["train_mean_iou"] = score_sample(network, data, rules[0], **views)
                    live.validated(network, record, counts[rules[0]])
                    folder.save_best(phase.name, at, network, about, found["val_mean_iou"])
                    bar.update(0, **_shown(phase, record))
                with signals.held():
                    live.epoch((epoch + 1) * per_epoch, record)
                    folder.log(record)
                    at.next_epoch()
                    folder.save(phase.name, at, network, trainer)
        except Stopped:
            if not signals.torn:  # half a step is not saved: the last saved state stays
                folder.save(phase.name, at, network, trainer)
            raise
    folder.finish(phase.name, network, about)


def describe(phase) -> str:
    """What a phase does, in plain words."""
    loss = {"ce": "cross-entropy", "confusion_ce": "cross-entropy against confusions"}.get(
        phase.loss, phase.loss
    )
    return f"{phase.part.words} by {loss.replace('_', ' ')} ({phase.name})"


# ---- scores


def validate(network, dataset, rules, whole: WholeRun, **views) -> tuple:
    """Validate a network: (scores by the first rule, for the log; rule -> (images, K, K) counts)."""
    every = range(len(dataset))
    counts = counted(
        "validation", network, dataset, every, rules, whole=(whole, "image"), brief=True, **views
    )
    _check_labelled(counts, dataset)
    matrix = counts[rules[0]].sum(0)
    return {"val_mean_iou": metrics.mean_iou(matrix), "worst": worst_pair(matrix, dataset.classes)}, counts


def _check_labelled(counts: dict, dataset) -> None:
    if not next(iter(counts.values())).any():
        raise DatasetError(
            f"{dataset.root}: the labels of split {dataset.split} have no pixel of any class, so nothing can be "
            f"learned or scored; correct them"
        )


def score_sample(network, data: Data, rule: str, **views) -> float:
    """mIoU on some training images, to be compared with that on validation images when a phase ends."""
    sample = spread_indices(len(data.train), sample_size(data.val))
    counts = counted("training images", network, data.train, sample, [rule], brief=True, **views)
    return metrics.mean_iou(counts[rule].sum(0))


def sample_size(val) -> int:
    """How many training images `score_sample` takes: no more than there are validation images."""
    return min(SAMPLE, len(val))


def validations(recipe, phase) -> int:
    """Number of validations in a phase."""
    return sum(_validates(recipe, phase, epoch) for epoch in range(phase.epochs))


def counted(
    title: str,
    network,
    dataset,
    indices,
    rules,
    *,
    parallel: Parallel = SINGLE,
    inference=PLAIN,
    keeper=None,
    **shown,
) -> dict:
    """Fusion rule -> (images, K, K) int64 counts of these images, which several processes share.

    keeper   a `predictions.Keeper`, which gets the predictions as well
    shown    settings of `Progress`
    """
    found, communicator = {rule: [] for rule in rules}, parallel.communicator
    mine = indices[communicator.rank :: communicator.size]
    device = parallel.devices[0]
    images = engine.evaluate_images(network, dataset, mine, rules, device=device, inference=inference)
    with Progress(title, len(mine), "image", **shown) as bar:
        for index, (counts, predictions) in zip(mine, images):
            for rule in rules:
                found[rule].append(counts[rule])
            if keeper is not None:
                keeper.add(index, predictions)
            bar.update(1)
    if keeper is not None and communicator.size > 1:
        keeper.join(communicator.allgather(keeper.collected))
    return {rule: _in_turn(communicator.allgather(counts)) for rule, counts in found.items()}


def _in_turn(of_ranks: list) -> np.ndarray:
    """Counts of images that were dealt out to the ranks in turn, in their order again."""
    size = len(of_ranks)
    counts = [of_ranks[place % size][place // size] for place in range(sum(map(len, of_ranks)))]
    return np.stack(counts)


def keeper_of(recipe, phase, cells, dataset, tta: str = "single", rules=None) -> Keeper:
    """What keeps the predictions of a phase's network for the report: by the rules of the cells that score it.

    rules    those that are evaluated; None: all that cells ask for
    """
    asked = {recipe.rule_of(cell) for cell in cells if (cell.phase, cell.tta) == (phase.name, tta)}
    return Keeper(sorted(asked if rules is None else asked & set(rules)), spread_indices(len(dataset), MOST))


def keep_scores(
    folder, phase: str, counts: dict, keeper: Keeper, tta: str = "single", split: str = "val"
) -> None:
    """Save per-image counts of a phase's network, by fusion rule, and the predictions that were kept beside them."""
    if keeper.rules:
        kept = keeper.kept().joined(folder.predictions(phase, tta, split))
        folder.save_predictions(phase, kept, tta, split)
    # last: who finds counts does not evaluate again, so a kill between the two would leave no predictions for good
    folder.save_evaluation(phase, counts, tta, split)


def measure_training_set(job: Job, phase, folder) -> None:
    """Compute a finished phase's confusion matrix on training images, unless it is there."""
    name, images = folder.matrix_name(phase.name), job.data.train
    if name not in folder.matrices():
        indices = spread_indices(len(images), job.recipe.matrix_images)
        network = _network(folder.checkpoint(phase.name), job)
        settings = {"parallel": job.parallel}
        counts = counted("training matrix", network, images, indices, ["subnet0"], **settings)
        _check_labelled(counts, images)
        folder.save_matrices({name: counts["subnet0"].sum(0)})


def _network(file, job: Job):
    """The network of a finished phase, in every process."""
    return read_everywhere(file, job.parallel, lambda file: load(file, job.device))


def score(job: Job, cells, folder) -> None:
    """Evaluate the networks of these cells, once for each way of testing, by the fusion rules still missing."""
    # With this process's threads, also where the phase had others: scores then differ in their last bits, and a pixel
    # only where two classes tie within them. What cells of tta "single" need was counted when their phase ended.
    recipe, data = job.recipe, job.data
    for name, tta in dict.fromkeys((cell.phase, cell.tta) for cell in cells):
        phase, known = recipe.phase(name), folder.evaluation(name, tta, data.val.split)
        missing = [rule for rule in recipe.rules_at(phase, cells, tta) if rule not in known]
        if missing:
            title = f"evaluating {name}" + ("" if tta == "single" else f", {tta}")
            views = recipe.evaluation if tta == "single" else TTA[tta]
            network, every = _network(folder.checkpoint(name), job), range(len(data.val))
            keeper = keeper_of(recipe, phase, cells, data.val, tta, missing)
            settings = {"parallel": job.parallel, "inference": views, "keeper": keeper}
            counts = counted(title, network, data.val, every, missing, **settings)
            _check_labelled(counts, data.val)
            keep_scores(folder, name, {**known, **counts}, keeper, tta, data.val.split)


def conclude(recipe, cells, left_out: dict, data: Data, folder) -> None:
    """Write the files that the report reads (matrices, groups, examples, results) from those in the run folder."""
    split, matrix = data.val.split, folder.training_matrix(recipe.matrix_phase)
    evaluations = {cell.key: folder.evaluation(cell.phase, cell.tta, split) for cell in cells}
    per_image = {cell.key: evaluations[cell.key][recipe.rule_of(cell)] for cell in cells}
    folder.save_matrices({key: counts.sum(0) for key, counts in per_image.items()})
    used = groups_used(recipe, data.labels, folder)
    folder.write("groups.json", results.groups_record(recipe, used, matrix, data.labels))
    keep_examples(recipe, cells, per_image, used, data.val, folder)
    counts = {key: {rule: c.sum(0) for rule, c in found.items()} for key, found in evaluations.items()}
    trained = [p.name for p in recipe.needed(cells) if p.epochs and p.name not in left_out]
    about = {"cells": cells, "left_out": left_out, "counts": counts, "used": used, "matrix": matrix}
    about["made_with"] = {name: folder.made_with(name) for name in trained}
    folder.write("results.json", results.record(recipe, data, log=folder.logged(), **about))


def groups_used(recipe, labels, folder) -> list:
    """The groups of the first phase that trains subnets; [] without such a phase, or if no cell needed their matrix."""
    phase = next((p for p in recipe.phases if p.part.trains_subnets), None)
    if phase is None or (phase.reads_matrix and folder.matrix_name(phase.matrix) not in folder.matrices()):
        return []
    matrix = folder.training_matrix(phase.matrix) if phase.reads_matrix else None
    return [] if why_left_out(phase, labels, matrix) else groups_of(phase, labels, matrix)


def groups_followed(recipe, phase, labels, folder) -> list:
    """The groups of `groups_used` that are known when a phase begins, however the phases are shared among processes."""
    of_subnets = next((p for p in recipe.phases if p.part.trains_subnets), None)
    path = [recipe.phase(name) for name in phase.path]
    before = {*phase.path[:-1], *(each.matrix for each in path if each.reads_matrix)}
    if of_subnets is None or (of_subnets.reads_matrix and of_subnets.matrix not in before):
        return []
    return groups_used(recipe, labels, folder)


def keep_examples(recipe, cells, per_image: dict, used: list, dataset, folder) -> None:
    """Keep the photographs and labels of those validation images that the report shows crops of.

    They are chosen among the images whose predictions were kept, by where the cells confuse most.
    """
    images = set()
    for cell in cells:
        kept = folder.predictions(cell.phase, cell.tta, dataset.split)
        if kept is not None and recipe.rule_of(cell) in kept.rules:
            images.update(kept.images)
    record = {"split": dataset.split, "names": list(dataset.names), "images": []}
    pictures = {}
    for index in examples.choose([per_image[cell.key] for cell in cells], used, images):
        photograph, truth = dataset[index]
        files = {"photograph": f"{index:05d}.jpg", "labels": f"{index:05d}.png"}
        record["images"].append({"index": index, **files})
        bgr = cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR)
        pictures[files["photograph"]] = cv2.imencode(".jpg", bgr, QUALITY)[1].tobytes()
        pictures[files["labels"]] = cv2.imencode(".png", truth)[1].tobytes()
    folder.save_examples(record, pictures)


def worst_pair(matrix: np.ndarray, classes) -> dict | None:
    """The confusion that costs most mIoU: its classes, and its share of the true class's pixels; None without any."""
    cost = costs.pair_costs(matrix)
    i, j = np.unravel_index(int(np.argmax(np.where(matrix > 0, cost, -1))), cost.shape)
    if i == j or not matrix[i, j]:
        return None
    share = float(matrix[i, j] / matrix[i].sum())
    return {"truth": classes[i], "prediction": classes[j], "share": share}


# ---- what the training loop records and prints


def _about(recipe, phase, data: Data, steps: int) -> dict:
    """What a checkpoint holds beside its network: its classes, its fusion rule, its cells."""
    cells = {c.key: {"rule": recipe.rule_of(c), "tta": c.tta} for c in recipe.cells if c.phase == phase.name}
    about = {"labels": data.labels.record(), "rule": recipe.rule_at(phase), "cells": cells}
    about["evaluation"] = recipe.evaluation.describe()
    return {**about, "epoch": phase.epochs, "steps": steps}


def _draws(seed: int, phase, step: int, share: int = 0) -> int:
    """Seed for what a share of a step draws inside the network (dropout), since no checkpoint holds MXNet's random
    state."""
    text = f"{seed} {phase.name} {step}" + (f" {share}" if share else "")
    return zlib.crc32(text.encode()) >> 1


def _validates(recipe, phase, epoch: int) -> bool:
    ends = epoch == phase.epochs - 1
    return ends or (recipe.validate_every > 0 and (epoch + 1) % recipe.validate_every == 0)


def _closed(phase, at, steps: int) -> dict:
    """An epoch's record for the log; prints a line if the mean loss is far above that of the phase's first batch."""
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


def _shown(phase, record: dict) -> dict:
    """What progress shows of a validation; prints a line of it, and one if the training score is much higher."""
    worst, val = record["worst"], record["val_mean_iou"]
    pair = f"{worst['truth']} taken for {worst['prediction']}" if worst else "none"
    shown = {"val mIoU": f"{100 * val:.1f} %", "worst pair": pair}
    epoch = (
        f"{phase.name}, epoch {record['epoch']} of {phase.epochs}: loss {sum(record['loss'].values()):.4g}"
    )
    share = f" ({100 * worst['share']:.0f} % of {worst['truth']})" if worst else ""
    say(", ".join([epoch, *(f"{name} {value}" for name, value in shown.items())]) + share)
    if record.get("train_mean_iou", val) - val > APART:
        say(
            f"{phase.name}: mIoU is {100 * record['train_mean_iou']:.1f} % on training images and {100 * val:.1f} % on "
            "validation images: the network knows its training images by heart; more of them help, or fewer epochs"
        )
    return shown


def work(recipe, phases, data: Data) -> dict:
    """The work that phases are: steps by the part that they train, and images to evaluate."""
    found = {"image": 0}
    for phase in phases:
        steps = phase.epochs * steps_per_epoch(phase, len(data.train))
        found[phase.trains] = found.get(phase.trains, 0) + steps
        found["image"] += validations(recipe, phase) * len(data.val)
    return found
