"""Runs a recipe in a run folder: data, stages, matrices, arms, results. Killed anywhere, it goes on from there."""

from __future__ import annotations

import dataclasses
import sys
import time

import numpy as np

from gluon_confseg import (
    checkpoint,
    engine,
    files,
    groups,
    losses,
    metrics,
    network,
    runtime,
    stages,
    weights,
)
from gluon_confseg.datasets import Augment, Batches, Jitter, open_dataset, pack, scenes
from gluon_confseg.errors import RunError
from gluon_confseg.progress import Progress
from gluon_confseg.runs import RunFolder, read_json

from . import evaluation, results
from .recipe import Recipe, StagePlan


def run(recipe: Recipe, root, out, save_every: float = 30.0, list_weights: bool = False, packs=None):
    """Run (the rest of) a recipe on the data set at `root`; returns the run folder.

    list_weights   name what the recipe's file of weights filled, and did not
    packs          folder for packs of the data, which training then reads; None: the files are read
    """
    context = runtime.default_context()
    if recipe.draw is not None:
        draw(root, recipe.draw)
    train_set, val_set = (
        open_dataset(recipe.data, root, split) for split in (recipe.train_split or "train", "val")
    )
    say(f"Data: {train_set.description} {val_set.description}")
    if recipe.draw is None and not any(out.glob("checkpoints/*.npz")):
        look_through(train_set, val_set)
    if packs is not None:
        train_set, val_set = (packed(dataset, packs) for dataset in (train_set, val_set))
    folder = RunFolder(out, {**dataclasses.asdict(recipe), "root_name": root.resolve().name})
    began = time.monotonic()
    experiment = Experiment(recipe, train_set, val_set, folder, context, save_every, list_weights)
    experiment.train_all()
    experiment.evaluate_all()
    experiment.conclude()
    add_time(folder, time.monotonic() - began)
    return folder


def add_time(folder: RunFolder, seconds: float) -> None:
    """Add this session's time to timing.json: kept apart, since all other results are the same for every run."""
    file = folder.path / "timing.json"
    sessions = read_json(file)["sessions"] if file.exists() else []
    # a session that found everything done would only blur the sum
    if not sessions or seconds > 30:
        sessions.append(round(seconds, 1))
    files.write_json(file, {"sessions": sessions, "minutes": sum(sessions) / 60})


def draw(root, settings: dict) -> None:
    """Draw the scenes of a recipe, unless they are there."""
    total = settings["train"] + settings["val"]
    with Progress("drawing street scenes", total, "image") as bar:
        scenes.draw(root, progress=lambda done, _: bar.update(done - bar.done), **settings)


def look_through(*datasets) -> None:
    """Read every file once before the first step: a fault in the last one would otherwise show after hours."""
    for dataset in datasets:
        with Progress(f"checking {dataset.split}", len(dataset), "image") as bar:
            dataset.check(thorough=True, progress=lambda done, bar=bar: bar.update(done - bar.done))


def packed(dataset, packs):
    """The data set's pack in a folder below `packs`, made or mended where it has to be."""
    folder = packs / dataset.split  # as `data/prepare.py --pack` has it
    with Progress(f"packing {dataset.split}", len(dataset), "image") as bar:
        found = pack(dataset, folder, lambda done: bar.update(done - bar.done), say=say)
        bar.update(len(dataset) - bar.done)
    return found


def say(sentence: str) -> None:
    """One line to the person who waits."""
    print(sentence, file=sys.stderr, flush=True)


class Experiment:
    """One run of a recipe: its data, its folder, and what has been computed so far."""

    def __init__(
        self,
        recipe: Recipe,
        train_set,
        val_set,
        folder: RunFolder,
        context,
        save_every: float,
        list_weights=False,
    ):
        self.recipe, self.folder, self.context, self.save_every = recipe, folder, context, save_every
        self.list_weights = list_weights
        self.train_set, self.val_set = train_set, val_set
        self.classes = self.train_set.labels.num_classes
        self.matrices = evaluation.Matrices(folder.path / "confusion.npz")

    # ---- training

    def train_all(self) -> None:
        """Every stage, in order; the training matrix as soon as the stage that gives it is done."""
        for number, plan in enumerate(self.recipe.stages, 1):
            built = None
            if not self.folder.finished(plan.name).exists():
                built = self.build(plan)
                self.train(plan, built, f"[{number}/{len(self.recipe.stages)}] ")
            self.folder.drop_progress(plan.name)  # a kill right after the result was written leaves some
            if plan.name == self.recipe.matrix_stage and "train" not in self.matrices:
                self.measure_training_set(built or self.load(plan))

    def build(self, plan: StagePlan):
        """The stage's network with the values it starts from."""
        built = self.construct(plan, self.recipe.pretrained and plan.start is None)
        if plan.start is not None:
            path = self.folder.finished(plan.start)
            checkpoint.restore_part(built, checkpoint.load(path)[0], path)
        elif self.recipe.weights is not None:
            loaded = weights.load(built, self.recipe.weights)
            say(f"{self.recipe.weights}: {loaded}")
            if self.list_weights:
                say(loaded.listing())
        return built

    def load(self, plan: StagePlan):
        """The stage's network with the values it ended with."""
        built, path = self.construct(plan), self.folder.finished(plan.name)
        checkpoint.restore_network(built, checkpoint.load(path)[0], path)
        return built

    def construct(self, plan: StagePlan, pretrained: bool = False):
        """The stage's network with initial values: a function of the seed."""
        recipe = self.recipe
        runtime.seed(recipe.seed)
        with_subnets = plan.trains == "subnets"
        built = network.build(
            recipe.encoder,
            self.classes,
            self.groups() if with_subnets else (),
            recipe.output_stride,
            recipe.subnets,
            recipe.head,
            recipe.subnet_head if with_subnets else None,
            pretrained,
            self.context,
            recipe.last_stage,
            recipe.norm,
        )
        engine.freeze_shapes(built)
        return built

    def train(self, plan: StagePlan, built, prefix: str) -> None:
        """Train one stage, or the rest of it."""
        recipe = self.recipe
        jitter = Jitter() if recipe.jitter else None
        look = {"max_share": recipe.max_share, "jitter": jitter, **built.normalisation}
        augment = Augment(tuple(recipe.crop), tuple(recipe.scale), **look)
        # every stage draws its own order and crops; arms that are compared draw the same ones
        seed = recipe.seed * 1000 + {"baseline": 1, "subnets": 2}[plan.trains] + (10 if plan.start else 0)
        workers = evaluation.readers(plan.epochs * len(self.train_set), self.context)
        batches = Batches(self.train_set, augment, recipe.batch_size, seed, workers=workers)
        stage = stages.Stage(
            plan.name,
            self.step(plan, built),
            batches,
            plan.epochs,
            plan.learning_rate,
            prefix,
            plan.warm_up,
            about={
                "labels": self.train_set.labels.record(),
                "rule": recipe.rule if plan.trains == "subnets" else "subnet0",
            },
        )
        with batches:
            stages.train(self.folder, stage, built, self.context, self.save_every, warn=say)

    def step(self, plan: StagePlan, built):
        """The training step of a stage with its losses."""
        if plan.trains == "baseline":
            return engine.BaselineStep(built, self.criterion(plan.loss, range(self.classes)))
        criteria = [self.criterion(plan.loss, group, others=True) for group in built.groups]
        return engine.SubnetStep(built, criteria)

    def criterion(self, loss: str, group, others: bool = False):
        """CE, or the improved cross-entropy with weights from the training matrix seen in the group's space."""
        size = len(group) + int(others)
        if loss == "CE":
            return losses.CrossEntropyLoss(size)
        counts = self.matrices["train"]
        counts = metrics.collapse(counts, group) if others else counts
        weights = losses.confusion_weights(metrics.normalize(counts), self.recipe.scheme)
        return losses.ConfusionCELoss(weights, self.recipe.penalty)

    # ---- matrices and groups

    def measure_training_set(self, built) -> None:
        """The training matrix: what the CE network confuses on (a part of) the training split."""
        indices = evenly(len(self.train_set), self.recipe.matrix_images)
        counted = evaluation.run(built, self.train_set, indices, ["subnet0"], "training matrix", self.context)
        self.matrices["train"] = counted["subnet0"].sum(0)

    def discovered(self) -> list:
        """Groups found in the training matrix."""
        return groups.discover(metrics.normalize(self.matrices["train"]), max_groups=self.recipe.max_groups)

    def groups(self) -> list:
        """The groups that get a subnet."""
        found = groups.PAPER[self.recipe.data] if self.recipe.groups == "paper" else self.discovered()
        if not found:
            raise RunError(
                f"{self.folder.path / 'confusion.npz'}: no classes are confused enough to be a group: there is "
                "nothing for subnets to mend; train shorter or longer, or use the paper's groups"
            )
        return [tuple(group) for group in found]

    # ---- evaluation

    def evaluate_all(self) -> None:
        """Every network that an arm reads, once, by all the rules asked for."""
        for stage in dict.fromkeys(arm.stage for arm in self.recipe.arms):
            file = self.evaluated(stage)
            if file.exists():
                continue
            plan = next(plan for plan in self.recipe.stages if plan.name == stage)
            every = range(len(self.val_set))
            counted = evaluation.run(
                self.load(plan), self.val_set, every, self.rules(), f"evaluating {stage}", self.context
            )
            checkpoint.save(file, counted, {"stage": stage})

    def evaluated(self, stage: str):
        """Where the per-image matrices of a stage's network are."""
        return self.folder.path / "checkpoints" / f"{stage}.evaluation.npz"

    def rules(self) -> list:
        """Subnet 0 alone, the recipe's rule, and those shown beside it."""
        return list(dict.fromkeys(["subnet0", self.recipe.rule, *self.recipe.other_rules]))

    def per_image(self, arm) -> np.ndarray:
        """(images, K, K) int64 counts of an arm."""
        return self.counts(arm.stage)["subnet0" if arm.subnets == "0" else self.recipe.rule]

    def counts(self, stage: str) -> dict:
        """rule -> (images, K, K) int64 counts of a stage's network."""
        return checkpoint.load(self.evaluated(stage))[0]

    def conclude(self) -> None:
        """Matrices, groups, results, panels: what the report reads."""
        for arm in self.recipe.arms:
            self.matrices[arm.key] = self.per_image(arm).sum(0)
        files.write_json(self.folder.path / "groups.json", results.groups_record(self))
        evaluation.write_panels(self)
        files.write_json(self.folder.path / "results.json", results.record(self))


def evenly(count: int, wanted: int | None) -> list:
    """`wanted` of `count` indices, evenly spaced; all where None or more are wanted."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, wanted).round()]
