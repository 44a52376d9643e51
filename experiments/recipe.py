"""What an experiment consists of, as data: stages of training, and arms of a table that read their results."""

from __future__ import annotations

import dataclasses

from gluon_confseg.heads import PLAIN, RESIDUAL, HeadSettings


@dataclasses.dataclass(frozen=True)
class StagePlan:
    """One stage of training.

    start    the stage whose result it starts from; None: the initial values
    trains   "baseline" (encoder and subnet 0) or "subnets" (all further subnets, on the frozen rest)
    loss     "CE" or "new CE"
    """

    name: str
    start: str | None
    trains: str
    loss: str
    epochs: int
    learning_rate: float
    warm_up: int = 0


@dataclasses.dataclass(frozen=True)
class Arm:
    """One column of a table: which stage's network, and whether only subnet 0 of it. paper: its mIoU there, in %."""

    key: str
    subnets: str
    loss: str
    stage: str
    paper: float | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of an experiment; what a run folder's config.json holds.

    train_split    the split to train on; None: "train"
    draw           settings of `scenes.draw` where the data are drawn
    groups         "paper" (Table 1, Section 4.2) or "discover", from the training matrix
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
        for name in [arm.stage for arm in self.arms] + [self.matrix_stage]:
            if name not in names:
                raise ValueError(f"{name} is no stage: {', '.join(names)}")


def four_arms(paper=(None, None, None, None), last: str = "0-3") -> tuple:
    """The four columns of Table 3: subnet 0 or all, cross-entropy or the improved one."""
    return (
        Arm("subnet0_ce", "0", "CE", "subnets_ce", paper[0]),
        Arm("all_ce", last, "CE", "subnets_ce", paper[1]),
        Arm("subnet0_new", "0", "new CE", "subnets_new", paper[2]),
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
