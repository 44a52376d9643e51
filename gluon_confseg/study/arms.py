"""The arms of a study: networks that all go on from one, `base`, and differ from a control in one thing each.

An arm's name is [HEADS_]LOSS[_HOW]. `ce` is the network trained on from `base` by cross-entropy; `subnets_ce` has
subnets on it; `one_confusion_ce` has one head for all classes, trained by the confusion-weighted cross-entropy.
"""

from __future__ import annotations

import dataclasses

from gluon_confseg import losses
from gluon_confseg.errors import RunError, did_you_mean
from gluon_confseg.phases import PARTS, Cell
from gluon_confseg.recipe import SMALL_EFFICIENTNET, Recipe, declare, phase

from .plan import Plan

BASE = "base"
BASE_RATE, WARM_UP = 0.02, 50
# learning rates that the tries of an arm lie around, by what it trains
NETWORK, HEADS = 0.01, 0.3
# plain heads start from random values, as subnet 0's head does in `base`
PLAIN_HEADS = BASE_RATE
PENALTIES = (1, 2.5, 10, 20)


@dataclasses.dataclass(frozen=True)
class Arm:
    """One arm: how its network is trained, and from which network on.

    what       in words, for tables
    start      the arm that it goes on from, at that arm's chosen learning rate
    trains     a name of `phases.PARTS`
    length     whose epochs it has, a field of `plan.Epochs`
    rate       the reference for its learning rate: the tries lie around it
    settings   further settings of its phase
    matrix     the arm whose training matrix it reads; None: that of `base`
    rule       where `start` names a network that is not trained any further: the fusion rule that it is read by
    candidates where it is put together from trained arms: those of which each group gets one's subnet, `start` first
    """

    key: str
    what: str
    loss: str = "ce"
    start: str = BASE
    trains: str = "subnet0"
    length: str = "subnet0"
    rate: float = NETWORK
    settings: dict = dataclasses.field(default_factory=dict)
    matrix: str | None = None
    rule: str | None = None
    candidates: tuple = ()

    @property
    def trained(self) -> bool:
        """Whether it has a training of its own; else it is made of other arms' networks."""
        return self.rule is None and not self.candidates

    @property
    def needs(self) -> tuple:
        """The arms whose results it reads."""
        read = dict.fromkeys((self.start, self.matrix, *self.candidates))
        return tuple(key for key in read if key not in (None, BASE))


def _from_base(key: str, what: str, loss: str, **settings) -> Arm:
    return Arm(key, f"base, trained on by {what}", loss, settings=settings)


def _continued(key: str, start: str, loss: str) -> Arm:
    return Arm(key, f"{start}, trained on for as long as heads", loss, start, length="subnets")


def _heads(key: str, what: str, start: str, loss: str | None = None, rate: float = HEADS, **settings) -> Arm:
    matrix = settings.pop("matrix", None)
    loss = loss or start.replace("_continued", "")
    return Arm(key, f"{what} on {start}", loss, start, "subnets", "subnets", rate, settings, matrix)


def _read(key: str, start: str, rule: str, what: str) -> Arm:
    return Arm(key, f"{start}, {what}", start=start, rule=rule)


def _in_each_structure(key: str, what: str, **settings) -> tuple:
    return tuple(
        _heads(f"{key}_{name}", f"{what} {words},", "confusion_ce", subnet_head=head, **settings)
        for name, (words, head) in STRUCTURES.items()
    )


def _fitted(key: str, what: str) -> Arm:
    candidates = (key, *(f"{key}_{name}" for name in STRUCTURES))
    return Arm(f"{key}_fitted", f"{what} on confusion_ce", "confusion_ce", key, candidates=candidates)


SUBNETS, ONE = (
    "subnets of the discovered groups",
    "one head for all classes, as wide as all subnets together,",
)
WHOLE = "as many heads for all classes as there are subnets"
NEW = "the paper's loss"

USUAL = SMALL_EFFICIENTNET["subnet_head"]
# further structures of a head: in words, and its settings; each has as many parameters as the usual one, to a hundredth
STRUCTURES = {
    "coarse": ("without a branch for detail", dataclasses.replace(USUAL, stages=(1, 2, 3), detail=None)),
    "dilated": ("with dilation 4", dataclasses.replace(USUAL, dilation=4)),
    "deep": ("reading the last stage and detail", dataclasses.replace(USUAL, stages=(3,), channels=83)),
}

# in the order of the tables; an arm stands behind those that it needs
FAMILIES = {
    "main": (
        _from_base("ce", "cross-entropy", "ce"),
        _from_base("confusion_ce", NEW, "confusion_ce"),
        _heads("subnets_ce", SUBNETS, "ce"),
        _heads("subnets_confusion_ce", SUBNETS, "confusion_ce"),
    ),
    "controls": (
        _continued("ce_continued", "ce", "ce"),
        _continued("confusion_ce_continued", "confusion_ce", "confusion_ce"),
        _heads("one_ce", ONE, "ce", groups="one"),
        _heads("one_confusion_ce", ONE, "confusion_ce", groups="one"),
        _heads("random_confusion_ce", "subnets of groups drawn at random", "confusion_ce", groups="random"),
        _from_base("confusion_ce_shuffled", f"{NEW} with shuffled rows of C", "confusion_ce", scheme="shuffled"),
        _from_base("median_frequency", losses.OTHER_LOSSES["median_frequency"], "median_frequency"),
    ),
    "structures": (
        *_in_each_structure("subnets_confusion_ce", SUBNETS),
        *_in_each_structure("one_confusion_ce", ONE, groups="one"),
        _fitted("subnets_confusion_ce", "subnets, each with the structure that does best for its group,"),
        _fitted("one_confusion_ce", f"{ONE} with the structure that does best,"),
    ),
    "emphasis": (
        *(
            _heads(f"{key}_{name}", f"{what} {words},", "confusion_ce", **settings, **own)
            for name, words, own in (
                ("meeting", "trained where classes of a group meet", {"crops": "meeting"}),
                ("balanced", "whose loss weighs groups and others alike", {"others_weight": "balanced"}),
            )
            for key, what, settings in (
                ("subnets_confusion_ce", SUBNETS, {}),
                ("one_confusion_ce", ONE, {"groups": "one"}),
            )
        ),
    ),
    "more_controls": (
        _heads("random_ce", "subnets of groups drawn at random", "ce", groups="random"),
        _heads("whole_ce", WHOLE, "ce", groups="whole"),
        _heads("whole_confusion_ce", WHOLE, "confusion_ce", groups="whole"),
        _read("whole_confusion_ce_mean", "whole_confusion_ce", "conditional", "the mean of its heads"),
        _heads("subnets_confusion_ce_long", SUBNETS, "confusion_ce_continued"),
        _heads("one_confusion_ce_long", ONE, "confusion_ce_continued", groups="one"),
        _continued("ce_longer", "ce_continued", "ce"),
        _continued("confusion_ce_longer", "confusion_ce_continued", "confusion_ce"),
    ),
    "fusion": (
        *(
            _read(f"subnets_confusion_ce_{rule}", "subnets_confusion_ce", rule, f"fused by the rule {rule}")
            for rule in ("sum", "product", "conditional")
        ),
        Arm(
            "subnets_confusion_ce_learned",
            "the learned fusion of subnets_confusion_ce",
            "confusion_ce",
            "subnets_confusion_ce",
            "fusion",
            "fusion",
        ),
        _heads(
            "subnets_confusion_ce_iterated",
            "subnets of the groups in the matrix of confusion_ce",
            "confusion_ce",
            matrix="confusion_ce",
        ),
    ),
    "plain": (
        _heads(
            "plain_ce", "the paper's plain subnets, fused by sum,", "ce", rate=PLAIN_HEADS, subnets="plain", rule="sum"
        ),
    ),
    "losses": tuple(_from_base(name, what, name) for name, what in losses.OTHER_LOSSES.items()),
    "search": (
        *(
            _from_base(
                f"confusion_ce_lambda_{penalty}".replace(".", "_"),
                f"{NEW} at lambda {penalty}",
                "confusion_ce",
                penalty=float(penalty),
            )
            for penalty in PENALTIES
        ),
        _from_base(
            "confusion_ce_row",
            f"{NEW}, each row of C summing to 1, at lambda 1",
            "confusion_ce",
            scheme="confusion_row",
            penalty=1.0,
        ),
        _from_base(
            "confusion_ce_uniform",
            f"{NEW}, all of C being 1, at lambda 1",
            "confusion_ce",
            scheme="uniform",
            penalty=1.0,
        ),
    ),
}  # fmt: skip
DEFAULT = ("main", "controls")
ARMS = {arm.key: arm for family in FAMILIES.values() for arm in family}


def chosen(keys=None, families=None) -> tuple:
    """The arms with these keys or of these families, and those that they need, in the tables' order.

    None of both: the families of DEFAULT. Raises RunError for an unknown name.
    """
    for given, known, what in ((keys, ARMS, "arm"), (families, FAMILIES, "family of arms")):
        for name in given or ():
            if name not in known:
                raise RunError(
                    f"a study has no {what} {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}"
                )
    families = families or (() if keys else DEFAULT)
    wanted = {*(keys or ()), *(arm.key for family in families for arm in FAMILIES[family])}
    for arm in reversed(list(ARMS.values())):
        if arm.key in wanted:
            wanted.update(arm.needs)
    return tuple(arm for arm in ARMS.values() if arm.key in wanted)


def waves(arms) -> list:
    """The arms in lists: those of a list need arms of the lists before it alone."""
    depth = {}
    for arm in arms:
        depth[arm.key] = 1 + max((depth[key] for key in arm.needs), default=0)
    return [
        [arm for arm in arms if depth[arm.key] == d] for d in range(1, max(depth.values(), default=0) + 1)
    ]


def has_rates(arm: Arm, rates: dict) -> bool:
    """Whether an arm, and all that it goes on from, have a chosen rate."""
    own = not arm.trained or arm.key in rates
    return own and all(has_rates(ARMS[key], rates) for key in arm.needs)


# ---- the recipe


def phase_of(arm: Arm, rates: dict) -> str:
    """The phase whose network an arm is scored by, at the chosen rates (arm -> rate).

    Of an arm with candidates it is the first one's, which has as many updates as the arm.
    """
    return phase_name(arm.key, rates[arm.key]) if arm.trained else phase_of(ARMS[arm.start], rates)


def phase_name(key: str, rate: float) -> str:
    """The name of an arm's phase at a learning rate: ce, 0.01 -> ce_rate_0_01."""
    return f"{key}_rate_{rate:g}".replace(".", "_").replace("+", "")


def cell_of(arm: Arm, rates: dict) -> str:
    """The key of an arm's cell at the chosen rates; an arm with candidates has none."""
    name = phase_of(arm, rates)
    return name if arm.trained else f"{name}_{arm.rule}"


def recipe(plan: Plan, data: str, arms, tried: dict, rates: dict, seed: int) -> Recipe:
    """The recipe of some arms: one phase for `base`, and one for each learning rate that an arm tries.

    data    name of the data set
    tried   arm -> its learning rates
    rates   arm -> the chosen one, for arms that others start from
    A phase has the same name and settings in every recipe that has it, so that one run folder can hold them all.
    """
    phases = [phase(BASE, epochs=plan.epochs.base, learning_rate=BASE_RATE, warm_up=WARM_UP)]
    cells = [Cell(BASE, "0", losses_in_words("ce"), BASE)]
    for arm in arms:
        if arm.candidates:
            continue  # it has no phase: `fitted` makes it from finished ones
        subnets = "all" if PARTS[arm.trains].has_groups or not arm.trained else "0"
        if not arm.trained:
            cells.append(
                Cell(
                    cell_of(arm, rates),
                    subnets,
                    losses_in_words(arm.loss),
                    phase_of(arm, rates),
                    rule=arm.rule,
                )
            )
            continue
        start = BASE if arm.start == BASE else phase_of(ARMS[arm.start], rates)
        own = dict(arm.settings)
        if arm.matrix is not None:
            own["matrix"] = phase_of(ARMS[arm.matrix], rates)
        for rate in tried[arm.key]:
            name = phase_name(arm.key, rate)
            epochs = getattr(plan.epochs, arm.length)
            phases.append(
                phase(name, start, arm.trains, loss=arm.loss, epochs=epochs, learning_rate=rate, **own)
            )
            cells.append(Cell(name, subnets, losses_in_words(arm.loss), name))
    settings = {**SMALL_EFFICIENTNET, "batch_size": plan.batch_size, "crop": plan.crop, "scale": plan.scale}
    return declare(
        name="study",
        title="What confusing groups are worth",
        profile=plan.profile,
        data=data,
        groups="discover",
        matrix_phase=BASE,
        matrix_images=plan.matrix_images,
        phases=phases,
        cells=cells,
        seed=seed,
        **settings,
    )


def losses_in_words(loss: str) -> str:
    """A loss as tables name it."""
    return {"ce": "CE", "confusion_ce": "confusion CE"}.get(loss, loss)
