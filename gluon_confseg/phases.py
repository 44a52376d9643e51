"""The phases of a training, which are run one after the other, and the cells of a table that score their networks."""

from __future__ import annotations

import dataclasses

from .settings import FROM_MATRIX, SETTINGS
from .subnets import HeadSettings


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a network that a phase trains while the rest is frozen: Section 3.

    words    its name in messages
    draws    a number by which its order of images and crops differ from those of the other parts
    rule     the fusion rule of its networks; "": the phase says it
    """

    words: str
    draws: int
    rule: str = ""
    has_groups: bool = True
    trains_encoder: bool = False
    trains_subnets: bool = False
    has_learned_fusion: bool = False


PARTS = {
    "subnet0": Part("encoder and subnet 0", 1, rule="subnet0", has_groups=False, trains_encoder=True),
    "subnets": Part("subnets on the frozen encoder", 2, trains_subnets=True),
    "fusion": Part("the learned fusion", 3, rule="learned", has_learned_fusion=True),
}


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase of training with the values of all its settings; none has to be looked up elsewhere.

    start          the phase whose result it starts from; None: the initial values
    trains         a name of `PARTS`
    loss           a name of `losses.NAMES`
    matrix         the phase whose network gives the training matrix for its weights C and its groups
    scheme         how C comes from that matrix: a name of `losses.SCHEMES`, or "shuffled" (a control)
    average        "image": mean over an image's labelled pixels, then over the batch; "batch": over all of the batch's
    others_weight  what a pixel of "others" counts in a subnet's loss beside one of the group's classes, or "balanced":
                   as much together as those on the training images (`build.class_weights`)
    schedule       how the learning rate falls to 0: "linear", as in the paper, or "poly": (1 - t)^power
    warm_up        steps in which the learning rate rises to its full value
    biases         "same", or "twice": twice the rate and no decay for biases and beta, as ResNet-38's authors do
    pretrained     ImageNet weights for the encoder
    weights        a file of weights that it starts from instead of `start`
    norm           what the encoder's batch norms do in training, of `encoders.norms.NAMES`
    groups         "paper" (Table 1, Section 4.2), "discover", a control (`build.groups_of`), or classes: "car,bus;..."
    head           settings of subnet 0's head
    subnet_head    settings of every further subnet; subnet_heads: ((number of the group, its own settings), ...)
    rule           the fusion rule, which combines the outputs of all subnets
    crop, scale    (height, width) in pixels, and the range of the random scale
    max_share      largest share that one class should have of a crop, if such a crop is found: see `Augment`
    crops          "random", or "meeting": places where two classes of a group meet, if such a place is found
    precision      of the convolutions in training: a name of `precision.NAMES`
    draws          gives order and crops, with seed and epoch; phases that are compared have the same number
    depth          number of phases before it, along the declared starts
    path           the phases from the initial values to this one
    """

    name: str
    start: str | None
    trains: str
    loss: str
    scheme: str
    penalty: float
    average: str
    others_weight: float | str
    matrix: str
    epochs: int
    learning_rate: float
    warm_up: int
    schedule: str
    power: float
    momentum: float
    weight_decay: float
    biases: str
    encoder: str
    output_stride: int
    last_stage: int
    norm: str
    pretrained: bool
    weights: str | None
    head: HeadSettings
    groups: str
    max_groups: int | None
    subnets: str
    subnet_head: HeadSettings
    subnet_heads: tuple
    rule: str
    crop: tuple
    scale: tuple
    max_share: float
    crops: str
    jitter: bool
    batch_size: int
    precision: str
    draws: int
    depth: int
    path: tuple

    @property
    def part(self) -> Part:
        """The part that it trains."""
        return PARTS[self.trains]

    @property
    def discovers(self) -> bool:
        """Whether its groups, or their number and sizes, come from a training matrix."""
        return self.part.has_groups and self.groups.split()[0] in FROM_MATRIX

    @property
    def weighs_others(self) -> bool:
        """Whether pixels of "others" count differently from those of the groups' classes in its subnets' losses."""
        return self.part.trains_subnets and self.others_weight != 1

    @property
    def reads_matrix(self) -> bool:
        """Whether its loss or its groups come from a training matrix."""
        return not SETTINGS["matrix"].idle(self)

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of step `step` of `steps`: falling to 0 (Section 4), times a linear rise in the warm-up."""
        left = 1 - step / steps
        rate = self.learning_rate * (left if self.schedule == "linear" else left**self.power)
        return rate * min(1.0, (step + 1) / self.warm_up) if self.warm_up else rate


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell (entry) of a table of scores: the phase whose network is scored, and how it is fused and tested.

    subnets  "0": subnet 0 alone; else the fused subnets, in words
    loss     the loss, in words
    paper    the cell's mIoU in the paper, in %
    rule     the fusion rule; None: that of its phase
    tta      how its images are tested: "single" (as the recipe's `evaluation` says), or a name of `inference.TTA`
    """

    key: str
    subnets: str
    loss: str
    phase: str
    paper: float | None = None
    rule: str | None = None
    tta: str = "single"
