"""The claim on real photographs: what subnets and the improved cross-entropy gain on CamVid, beside their controls.

Run:   make study-camvid CAMVID_ROOT=FOLDER                         the four cells and their controls, 3 seeds
       make study-camvid CAMVID_ROOT=FOLDER PROFILE=quick            10 minutes: what it does, not what is true
       make study-camvid CAMVID_ROOT=FOLDER ARGS="--families losses --seeds 0"
       make study-drawn                                              19 classes, some alike, in scenes drawn for it
Cost:  experiments/README.md
Gives: docs/study.md. The paper has no CamVid numbers.

EfficientNet-Lite0, its first eleven blocks, ImageNet weights, output stride 8. One cross-entropy network, `base`, from
which every cell goes on for as many steps as the others, drawing the same crops. Subnets and the heads of the controls
train on the frozen result. Each seed is a run folder and a process of one thread; killed, the same command goes on.

A cell's name is [HEADS_]LOSS[_HOW]: `ce` is subnet 0 trained by cross-entropy, `subnets_ce` has subnets on it, and
`one_confusion_ce_slow` one head for all classes, by the confusion-weighted cross-entropy, at a lower learning rate.
"""

from __future__ import annotations

from gluon_confseg import losses
from gluon_confseg.phases import PARTS
from gluon_confseg.recipe import SMALL_EFFICIENTNET, Cell, declare, phase

PENALTIES = (1, 2.5, 10, 20)


def of_penalty(penalty: float) -> str:
    """The name of the cell whose lambda is another than 5."""
    return f"confusion_ce_lambda_{penalty}".replace(".", "_")


# what each family of cells answers
FAMILIES = {
    "main": ("ce", "confusion_ce", "subnets_ce", "subnets_confusion_ce"),
    "controls": (
        "one_ce",
        "one_confusion_ce",
        "one_confusion_ce_slow",
        "one_confusion_ce_fast",
        "subnets_confusion_ce_slow",
        "subnets_confusion_ce_fast",
        "whole_ce",
        "whole_confusion_ce",
        "whole_confusion_ce_mean",
        "random_ce",
        "random_confusion_ce",
        "confusion_ce_shuffled",
        "ce_continued",
        "confusion_ce_continued",
        "subnets_confusion_ce_long",
        "one_confusion_ce_long",
        "ce_longer",
        "confusion_ce_longer",
    ),
    "fusion": (
        "subnets_confusion_ce_sum",
        "subnets_confusion_ce_product",
        "subnets_confusion_ce_conditional",
        "subnets_confusion_ce_learned",
        "plain_ce",
        "subnets_confusion_ce_iterated",
    ),
    "losses": tuple(losses.OTHER_LOSSES),
    # for losses whose gradients are larger than cross-entropy's
    "slow_losses": tuple(f"{name}_slow" for name in losses.OTHER_LOSSES),
    "search": (*map(of_penalty, PENALTIES), "confusion_ce_row", "confusion_ce_uniform"),
}
DEFAULT = ("main", "controls", "fusion", "losses")

# profile -> the cells it does unless told otherwise; full: the families of DEFAULT
QUICK = (*FAMILIES["main"], "one_confusion_ce", "random_confusion_ce")
CELLS = {
    "quick": QUICK,
    "smoke": QUICK,
    "drawn": (
        *FAMILIES["main"],
        "one_ce",
        "one_confusion_ce",
        "whole_confusion_ce",
        "whole_confusion_ce_mean",
        "random_confusion_ce",
        "confusion_ce_shuffled",
        "ce_continued",
        "confusion_ce_continued",
        "subnets_confusion_ce_sum",
        "subnets_confusion_ce_conditional",
    ),
}


def phases(base: int, subnet0: int, subnets: int, rate: float, fine_rate: float, subnet_rate: float) -> tuple:
    """Every phase of the study: epochs of the base, of subnet 0 from it on, and of subnets; their learning rates."""
    fine = {"epochs": subnet0, "learning_rate": fine_rate}
    continued = {"epochs": subnets, "learning_rate": fine_rate}

    def from_base(name: str, loss: str, **own) -> dict:
        return phase(name, "base", loss=loss, **{**fine, **own})

    def heads(name: str, start: str, loss: str, rate: float = 1, **own) -> dict:
        settings = {"loss": loss, "epochs": subnets, "learning_rate": rate * subnet_rate}
        return phase(name, start, "subnets", **settings, **own)

    new = ("confusion_ce", "confusion_ce")  # start and loss
    return (
        phase("base", epochs=base, learning_rate=rate, warm_up=50),
        from_base("ce", "ce"),
        from_base("confusion_ce", "confusion_ce"),
        heads("subnets_ce", "ce", "ce"),
        heads("subnets_confusion_ce", *new),
        heads("one_ce", "ce", "ce", groups="one"),
        heads("one_confusion_ce", *new, groups="one"),
        heads("one_confusion_ce_slow", *new, 0.4, groups="one"),
        heads("one_confusion_ce_fast", *new, 2, groups="one"),
        heads("subnets_confusion_ce_slow", *new, 0.4),
        heads("subnets_confusion_ce_fast", *new, 2),
        heads("whole_ce", "ce", "ce", groups="whole"),
        heads("whole_confusion_ce", *new, groups="whole"),
        heads("random_ce", "ce", "ce", groups="random"),
        heads("random_confusion_ce", *new, groups="random"),
        from_base("confusion_ce_shuffled", "confusion_ce", scheme="shuffled"),
        phase("ce_continued", "ce", loss="ce", **continued),
        phase("confusion_ce_continued", "confusion_ce", loss="confusion_ce", **continued),
        heads("subnets_confusion_ce_long", "confusion_ce_continued", "confusion_ce"),
        heads("one_confusion_ce_long", "confusion_ce_continued", "confusion_ce", groups="one"),
        phase("ce_longer", "ce_continued", loss="ce", **continued),
        phase("confusion_ce_longer", "confusion_ce_continued", loss="confusion_ce", **continued),
        phase("subnets_confusion_ce_learned", "subnets_confusion_ce", "fusion", epochs=1, learning_rate=fine_rate),
        heads("plain_ce", "ce", "ce", subnets="plain", rule="sum"),
        heads("subnets_confusion_ce_iterated", *new, matrix="confusion_ce"),
        *(from_base(name, name) for name in losses.OTHER_LOSSES),
        *(from_base(f"{name}_slow", name, learning_rate=0.4 * fine_rate) for name in losses.OTHER_LOSSES),
        *(from_base(of_penalty(penalty), "confusion_ce", penalty=float(penalty)) for penalty in PENALTIES),
        from_base("confusion_ce_row", "confusion_ce", scheme="confusion_row", penalty=1.0),
        from_base("confusion_ce_uniform", "confusion_ce", scheme="uniform", penalty=1.0),
    )  # fmt: skip


# cells that read another cell's network, by a rule of their own
READ_BY = {
    **{f"subnets_confusion_ce_{rule}": ("subnets_confusion_ce", rule) for rule in ("sum", "product", "conditional")},
    "whole_confusion_ce_mean": ("whole_confusion_ce", "conditional"),  # of full heads: their mean
}  # fmt: skip
WORDS = {"ce": "CE", "confusion_ce": "confusion CE"}


def cells() -> tuple:
    """Every cell of the study: its phase has its name, but for those of READ_BY."""
    known = {declared["name"]: declared for declared in phases(1, 1, 1, 1, 1, 1)}
    found = []
    for key in (key for family in FAMILIES.values() for key in family):
        name, rule = READ_BY.get(key, (key, None))
        declared = known[name]
        of_loss = known[declared["start"]] if PARTS[declared["trains"]].has_learned_fusion else declared
        loss = of_loss["own"]["loss"]
        subnets = "all" if PARTS[declared["trains"]].has_groups else "0"
        found.append(Cell(key, subnets, WORDS.get(loss, loss), name, rule=rule))
    return tuple(found)


COMMON = {
    "name": "study",
    "title": "What confusing groups are worth on CamVid",
    "data": "camvid",
    "groups": "discover",
    "cells": cells(),
    "matrix_phase": "base",
    **SMALL_EFFICIENTNET,
}
RATES = {"rate": 0.02, "fine_rate": 0.02, "subnet_rate": 0.5}
CROP = (160, 224)  # sides of whole features at every dilation: see the encoder

PROFILES = {
    "full": declare(
        **COMMON,
        profile="full",
        phases=phases(base=12, subnet0=4, subnets=5, **RATES),
        crop=CROP,
        scale=(0.5, 1.1),
    ),
    "quick": declare(
        **COMMON,
        profile="quick",
        phases=phases(base=12, subnet0=2, subnets=2, **RATES),
        crop=(96, 128),
        scale=(0.5, 1.1),
        matrix_images=60,
    ),
    # where groups should matter most: more classes, which look alike, and a base that is trained to its end
    "drawn": declare(
        **{**COMMON, "data": "cityscapes", "title": "What confusing groups are worth on drawn street scenes"},
        profile="drawn",
        phases=phases(base=24, subnet0=4, subnets=5, **RATES),
        crop=CROP,
        draw={"train": 240, "val": 60, "size": (512, 256), "seed": 0},
    ),
    "smoke": declare(
        **COMMON,
        profile="smoke",
        phases=phases(base=1, subnet0=1, subnets=1, rate=0.02, fine_rate=0.01, subnet_rate=0.5),
        crop=(64, 64),
        scale=(0.2, 0.3),
        matrix_images=4,
    ),
}
