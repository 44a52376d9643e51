"""The claim on real photographs: what subnets and the improved cross-entropy gain on CamVid, beside their controls.

Run:   make study-camvid CAMVID_ROOT=FOLDER                         the four arms and their controls, 3 seeds
       make study-camvid CAMVID_ROOT=FOLDER PROFILE=quick            10 minutes: what it does, not what is true
       make study-camvid CAMVID_ROOT=FOLDER ARGS="--families peers --seeds 0"
       make study-drawn                                              19 classes, some alike, in scenes drawn for it
Cost and what it gives: experiments/README.md; what it showed: docs/study.md. The paper has no CamVid numbers.

EfficientNet-Lite0, its first eleven blocks, ImageNet weights, output stride 8. One cross-entropy network, `base`, from
which every arm goes on for as many steps as the others, drawing the same crops. Subnets and the heads of the controls
train on the frozen result. Each seed is a run folder and a process of one thread; killed, the same command goes on.
"""

from __future__ import annotations

from gluon_confseg import losses
from gluon_confseg.subnets import HeadSettings

from .recipe import Arm, Recipe, StagePlan

# what each family of cells answers
FAMILIES = {
    "main": ("ce", "new_ce", "ce_subnets", "new_subnets"),
    "controls": (
        "ce_one",
        "new_one",
        "new_one_slow",
        "new_one_fast",
        "new_subnets_slow",
        "new_subnets_fast",
        "ce_whole",
        "new_whole",
        "new_whole_mean",
        "ce_random",
        "new_random",
        "new_ce_shuffled",
        "ce_continued",
        "new_continued",
        "long_subnets",
        "long_one",
        "ce_longer",
        "new_longer",
    ),
    "fusion": ("new_sum", "new_product", "new_conditional", "new_learned", "ce_plain", "new_iterated"),
    "peers": tuple(losses.OTHER_LOSSES),
    # for losses whose gradients are larger than cross-entropy's
    "slow_peers": tuple(f"{name}_slow" for name in losses.OTHER_LOSSES),
    "search": tuple(f"lambda_{penalty}" for penalty in (1, 2.5, 10, 20)) + ("row", "uniform"),
}


# profile -> the cells it does unless told otherwise; full: four families
QUICK = (*FAMILIES["main"], "new_one", "new_random")
CELLS = {
    "quick": QUICK,
    "smoke": QUICK,
    "drawn": (
        *FAMILIES["main"],
        "ce_one",
        "new_one",
        "new_whole",
        "new_whole_mean",
        "new_random",
        "new_ce_shuffled",
        "ce_continued",
        "new_continued",
        "new_sum",
        "new_conditional",
    ),
}


def stages(base: int, arms: int, subnets: int, rate: float, fine_rate: float, subnet_rate: float) -> tuple:
    """Every stage of the study: epochs of the base, of each arm, and of subnets, with their learning rates."""

    def baseline(name: str, loss: str, **changes) -> StagePlan:
        return StagePlan(name, "base", "baseline", loss, **{**arm_training, **changes})

    def heads(name: str, start: str, loss: str, **changes) -> StagePlan:
        return StagePlan(name, start, "subnets", loss, **{**head_training, **changes})

    arm_training = {"epochs": arms, "learning_rate": fine_rate}
    head_training = {"epochs": subnets, "learning_rate": subnet_rate}
    continued = {"epochs": subnets, "learning_rate": fine_rate}
    return (
        StagePlan("base", None, "baseline", "CE", base, rate, warm_up=50),
        baseline("ce", "CE"),
        baseline("new_ce", "new CE"),
        heads("ce_subnets", "ce", "CE"),
        heads("new_subnets", "new_ce", "new CE"),
        heads("ce_one", "ce", "CE", groups="one"),
        heads("new_one", "new_ce", "new CE", groups="one"),
        heads("new_one_slow", "new_ce", "new CE", groups="one", learning_rate=0.4 * subnet_rate),
        heads("new_one_fast", "new_ce", "new CE", groups="one", learning_rate=2 * subnet_rate),
        heads("new_subnets_slow", "new_ce", "new CE", learning_rate=0.4 * subnet_rate),
        heads("new_subnets_fast", "new_ce", "new CE", learning_rate=2 * subnet_rate),
        heads("ce_whole", "ce", "CE", groups="whole"),
        heads("new_whole", "new_ce", "new CE", groups="whole"),
        heads("ce_random", "ce", "CE", groups="random"),
        heads("new_random", "new_ce", "new CE", groups="random"),
        baseline("new_ce_shuffled", "new CE", scheme="shuffled"),
        StagePlan("ce_continued", "ce", "baseline", "CE", **continued),
        StagePlan("new_continued", "new_ce", "baseline", "new CE", **continued),
        heads("long_subnets", "new_continued", "new CE"),
        heads("long_one", "new_continued", "new CE", groups="one"),
        StagePlan("ce_longer", "ce_continued", "baseline", "CE", **continued),
        StagePlan("new_longer", "new_continued", "baseline", "new CE", **continued),
        StagePlan("new_learned", "new_subnets", "fusion", "CE", 1, fine_rate),
        heads("ce_plain", "ce", "CE", subnets="plain"),
        heads("new_iterated", "new_ce", "new CE", matrix="new_ce"),
        *(baseline(name, name) for name in losses.OTHER_LOSSES),
        *(baseline(f"{name}_slow", name, learning_rate=0.4 * fine_rate) for name in losses.OTHER_LOSSES),
        *(baseline(f"lambda_{penalty}", "new CE", penalty=penalty) for penalty in (1, 2.5, 10, 20)),
        baseline("row", "new CE", scheme="confusion_row", penalty=1.0),
        baseline("uniform", "new CE", scheme="uniform", penalty=1.0),
    )


def arms() -> tuple:
    """Every cell of the study: its stage has its name, but for rules that read another cell's network."""
    rules = {
        "new_sum": ("new_subnets", "sum"),
        "new_product": ("new_subnets", "product"),
        "new_conditional": ("new_subnets", "conditional"),
        "new_whole_mean": ("new_whole", "conditional"),  # of full heads: their mean
        "ce_plain": ("ce_plain", "sum"),
    }
    plans = {
        plan.name: plan for plan in stages(base=1, arms=1, subnets=1, rate=1, fine_rate=1, subnet_rate=1)
    }
    cells = []
    for key in (key for family in FAMILIES.values() for key in family):
        stage, rule = rules.get(key, (key, None))
        plan = plans[stage]
        loss = plans[plan.start].loss if plan.trains == "fusion" else plan.loss
        cells.append(Arm(key, "0" if plan.trains == "baseline" else "all", loss, stage, rule=rule))
    return tuple(cells)


COMMON = {
    "experiment": "study",
    "title": "What confusing groups are worth on CamVid",
    "data": "camvid",
    "groups": "discover",
    "arms": arms(),
    "matrix_stage": "base",
    "encoder": "efficientnet_lite0",
    "last_stage": 3,
    "output_stride": 8,
    "subnets": "residual",
    "rule": "residual_product",
    "head": HeadSettings(channels=128, depth=2, dilation=4, stages=(3,)),
    "subnet_head": HeadSettings(channels=64, depth=2, dilation=1, stages=(1, 2, 3)),
    "batch_size": 4,
}

RECIPES = {
    "full": Recipe(
        **COMMON,
        stages=stages(base=12, arms=4, subnets=5, rate=0.02, fine_rate=0.02, subnet_rate=0.5),
        crop=(160, 224),  # sides of whole features at every dilation: see the encoder
        scale=(0.5, 1.1),
        profile="full",
    ),
    "quick": Recipe(
        **COMMON,
        stages=stages(base=12, arms=2, subnets=2, rate=0.02, fine_rate=0.02, subnet_rate=0.5),
        crop=(96, 128),
        scale=(0.5, 1.1),
        matrix_images=60,
        profile="quick",
    ),
    # where groups should matter most: more classes, which look alike, and a base that is trained to its end
    "drawn": Recipe(
        **{**COMMON, "data": "cityscapes", "title": "What confusing groups are worth on drawn street scenes"},
        stages=stages(base=24, arms=4, subnets=5, rate=0.02, fine_rate=0.02, subnet_rate=0.5),
        crop=(160, 224),
        draw={"train": 240, "val": 60, "size": (512, 256), "seed": 0},
        profile="drawn",
    ),
    "smoke": Recipe(
        **COMMON,
        stages=stages(base=1, arms=1, subnets=1, rate=0.02, fine_rate=0.01, subnet_rate=0.5),
        crop=(64, 64),
        scale=(0.2, 0.3),
        matrix_images=4,
        profile="smoke",
    ),
}

if __name__ == "__main__":
    from .study_command import main

    main(RECIPES, FAMILIES, CELLS, __doc__)
