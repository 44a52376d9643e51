"""What an experiment consists of, as data: stages of training, and arms of a table that read their results."""

from __future__ import annotations

import dataclasses

from gluon_confseg.errors import ConfSegError
from gluon_confseg.subnets import PLAIN, RESIDUAL, HeadSettings


@dataclasses.dataclass(frozen=True)
class StagePlan:
    """One stage of training.

    start    the stage whose result it starts from; None: the initial values
    trains   "baseline" (encoder and subnet 0), "subnets" (all further subnets, on the frozen rest) or "fusion"
             (the learned rule, on all else frozen)
    loss     "CE", "new CE", or a name of `losses.OTHER_LOSSES`
    The rest is None where it is as the recipe says:
    groups   of the subnets that it trains: see `grouping.choose`
    matrix   the stage whose network gives the training matrix for this stage's groups and weights C
    scheme   how C comes from that matrix: a name of `losses.SCHEMES`, or "shuffled" (see `criteria`)
    penalty  lambda
    subnets  "plain" or "residual"
    encoder, head, norm   of the network: stages that start from others have theirs
    """

    name: str
    start: str | None
    trains: str
    loss: str
    epochs: int
    learning_rate: float
    warm_up: int = 0
    groups: str | None = None
    matrix: str | None = None
    scheme: str | None = None
    penalty: float | None = None
    subnets: str | None = None
    encoder: str | None = None
    head: HeadSettings | None = None
    norm: str | None = None


@dataclasses.dataclass(frozen=True)
class Arm:
    """One cell of a table: which stage's network, and how it is read.

    subnets  "0": only subnet 0; else which ones are fused, in words
    paper    the cell's mIoU in the paper, in %
    rule     the fusion rule; None: the recipe's
    test     how its images are put to the test: a name of `evaluation.TESTS`
    """

    key: str
    subnets: str
    loss: str
    stage: str
    paper: float | None = None
    rule: str | None = None
    test: str = "single"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of an experiment; what a run folder's config.json holds.

    train_split    the split to train on; None: "train"
    draw           settings of `scenes.draw` where the data are drawn
    groups         "paper" (Table 1, Section 4.2) or "discover", from the training matrix: see `grouping.choose`
    max_share      largest share that one class may have of a crop, where that can be had: see `Augment`
    jitter         vary the colours: `Jitter`, with its limits
    norm           what the encoder's batch norms do in training, of `encoders.norms.NAMES`
    matrix_stage   the stage whose network gives the training matrix: weights C, and groups
    weights        a file that stages without a start begin with; `needs_weights` makes leaving it out an error
    matrix_images  how many training images that matrix counts, evenly spaced; None: all
    """

    experiment: str
    title: str
    data: str
    stages: tuple
    arms: tuple
    matrix_stage: str
    encoder: str = "resnet101"
    output_stride: int = 8
    last_stage: int = 4
    norm: str = "batch"
    pretrained: bool = True
    subnets: str = "plain"
    rule: str = "sum"
    other_rules: tuple = ()
    head: HeadSettings = PLAIN
    subnet_head: HeadSettings = RESIDUAL
    groups: str = "paper"
    max_groups: int | None = None
    scheme: str = "confusion"
    penalty: float = 5.0
    crop: tuple = (500, 500)
    scale: tuple = (0.7, 1.3)
    max_share: float = 1.0
    jitter: bool = False
    batch_size: int = 16
    matrix_images: int | None = None
    train_split: str | None = None
    draw: dict | None = None
    paper_table: str = "Table 3"
    paper_encoder: str = "ResNet-101"
    paper_data: str = "Cityscapes val"
    needs_weights: bool = False
    weights: str | None = None
    seed: int = 0
    profile: str = "full"

    def __post_init__(self):
        names = [stage.name for stage in self.stages]
        for stage in self.stages:
            if stage.start is not None and stage.start not in names[: names.index(stage.name)]:
                raise ValueError(f"stage {stage.name} starts from {stage.start}, which is no earlier stage")
            if stage.matrix is not None and stage.matrix not in names[: names.index(stage.name)]:
                raise ValueError(
                    f"stage {stage.name} reads the matrix of {stage.matrix}, which is no earlier stage"
                )
        for name in [arm.stage for arm in self.arms] + [self.matrix_stage]:
            if name not in names:
                raise ValueError(f"{name} is no stage: {', '.join(names)}")

    def stage(self, name: str) -> StagePlan:
        """The stage of a name."""
        return next(stage for stage in self.stages if stage.name == name)

    def rule_of(self, arm: Arm) -> str:
        """The fusion rule that an arm's network is read by."""
        trains = self.stage(arm.stage).trains
        if arm.subnets == "0" or trains == "baseline":
            return "subnet0"
        return arm.rule or ("learned" if trains == "fusion" else self.rule)

    def rule_at(self, plan: StagePlan) -> str:
        """The rule that a stage's checkpoint names: that of the first cell which fuses its network."""
        fused = [arm for arm in self.arms if arm.stage == plan.name and arm.subnets != "0"]
        own = "learned" if plan.trains == "fusion" else "subnet0" if plan.trains == "baseline" else self.rule
        return self.rule_of(fused[0]) if fused else own

    def ancestry(self, name: str) -> tuple:
        """The stages from the initial values to this one: what its network has been through."""
        plan = self.stage(name)
        return (self.ancestry(plan.start) if plan.start else ()) + (plan,)

    def cells(self, keys=None) -> tuple:
        """The arms of these keys, in the table's order; None: all. Raises ConfSegError for one that is not there."""
        known = [arm.key for arm in self.arms]
        for key in keys or ():
            if key not in known:
                raise ConfSegError(f"{self.experiment} has no cell {key!r}: its cells are {', '.join(known)}")
        return tuple(arm for arm in self.arms if not keys or arm.key in keys)

    def needed(self, arms) -> tuple:
        """The stages that these arms depend on, in order; what several share is there once."""
        wanted = {self.matrix_stage, *(arm.stage for arm in arms)}
        for stage in reversed(self.stages):  # whatever a stage needs is earlier
            if stage.name in wanted:
                wanted |= {stage.start, stage.matrix}
        return tuple(stage for stage in self.stages if stage.name in wanted)


def four_arms(paper=(None, None, None, None), last: str = "0-3") -> tuple:
    """The four columns of Table 3: subnet 0 or all, cross-entropy or the improved one."""
    return (
        Arm("subnet0_ce", "0", "CE", "ce", paper[0]),
        Arm("all_ce", last, "CE", "subnets_ce", paper[1]),
        Arm("subnet0_new", "0", "new CE", "new_ce", paper[2]),
        Arm("all_new", last, "new CE", "subnets_new", paper[3]),
    )


def branching_stages(
    base: int,
    baseline: int,
    subnets: int,
    rate: float,
    fine_rate: float,
    subnet_rate: float,
    warm_up: int = 0,
) -> tuple:
    """Short budgets: one base, from which each arm goes on for as long as the others, CE or new CE."""
    return (
        StagePlan("base", None, "baseline", "CE", base, rate, warm_up),
        StagePlan("ce", "base", "baseline", "CE", baseline, fine_rate),
        StagePlan("new_ce", "base", "baseline", "new CE", baseline, fine_rate),
        StagePlan("subnets_ce", "ce", "subnets", "CE", subnets, subnet_rate),
        StagePlan("subnets_new", "new_ce", "subnets", "new CE", subnets, subnet_rate),
    )


def separate_stages(baseline: int, subnets: int, rate: float) -> tuple:
    """The paper's budget: each baseline from the ImageNet weights; subnets on each, frozen: Section 4."""
    return (
        StagePlan("ce", None, "baseline", "CE", baseline, rate),
        StagePlan("new_ce", None, "baseline", "new CE", baseline, rate),
        StagePlan("subnets_ce", "ce", "subnets", "CE", subnets, rate),
        StagePlan("subnets_new", "new_ce", "subnets", "new CE", subnets, rate),
    )
