"""Phases of training, and the cells of a table that read their networks, as complete values."""

from __future__ import annotations

import dataclasses

from .settings import FROM_MATRIX, SETTINGS
from .subnets import HeadSettings


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a network that a phase trains, the rest being frozen: Section 3.

    words    for people
    draws    sets its order and crops apart from those of the other parts
    rule     the fusion rule of its networks; "": as the phase says
    """

    words: str
    draws: int
    rule: str = ""
    has_groups: bool = True
    trains_subnets: bool = False
    has_learned_fusion: bool = False


PARTS = {
    "subnet0": Part("encoder and subnet 0", 1, rule="subnet0", has_groups=False),
    "subnets": Part("subnets on the frozen encoder", 2, trains_subnets=True),
    "fusion": Part("the learned fusion", 3, rule="learned", has_learned_fusion=True),
}


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase of training, complete: nothing in it is left to be looked up elsewhere.

    start          the phase whose result it starts from; None: the initial values
    trains         a name of `PARTS`
    loss           a name of `losses.NAMES`
    matrix         the phase whose network gives the training matrix for its weights C and its groups
    scheme         how C comes from that matrix: a name of `losses.SCHEMES`, or "shuffled" (a control)
    average        "image": the loss of an image is the mean over its labelled pixels; "batch": over the batch's
    schedule       "linear": to 0 in a straight line, the paper's; "poly": (1 - t)^power
    warm_up        steps in which the learning rate rises to its full value
    biases         "same", or "twice": twice the rate and no decay for biases and beta, as ResNet-38's authors do
    pretrained     ImageNet weights for the encoder
    weights        a file that it starts from instead
    norm           what the encoder's batch norms do in training, of `encoders.norms.NAMES`
    groups         "paper" (Table 1, Section 4.2), "discover", a control (`build.groups_of`), or classes: "car,bus;..."
    subnet_head    of every further subnet; subnet_heads: ((number of the group, its own), ...)
    crop, scale    (height, width) in pixels, and the range of the random scale
    max_share      largest share that one class may have of a crop, where that can be had: see `Augment`
    draws          with seed and epoch it decides order and crops: phases that are compared draw the same ones
    depth          how many phases its declared start has behind it
    path           the phases from the initial values to this one
    """

    name: str
    start: str | None
    trains: str
    loss: str
    scheme: str
    penalty: float
    average: str
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
    jitter: bool
    batch_size: int
    draws: int
    depth: int
    path: tuple

    @property
    def part(self) -> Part:
        """What it trains."""
        return PARTS[self.trains]

    @property
    def discovers(self) -> bool:
        """Whether its groups, or how many they are, come from a training matrix."""
        return self.part.has_groups and self.groups.split()[0] in FROM_MATRIX

    @property
    def reads_matrix(self) -> bool:
        """Whether its loss or its groups come from a training matrix."""
        return not SETTINGS["matrix"].idle(self)

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of a step of `steps`: linear decay to 0 (Section 4), or poly; linear warm-up before it."""
        left = 1 - step / steps
        rate = self.learning_rate * (left if self.schedule == "linear" else left**self.power)
        return rate * min(1.0, (step + 1) / self.warm_up) if self.warm_up else rate


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table: which phase's network, and how it is read.

    subnets  "0": subnet 0 alone; else which ones are fused, in words
    loss     in words
    paper    the cell's mIoU in the paper, in %
    rule     the fusion rule; None: its phase's
    tta      how its images are tested: "single" (as the recipe's `evaluation` says), or a name of `inference.TTA`
    """

    key: str
    subnets: str
    loss: str
    phase: str
    paper: float | None = None
    rule: str | None = None
    tta: str = "single"
