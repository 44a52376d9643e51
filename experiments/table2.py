"""Table 2: other techniques against confusion on Cityscapes val, each alone and together with ours. Ours: 77.75 mIoU.

Run:   .venv/bin/python -m experiments.table2 --root CITYSCAPES_ROOT                      every cell
       .venv/bin/python -m experiments.table2 --root CITYSCAPES_ROOT --cell ohem ohem_ours
       .venv/bin/python -m experiments.table2 --dry-run --cell gcn_ours                   what that will need
Cost and what it gives: experiments/README.md (never run here: it takes GPUs and Cityscapes).

A cell has its technique's name; NAME_ours is the same network with ours: subnets trained by the new cross-entropy on
a frozen encoder, and, unless the technique is a loss itself, the new cross-entropy for subnet 0 as well. All at output
stride 8, on ResNet-101 where nothing else is said. Numbers of the paper are those that others published, with their own
training: DeepLabV2's two at output stride 16 as Table 2 has them, loss max-pooling's on DeepLabV2 with CRF.
"""

from __future__ import annotations

import dataclasses

from gluon_confseg import losses
from gluon_confseg.report.tables import SEVERAL
from gluon_confseg.subnets import PLAIN, HeadSettings

from .command import main
from .recipe import Arm, Recipe, StagePlan
from .table3 import SMALL


@dataclasses.dataclass(frozen=True)
class Technique:
    """What differs from the plain network trained by cross-entropy, and what the paper's Table 2 says of it.

    tests   further ways of testing it, test -> the paper's mIoU
    """

    name: str
    paper: float | None = None
    loss: str = "CE"
    encoder: str | None = None
    head: HeadSettings | None = None
    norm: str | None = None
    tests: dict = dataclasses.field(default_factory=dict)

    @property
    def changes(self) -> dict:
        """The settings of its network that are its own."""
        own = {name: getattr(self, name) for name in ("encoder", "head", "norm")}
        return {name: value for name, value in own.items() if value is not None}


LOSSES = {"ohem": 71.16}  # the paper's mIoU for FCRN-101, which trained with it
HEADS = {kind: HeadSettings(kind=kind) for kind in ("aspp_v2", "aspp_v3", "gcn")}
NETWORKS = (
    Technique("aspp_v2", 71.0, head=HEADS["aspp_v2"], tests={"crf": 71.4}),
    Technique("aspp_v3", head=HEADS["aspp_v3"]),
    Technique("gcn", 76.9, encoder="resnet152", head=HEADS["gcn"], tests={"multi-scale": 77.4}),
    Technique("resnext101", 74.42, encoder="resnext101_32x4d"),
    Technique("inplace_abn", 77.58, encoder="resnext101_32x4d", norm="inplace"),
    Technique("ohem_152", 71.51, loss="ohem", encoder="resnet152"),
    Technique("loss_max_pooling_aspp", 75.06, loss="loss_max_pooling", head=HEADS["aspp_v2"]),
    Technique(  # "it is necessary to integrate multiple techniques together, such as ASPP, I-ABN, and LMP"
        "integrated",
        loss="loss_max_pooling",
        encoder="resnext101_32x4d",
        head=HEADS["aspp_v3"],
        norm="inplace",
        tests={"multi-scale": None},
    ),
)
OURS_TESTS = ("flip", "multi-scale", "window")


def techniques(small: bool = False) -> tuple:
    """Every technique; with `small` on the recipe's own encoder and its third stage, for tests of the wiring."""
    found = tuple(Technique(name, LOSSES.get(name), loss=name) for name in losses.OTHER_LOSSES) + NETWORKS
    if not small:
        return found
    return tuple(dataclasses.replace(t, encoder=None, norm=None, head=_small(t.head)) for t in found)


def _small(head: HeadSettings | None) -> HeadSettings | None:
    return head and HeadSettings(kind=head.kind, stages=SMALL["head"].stages)


def stages(found, baseline: int, subnets: int, rate: float) -> tuple:
    """The paper's own four, less subnets on cross-entropy, then two or three of each technique."""
    plans = [
        StagePlan("ce", None, "baseline", "CE", baseline, rate),
        StagePlan("new_ce", None, "baseline", "new CE", baseline, rate),
        StagePlan("ours", "new_ce", "subnets", "new CE", subnets, rate),
    ]
    for technique in found:
        plans += _stages_of(technique, baseline, subnets, rate)
    return tuple(plans)


def _stages_of(technique: Technique, baseline: int, subnets: int, rate: float) -> list:
    """Alone, and with ours. A network of its own makes its own confusions, hence its own training matrix."""
    name, changes = technique.name, technique.changes
    alone = StagePlan(name, None, "baseline", technique.loss, baseline, rate, **changes)
    matrix = name if changes else None
    if technique.loss != "CE":
        return [alone, StagePlan(f"{name}_ours", name, "subnets", "new CE", subnets, rate, matrix=matrix)]
    new = StagePlan(f"{name}_new", None, "baseline", "new CE", baseline, rate, matrix=matrix, **changes)
    return [
        alone,
        new,
        StagePlan(f"{name}_ours", new.name, "subnets", "new CE", subnets, rate, matrix=matrix),
    ]


def arms(found) -> tuple:
    """The plain network and ours, then each technique alone and with ours; other tests at the end of each.

    What a cell says of its loss names technique and test too: "subnet 0, CE" would be said of many.
    """
    cells = [
        Arm("ce", "0", "CE", "ce", 74.70),
        Arm("new_ce", "0", "new CE", "new_ce", 76.21),
        Arm("ours", "0-3", "new CE", "ours", 77.75),
    ]
    for test in OURS_TESTS:
        cells.append(Arm(f"ce_{_word(test)}", "0", f"CE, {test}", "ce", test=test))
        cells.append(Arm(f"ours_{_word(test)}", "0-3", f"new CE, {test}", "ours", test=test))
    for technique in found:
        for test, paper in {"single": technique.paper, **technique.tests}.items():
            cells += _cells_of(technique, test, paper)
    return tuple(cells)


def _cells_of(technique: Technique, test: str, paper: float | None) -> list:
    name = technique.name
    key, words = ("", "") if test == "single" else (f"_{_word(test)}", f", {test}")
    said = name if technique.loss != "CE" else f"CE, {name}"
    return [
        Arm(f"{name}{key}", "0", f"{said}{words}", name, paper, test=test),
        Arm(f"{name}_ours{key}", "0-3", f"new CE, {name}{words}", f"{name}_ours", test=test),
    ]


def _word(test: str) -> str:
    return test.replace("-", "_")


COMMON = {
    "experiment": "table2",
    "title": "Table 2: other techniques, alone and with ours",
    "data": "cityscapes",
    "matrix_stage": "ce",
    "paper_table": "Table 2",
    "paper_encoder": SEVERAL,
}

RECIPES = {
    "full": Recipe(
        **COMMON,
        stages=stages(techniques(), baseline=100, subnets=20, rate=0.002),
        arms=arms(techniques()),
        subnet_head=PLAIN,
        profile="full",
    ),
    "smoke": Recipe(
        **COMMON,
        **{name: value for name, value in SMALL.items() if name not in ("matrix_stage", "other_rules")},
        stages=stages(techniques(small=True), baseline=1, subnets=1, rate=0.02),
        arms=arms(techniques(small=True)),
        crop=(64, 64),
        batch_size=4,
        matrix_images=4,
        draw={"train": 8, "val": 4, "size": (256, 128)},
        profile="smoke",
    ),
}

if __name__ == "__main__":
    from .table3 import drawn_root

    main(RECIPES, default="full", root_default=drawn_root, doc=__doc__)
