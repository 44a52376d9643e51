"""One run of a recipe: stages, matrices, cells. What is done is not done again."""

from __future__ import annotations

import dataclasses
import sys

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
from gluon_confseg.datasets import Augment, Batches, Jitter
from gluon_confseg.errors import RunError
from gluon_confseg.groups import SubnetSpace
from gluon_confseg.progress import Progress
from gluon_confseg.runs import RunFolder, read_json
from gluon_confseg.subnets import HeadSettings

from . import criteria, evaluation, grouping
from .recipe import Arm, Recipe, StagePlan


def say(sentence: str) -> None:
    """One line to the person who waits."""
    print(sentence, file=sys.stderr, flush=True)


class Experiment:
    """A recipe, its data, its run folder, and what has been computed so far.

    arms            the cells to do: see `Recipe.cells`
    list_weights    name what the recipe's file of weights filled, and did not
    """

    def __init__(
        self,
        recipe: Recipe,
        train_set,
        val_set,
        folder: RunFolder,
        context,
        save_every: float,
        list_weights: bool = False,
        arms=None,
    ):
        self.recipe, self.folder, self.context, self.save_every = recipe, folder, context, save_every
        self.list_weights = list_weights
        self.arms = recipe.arms if arms is None else tuple(arms)
        evaluation.check_tests({arm.test for arm in self.arms})
        self.train_set, self.val_set = train_set, val_set
        self.classes = self.train_set.labels.num_classes
        self.matrices = evaluation.Matrices(folder.path / "confusion.npz")

    # ---- training

    def train_all(self) -> None:
        """Every stage that the cells need, in order, and the training matrix of each that others read."""
        plans = self.recipe.needed(self.arms)
        measured = {self.recipe.matrix_stage, *(plan.matrix for plan in plans)}
        for number, plan in enumerate(plans, 1):
            built = None
            if not self.folder.finished(plan.name).exists():
                built = self.build(plan)
                self.train(plan, built, f"[{number}/{len(plans)}] ")
            self.folder.drop_progress(plan.name)  # a kill right after the result was written leaves some
            if plan.name in measured and self._matrix_name(plan.name) not in self.matrices:
                self.measure_training_set(plan, built or self.load(plan))

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
        """The stage's network as trained."""
        built, path = self.construct(plan, False), self.folder.finished(plan.name)
        checkpoint.restore_network(built, checkpoint.load(path)[0], path)
        return built

    def construct(self, plan: StagePlan, pretrained: bool):
        """The stage's network with initial values; the same for every stage that draws any."""
        recipe = self.recipe
        runtime.seed(recipe.seed)
        found = self.groups(plan)
        built = network.build(
            self._setting(plan, "encoder"),
            self.classes,
            found,
            recipe.output_stride,
            self._setting(plan, "subnets"),
            self._setting(plan, "head"),
            self.subnet_head(plan) if found else None,
            pretrained,
            self.context,
            recipe.last_stage,
            self._setting(plan, "norm"),
            **({"learned_fusion": True} if plan.trains == "fusion" else {}),
        )
        engine.hybridize_parts(built)
        return built

    def subnet_head(self, plan: StagePlan) -> HeadSettings:
        """Settings of the further subnets; one head in place of all has their widths together."""
        head = self.recipe.subnet_head
        if self._groups_choice(plan) != "one":
            return head
        return dataclasses.replace(head, channels=head.channels * len(self.discovered(plan)))

    def _setting(self, plan: StagePlan, name: str):
        """A setting of the stage's network: its own, that of the stage it starts from, or the recipe's."""
        own = [getattr(p, name) for p in self.recipe.ancestry(plan.name)]
        return next((value for value in reversed(own) if value is not None), getattr(self.recipe, name))

    def train(self, plan: StagePlan, built, prefix: str) -> None:
        """Train one stage, or the rest of it."""
        batches = self.batches(plan, built)
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
                "rule": {"baseline": "subnet0", "subnets": self.recipe.rule, "fusion": "learned"}[
                    plan.trains
                ],
            },
        )
        with batches:
            stages.train(self.folder, stage, built, self.context, self.save_every, warn=say)

    def batches(self, plan: StagePlan, built) -> Batches:
        """The stage's training data; stages that are compared draw the same order and crops."""
        recipe = self.recipe
        jitter = Jitter() if recipe.jitter else None
        look = {"max_share": recipe.max_share, "jitter": jitter, **built.normalisation}
        augment = Augment(tuple(recipe.crop), tuple(recipe.scale), **look)
        number = {"baseline": 1, "subnets": 2, "fusion": 3}[plan.trains]
        seed = recipe.seed * 1000 + number + 10 * (len(recipe.ancestry(plan.name)) - 1)
        workers = evaluation.readers(plan.epochs * len(self.train_set), self.context)
        return Batches(self.train_set, augment, self.images_per_step(plan), seed, workers=workers)

    def images_per_step(self, plan: StagePlan) -> int:
        """Images of one SGD step of a stage."""
        return self.recipe.batch_size

    def step(self, plan: StagePlan, built):
        """The training step of a stage with its losses."""
        every = range(self.classes)
        if plan.trains == "baseline":
            return engine.BaselineStep(built, self.criterion(plan, every))
        if plan.trains == "fusion":
            return engine.FusionStep(built, self.criterion(plan, every))
        return engine.SubnetStep(built, [self.criterion(plan, group) for group in built.groups])

    def criterion(self, plan: StagePlan, group):
        """The stage's loss in a group's space, its weights from the training matrix seen there."""
        return criteria.build(
            plan.loss,
            SubnetSpace(group, self.classes).channels,
            lambda: metrics.collapse(self.training_matrix(plan), group),
            self.statistics,
            plan.scheme or self.recipe.scheme,
            self.recipe.penalty if plan.penalty is None else plan.penalty,
        )

    def updates(self, plan: StagePlan) -> int:
        """SGD steps that the stage's network has had, from the first weights on."""
        epochs = sum(p.epochs for p in self.recipe.ancestry(plan.name))
        return epochs * steps_per_epoch(len(self.train_set), self.recipe.batch_size)

    # ---- what losses and groups are made from

    def measure_training_set(self, plan: StagePlan, built) -> None:
        """A training matrix: what subnet 0 of a stage confuses on (a part of) the training split."""
        indices = evenly(len(self.train_set), self.recipe.matrix_images)
        counted = evaluation.run(built, self.train_set, indices, ["subnet0"], "training matrix", self.context)
        self.matrices[self._matrix_name(plan.name)] = counted["subnet0"].sum(0)

    def _matrix_name(self, stage: str) -> str:
        return "train" if stage == self.recipe.matrix_stage else f"train_{stage}"

    def training_matrix(self, plan: StagePlan | None = None) -> np.ndarray:
        """(K, K) counts that a stage's weights C and groups come from."""
        return self.matrices[self._matrix_name((plan and plan.matrix) or self.recipe.matrix_stage)]

    def statistics(self) -> losses.LabelStatistics:
        """How many pixels each class has in the training split; counted once."""
        file = self.folder.path / "statistics.json"
        if not file.exists():
            with Progress("counting labels", len(self.train_set), "image") as bar:
                counted = losses.LabelStatistics.count(self._masks(bar), self.classes)
            files.write_json(file, counted.record())
        return losses.LabelStatistics.from_record(read_json(file))

    def _masks(self, bar: Progress):
        for index in range(len(self.train_set)):
            yield self.train_set[index][1]
            bar.update(1)

    def discovered(self, plan: StagePlan | None = None) -> list:
        """Groups found in the training matrix of a stage, or of the recipe."""
        normalized = metrics.normalize(self.training_matrix(plan))
        return grouping.choose("discover", self.recipe.data, normalized, self.recipe.max_groups)

    def groups(self, plan: StagePlan | None = None) -> list:
        """The groups that get a subnet in a stage; without a stage those of the recipe, of which there may be none.

        Raises RunError for a stage that trains subnets where nothing is confused enough.
        """
        if plan is not None and plan.trains == "baseline":
            return []
        if plan is not None and plan.trains == "fusion":
            return self.groups(self.recipe.stage(plan.start))
        choice = self._groups_choice(plan)
        normalized = metrics.normalize(self.training_matrix(plan))
        found = grouping.choose(choice, self.recipe.data, normalized, self.recipe.max_groups)
        if not found and plan is not None:
            papers = ", or use the paper's groups" if self.recipe.data in groups.PAPER else ""
            raise RunError(
                f"{self.folder.path / 'confusion.npz'}: no classes are confused enough to be a group: there is "
                f"nothing for subnets to mend; train shorter or longer{papers}"
            )
        return found

    def _groups_choice(self, plan: StagePlan | None) -> str:
        if plan is not None and plan.trains == "fusion":
            return self._groups_choice(self.recipe.stage(plan.start))
        return (plan and plan.groups) or self.recipe.groups

    # ---- evaluation

    def evaluate_all(self) -> None:
        """Every network that a cell reads, once for each way of testing, by all the rules asked for."""
        for stage, test in dict.fromkeys((self.read_from(arm), arm.test) for arm in self.arms):
            known = self._counted(self.evaluated(stage, test))
            missing = [rule for rule in self.rules(stage, test) if rule not in known]
            if missing:
                self.evaluate(stage, test, missing)

    def evaluate(self, stage: str, test: str, rules: list) -> None:
        """Evaluate one network on the validation split; what other rules counted before stays."""
        title = f"evaluating {stage}" + ("" if test == "single" else f", {test}")
        built, every = self.load(self.recipe.stage(stage)), range(len(self.val_set))
        views = evaluation.TESTS[test]
        counted = evaluation.run(built, self.val_set, every, rules, title, self.context, views)
        file = self.evaluated(stage, test)
        checkpoint.save(file, {**self._counted(file), **counted}, {"stage": stage})

    def evaluated(self, stage: str, test: str = "single"):
        """Where the per-image matrices of a stage's network are."""
        return self.folder.path / "checkpoints" / evaluation.file_name(stage, test, self.val_set.split)

    def _counted(self, file) -> dict:
        return checkpoint.load(file)[0] if file.exists() else {}

    def rules(self, stage: str, test: str) -> list:
        """Subnet 0 alone, the recipe's rule, those shown beside it, and those that cells ask for."""
        trains = self.recipe.stage(stage).trains
        if trains == "baseline":
            return ["subnet0"]
        asked = [self.recipe.rule_of(arm) for arm in self.arms if (arm.stage, arm.test) == (stage, test)]
        others = self.recipe.other_rules if trains == "subnets" and test == "single" else ()
        return list(dict.fromkeys(["subnet0", *asked, *others]))

    def read_from(self, arm: Arm) -> str:
        """The stage whose evaluation holds an arm's counts: subnets leave subnet 0 as it was, so one pass will do."""
        if arm.subnets == "0":
            for other in self.arms:
                fused = other.subnets != "0" and other.test == arm.test
                if fused and self.recipe.stage(other.stage).start == arm.stage:
                    return other.stage
        return arm.stage

    def per_image(self, arm: Arm) -> np.ndarray:
        """(images, K, K) int64 counts of an arm."""
        return self.counts(self.read_from(arm), arm.test)[self.recipe.rule_of(arm)]

    def counts(self, stage: str, test: str = "single") -> dict:
        """rule -> (images, K, K) int64 counts of a stage's network."""
        return checkpoint.load(self.evaluated(stage, test))[0]


def steps_per_epoch(count: int, batch_size: int) -> int:
    """SGD steps that `Batches` makes of `count` images: the rest of an epoch is left out."""
    return max(1, count // batch_size)


def evenly(count: int, wanted: int | None) -> list:
    """`wanted` of `count` indices, evenly spaced; all where None or more are wanted."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, wanted).round()]
