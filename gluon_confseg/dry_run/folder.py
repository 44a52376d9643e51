"""The run folder of a dry run: `train.run` calls it wherever something has ended, so it can tell what that took."""

from __future__ import annotations

import dataclasses
import math
import time

import mxnet as mx
import numpy as np

from gluon_confseg import build, checkpoint
from gluon_confseg.errors import RunError
from gluon_confseg.frozen import Frozen
from gluon_confseg.run_folder import Position, RunFolder
from gluon_confseg.trainee import RUNNING

from . import memory

STEPS = 2  # of each phase
# what a phase may change, by `Phase.trains`: said again here, since it is the steps of training that are checked by it
CHANGES = {"subnet0": ("encoder.", "subnet0."), "subnets": ("subnets.",), "fusion": ("learned_fusion.",)}


@dataclasses.dataclass
class PhaseFigures:
    """What a phase took. images: of each step; seconds: of each step; the rest in bytes, resident in this process.

    groups       how many classes each group has that got a subnet
    base         with network and gradients, before the first step
    steps_peak   the most during steps
    peak         the most from building the network to writing its checkpoint, without evaluation
    momentum     of what the phase trains; its gradients are as large
    statistics   running means and variances of what the phase trains, which workers exchange beside the gradients
    checkpoint, best, progress   sizes of its files; `best` and `progress` are 0 for a phase without epochs
    """

    images: int
    seconds: list = dataclasses.field(default_factory=list)
    loss: float = math.nan
    groups: tuple = ()
    base: int = 0
    steps_peak: int = 0
    peak: int = 0
    momentum: int = 0
    statistics: int = 0
    checkpoint: int = 0
    best: int = 0
    progress: int = 0


@dataclasses.dataclass
class ImageFigures:
    """What evaluating one whole image took, at best in time and at worst in memory. size: (height, width)."""

    seconds: float
    peak: int
    size: tuple
    rules: tuple


class DryFolder(RunFolder):
    """A run folder that measures what is done in it, and makes up what two steps of training can't give.

    recipe       the shortened one
    phases       name -> PhaseFigures
    matrices_of  phase -> ImageFigures of its training matrix
    evaluations  (phase, tta) -> ImageFigures; networks that differ in their values alone share those of the first
    records      name of a file -> what a finished run would say in it; on the disk it would be taken for results
    doing        what is being done, for errors
    Evaluations are returned with every pixel right, since what random values confuse says nothing. So no images are
    kept for the report.
    """

    def __init__(self, path, recipe, cells, data):
        super().__init__(path, {**recipe.config(), "dry_run": True}, save_every=math.inf)
        self.recipe, self.cells, self.data = recipe, cells, data
        self.phases, self.matrices_of, self.evaluations = {}, {}, {}
        self.records, self.doing = {}, "start"
        self._sizes = {dataset.split: dataset[0][1].shape for dataset in data}
        self._seen = {}  # figures by what the network is made of
        self.peak_restarts = memory.restart()
        self._began, self._building = time.monotonic(), Frozen.building

    def _lap(self) -> tuple:
        """(seconds, peak of memory) since the last lap; the next one begins. Making frozen graphs is left out.

        A graph is made once for all images of an evaluation, of which there is only one here.
        """
        mx.nd.waitall()
        seconds, peak = time.monotonic() - self._began - (Frozen.building - self._building), memory.peak()
        memory.restart()
        self._began, self._building = time.monotonic(), Frozen.building
        return seconds, peak

    # ---- a phase, in the order of the calls

    def finished(self, phase: str) -> bool:
        """As there; the phase's network is built next."""
        self.doing = f"phase {phase}"
        self.phases[phase] = PhaseFigures(self.recipe.phase(phase).batch_size)
        self._lap()
        return super().finished(phase)

    def resume(self, phase: str, network, trainer) -> Position:
        """As there; the network was built, its steps are next."""
        figures, parameters = self.phases[phase], network._collect_params_with_prefix()
        figures.groups = tuple(len(group) for group in network.groups)
        figures.momentum = sum(4 * parameters[name].data().size for name in trainer.names)
        changed = CHANGES[self.recipe.phase(phase).trains]
        running = [n for n in parameters if n.startswith(changed) and n.endswith(RUNNING)]
        figures.statistics = sum(4 * parameters[name].data().size for name in running)
        _, figures.peak = self._lap()
        figures.base = memory.now()
        return super().resume(phase, network, trainer)

    def save_if_due(self, phase: str, at: Position, network, trainer) -> None:
        """A step was made: its time is that which `at` counted, and that of what MXNet still does."""
        figures, began = self.phases[phase], time.monotonic()
        mx.nd.waitall()
        figures.seconds.append(at.seconds - sum(figures.seconds) + time.monotonic() - began)
        at.seconds = sum(figures.seconds)
        figures.steps_peak = memory.peak()
        figures.peak = max(figures.peak, figures.steps_peak)
        if at.batch == STEPS:
            self._lap()

    def save_best(self, phase: str, at: Position, network, about: dict, score: float) -> None:
        """As there; images of both splits were evaluated."""
        self._lap()
        super().save_best(phase, at, network, about, score)
        self.phases[phase].best = self.best(phase).stat().st_size

    def log(self, record: dict) -> None:
        """As there."""
        super().log(record)
        self.phases[record["phase"]].loss = sum(record["loss"].values())

    def save(self, phase: str, at: Position, network, trainer) -> None:
        """As there."""
        super().save(phase, at, network, trainer)
        self.phases[phase].progress = max(f.stat().st_size for f in self._progress(phase) if f.exists())

    def finish(self, phase: str, network, about: dict) -> None:
        """As there; then what the phase must not change is compared. Raises RunError where it did."""
        super().finish(phase, network, about)
        figures, plan = self.phases[phase], self.recipe.phase(phase)
        _, peak = self._lap()
        figures.peak = max(figures.peak, peak)
        figures.checkpoint = self.checkpoint(phase).stat().st_size
        if plan.start is None:
            return
        before, after = (checkpoint.load(self.checkpoint(name))[0] for name in (plan.start, phase))
        for name, values in before.items():
            may_change = name.partition(":")[2].startswith(CHANGES[plan.trains])
            if not may_change and values.tobytes() != after[name].tobytes():
                raise RunError(
                    f"{self.recipe.name}, phase {phase}: {name} was frozen, and training changed it"
                )
        self._lap()

    # ---- matrices and evaluations

    def matrices(self) -> dict:
        """As there; where a training matrix is missing, it is measured next."""
        found = super().matrices()
        self._lap()
        return found

    def save_matrices(self, counts: dict) -> None:
        """As there, of training matrices, which were measured on one image; those of cells are none."""
        measured = [name for name in self.phases if self.matrix_name(name) in counts]
        if measured:
            figures = self._image(self.data.train, ("subnet0",))
            if self.recipe.evaluation.is_plain:
                figures = self._noted((self._shape(measured[0]), "single", ("subnet0",)), figures)
            self.matrices_of[measured[0]] = figures
            super().save_matrices(counts)

    def training_matrix(self, phase: str) -> np.ndarray:
        """(K, K) counts that are made up: see `neighbours`."""
        return neighbours(self.data.labels.num_classes)

    def evaluation(self, phase: str, tta: str = "single", split: str = "val") -> dict:
        """rule -> (1, K, K) counts without any confusion, where a network of these parts was evaluated already."""
        self.doing = f"evaluation of {phase}, {tta}"
        known = self.evaluations.get((phase, tta)) or self._seen.get(self._key(phase, tta))
        self._lap()
        if known is None:
            return {}
        self.evaluations[phase, tta] = known
        return {rule: np.eye(self.data.labels.num_classes, dtype=np.int64)[None] for rule in known.rules}

    def save_evaluation(self, phase: str, counts: dict, tta: str = "single", split: str = "val") -> None:
        """One image was evaluated."""
        figures = self._image(self.data.val, tuple(counts))
        self.evaluations[phase, tta] = self._noted(self._key(phase, tta), figures)

    def write(self, name: str, value) -> None:
        """Keep what a finished run says from the disk."""
        self.records[name] = value

    def _image(self, dataset, rules: tuple) -> ImageFigures:
        return ImageFigures(*self._lap(), self._sizes[dataset.split], rules)

    def _noted(self, key: tuple, figures: ImageFigures) -> ImageFigures:
        """The figures of all networks of these parts, with those of one more."""
        known = self._seen.setdefault(key, figures)
        known.seconds, known.peak = min(known.seconds, figures.seconds), max(known.peak, figures.peak)
        return known

    def _key(self, phase: str, tta: str) -> tuple:
        rules = self.recipe.rules_at(self.recipe.phase(phase), self.cells, tta)
        return self._shape(phase), tta, tuple(sorted(rules))

    def _shape(self, phase: str) -> tuple:
        """What decides how long an image takes, and how much memory."""
        plan = self.recipe.phase(phase)
        network = (plan.encoder, plan.output_stride, plan.last_stage, plan.norm, plan.head, plan.trains)
        groups = build.groups_of(plan, self.data.labels, self.training_matrix(plan.matrix))
        return (*network, plan.subnets, plan.subnet_head, plan.subnet_heads, tuple(groups))


def neighbours(num_classes: int) -> np.ndarray:
    """(K, K) counts in which classes that follow each other are confused, a third of the classes together.

    After two steps of training a network takes everything for one class, in which no groups can be found.
    """
    size = max(2, round(num_classes / 3))
    block = np.arange(num_classes) // size
    return np.where(block[:, None] == block, 10, 0) + np.diag([1000] * num_classes)
