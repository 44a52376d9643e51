"""A dry run: a recipe's real networks at their real sizes, two steps of each stage, one whole image per evaluation.

It runs the runner's own code on a handful of images, and measures it: what is wrong with settings, losses, shapes or
memory shows here, in minutes and without the data set. What the whole will need is in `estimate`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import tempfile
import time
from pathlib import Path

import gluon_confseg  # noqa: F401  first of all: it readies threads before MXNet is imported

# isort: split
import mxnet as mx

from gluon_confseg import checkpoint, runtime
from gluon_confseg.errors import RunError
from gluon_confseg.run_folder import RunFolder

from . import dry_data, estimate, resident, results
from .experiment import Experiment, say
from .recipe import Recipe, StagePlan

STEPS = 2
RATE = 1e-6  # of the recipe's learning rate: what starts from random values may not stay finite at all of it


def run(recipe: Recipe, root=None, out=None, cells=None, images: int = 1) -> dict:
    """Dry-run the cells of a recipe; returns what `estimate.record` makes of it, for JSON.

    root     the data set, whose first images are then taken; None: images of its size are drawn
    out      keep the run folder there; None: nothing is left behind
    cells    keys of the arms to do; None: all
    images   images of a training step; time and memory of a full batch are extrapolated from them
    Raises RunError for what does not work, with the stage that it showed in.
    """
    began, arms, load = time.monotonic(), recipe.cells(cells), os.getloadavg()[0]
    if images < 1:
        raise RunError(f"a step of {images} images can't be made: give --dry-batch 1 or more")
    if out and Path(out).exists():
        raise RunError(
            f"{out}: is there already, and a dry run begins anew: choose another folder with --out"
        )
    with tempfile.TemporaryDirectory(prefix="confseg-dry-run-") as folder:
        few = dry_data.few(recipe, root, Path(folder) / "data", STEPS * max(images, 2))
        say(f"Dry run of {recipe.experiment}, profile {recipe.profile}: {few.train.description}")
        shortened = dataclasses.asdict(short(recipe, images))
        kept = Folder(Path(out) if out else Path(folder) / "run", {**shortened, "dry_run": True})
        experiment = DryRun(short(recipe, images), few.train, few.val, kept, runtime.default_context(), arms)
        experiment.train_all()
        experiment.evaluate_all()
        with named("results"):
            results.groups_record(experiment), results.record(experiment)  # what a report will read
        return estimate.record(recipe, experiment, few, load, time.monotonic() - began)


def short(recipe: Recipe, images: int) -> Recipe:
    """The recipe with one epoch where it has any, one image for each matrix, and no downloaded weights."""
    stages = tuple(
        dataclasses.replace(stage, epochs=min(1, stage.epochs), learning_rate=RATE * stage.learning_rate)
        for stage in recipe.stages
    )
    return dataclasses.replace(
        recipe, stages=stages, batch_size=images, matrix_images=1, pretrained=False, draw=None
    )


@contextlib.contextmanager
def named(where: str):
    """What a setting, a shape or an operator finds wrong becomes one sentence that says where."""
    try:
        yield
    except (ValueError, mx.MXNetError) as error:
        raise RunError(f"{where}: {str(error).strip().splitlines()[0]}") from error


class Folder(RunFolder):
    """A run folder that remembers how large its intermediate states were."""

    def __init__(self, path, config: dict):
        super().__init__(path, config)
        self.progress_bytes = {}

    def finish(self, stage: str, arrays: dict, meta: dict) -> None:
        """As there; a stage without epochs had no such state."""
        latest, _ = self._progress(stage)
        self.progress_bytes[stage] = latest.stat().st_size if latest.exists() else 0
        super().finish(stage, arrays, meta)


@dataclasses.dataclass
class StageFigures:
    """What a stage took. images: of each step; seconds: of each step; the rest in bytes, resident in this process.

    base         with network and gradients, before the first step
    steps_peak   the most during steps
    peak         the most from building the network to writing its checkpoint
    momentum     of what the stage trains
    """

    images: int
    seconds: list = dataclasses.field(default_factory=list)
    loss: float = math.nan
    base: int = 0
    steps_peak: int = 0
    peak: int = 0
    momentum: int = 0
    checkpoint: int = 0
    progress: int = 0


@dataclasses.dataclass
class EvaluationFigures:
    """What one whole image took. size: (height, width)."""

    seconds: float
    peak: int
    size: tuple
    rules: tuple = ("subnet0",)


class Watched:
    """Batches that stop after STEPS, and tell time and memory of each step."""

    def __init__(self, batches, figures: StageFigures):
        self._batches, self._figures = batches, figures
        self.seed = batches.seed

    def __len__(self) -> int:
        return STEPS

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()

    def epoch(self, epoch: int, start: int = 0):
        """The first batches of an epoch. A step lasts until the next batch is asked for."""
        for batch in itertools.islice(self._batches.epoch(epoch, start), STEPS):
            began = time.monotonic()
            yield batch
            mx.nd.waitall()
            self._figures.seconds.append(time.monotonic() - began)
        self._figures.steps_peak = resident.peak()


class DryRun(Experiment):
    """An experiment on a handful of images that measures what it does: by stage, by matrix, by (stage, test)."""

    def __init__(self, recipe: Recipe, train_set, val_set, folder: Folder, context, arms):
        super().__init__(recipe, train_set, val_set, folder, context, save_every=math.inf, arms=arms)
        self.stages, self.training_matrices, self.evaluations = {}, {}, {}
        self._known = {}  # what was measured of a network's shape
        self.can_restart = resident.restart()

    def build(self, plan: StagePlan):
        """As there; the stage's figures begin."""
        resident.restart()
        self.stages[plan.name] = StageFigures(self.images_per_step(plan))
        with named(f"{self.recipe.experiment}, stage {plan.name}"):
            built = super().build(plan)
        mx.nd.waitall()
        self.stages[plan.name].peak = resident.peak()
        return built

    def train(self, plan: StagePlan, built, prefix: str) -> None:
        """Two steps and the checkpoint; then what should not have changed is compared."""
        figures = self.stages[plan.name]
        resident.restart()
        figures.base = resident.now()
        with named(f"{self.recipe.experiment}, stage {plan.name}"):
            super().train(plan, built, prefix)
        mx.nd.waitall()
        figures.peak = max(figures.peak, resident.peak())
        figures.checkpoint = self.folder.finished(plan.name).stat().st_size
        figures.progress = self.folder.progress_bytes[plan.name]
        if plan.epochs:
            figures.loss = sum(self.folder.logged()[-1]["loss"].values())
            trained = self.step(plan, built).parameters().values()
            figures.momentum = sum(4 * p.data().size for p in trained if p.grad_req != "null")
        if plan.trains != "baseline":
            self._compare_frozen(plan)

    def batches(self, plan: StagePlan, built) -> Watched:
        """As there, watched."""
        return Watched(super().batches(plan, built), self.stages[plan.name])

    def images_per_step(self, plan: StagePlan) -> int:
        """As asked for, but two where ASPP pools over the image, whose batch norm needs them."""
        heads = (self._setting(plan, "head"), self.recipe.subnet_head)
        pools = any(head.kind == "aspp_v3" or head.context == "aspp" for head in heads)
        return max(2, self.recipe.batch_size) if pools else self.recipe.batch_size

    def _compare_frozen(self, plan: StagePlan) -> None:
        before, after = (checkpoint.load(self.folder.finished(name))[0] for name in (plan.start, plan.name))
        changed = [name for name, values in before.items() if values.tobytes() != after[name].tobytes()]
        if changed:
            raise RunError(
                f"{self.recipe.experiment}, stage {plan.name}: {changed[0]} was frozen, and training changed it"
            )

    def measure_training_set(self, plan: StagePlan, built) -> None:
        """As there, of one image."""
        with self._one_image(f"training matrix of {plan.name}", self.train_set) as figures:
            super().measure_training_set(plan, built)
        self.training_matrices[plan.name] = figures
        counts = {"subnet0": self.matrices[self._matrix_name(plan.name)][None]}
        self._known[self._shape(plan.name), "single", frozenset(counts)] = counts, figures

    def evaluate(self, stage: str, test: str, rules: list) -> None:
        """As there, of one image; a network that differs from another in its values alone takes as long as that one."""
        key = self._shape(stage), test, frozenset(rules)
        if key in self._known:
            self.load(self.recipe.stage(stage))
            counts, self.evaluations[stage, test] = self._known[key]
            checkpoint.save(self.evaluated(stage, test), counts, {"stage": stage})
            return
        with self._one_image(f"evaluation of {stage}, {test}", self.val_set) as figures:
            super().evaluate(stage, test, rules)
        figures.rules = tuple(rules)
        self.evaluations[stage, test] = figures
        self._known[key] = self.counts(stage, test), figures

    def _shape(self, stage: str) -> tuple:
        plan = self.recipe.stage(stage)
        settings = (self._setting(plan, name) for name in ("encoder", "head", "norm", "subnets"))
        return (*settings, tuple(self.groups(plan)), plan.trains == "fusion")

    @contextlib.contextmanager
    def _one_image(self, what: str, dataset):
        figures = EvaluationFigures(0.0, 0, dataset[0][1].shape)
        resident.restart()
        began = time.monotonic()
        with named(f"{self.recipe.experiment}, {what}"):
            yield figures
        mx.nd.waitall()
        figures.seconds, figures.peak = time.monotonic() - began, resident.peak()
