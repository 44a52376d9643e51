"""Table 2: other techniques against confusion on Cityscapes val, each alone and together with ours. Ours: 77.75 mIoU.

Run:   confseg train table2 --root CITYSCAPES_ROOT                              every cell
       confseg train table2 --root CITYSCAPES_ROOT --cell ohem ohem_ours        some of them, with what they need
       confseg train table2 --dry-run --cell gcn_ours                           what that will need
Cost:  days on GPUs for each cell, never run here
Gives: every loss, head and encoder that the paper sets its own beside, alone and with ours (cell NAME_ours).

A cell has its technique's name; NAME_ours is the same network with ours: subnets trained by the improved cross-entropy
on a frozen encoder, and, unless the technique is a loss itself, the improved cross-entropy for subnet 0 as well. All at
output stride 8, on ResNet-101 where nothing else is said. Numbers of the paper are those that others published, with
their own training: DeepLabV2's two at output stride 16 as Table 2 has them, loss max-pooling's on DeepLabV2 with CRF.
"""

from __future__ import annotations

import dataclasses

from gluon_confseg import losses
from gluon_confseg.recipe import SMALL_RESNET, Cell, declare, phase
from gluon_confseg.report.tables import SEVERAL
from gluon_confseg.subnets import PLAIN, HeadSettings


@dataclasses.dataclass(frozen=True)
class Technique:
    """What differs from the plain network trained by cross-entropy, and what the paper's Table 2 says of it.

    own   settings of its phases: encoder, head, norm
    tta   further ways of testing it -> the paper's mIoU
    """

    name: str
    paper: float | None = None
    loss: str = "ce"
    own: dict = dataclasses.field(default_factory=dict)
    tta: dict = dataclasses.field(default_factory=dict)


LOSSES = {"ohem": 71.16}  # the paper's mIoU for FCRN-101, which trained with it
ASPP_V2, ASPP_V3, GCN = ({"head": HeadSettings(kind=kind)} for kind in ("aspp_v2", "aspp_v3", "gcn"))
RESNEXT = {"encoder": "resnext101_32x4d"}
NETWORKS = (
    Technique("aspp_v2", 71.0, own=ASPP_V2, tta={"crf": 71.4}),
    Technique("aspp_v3", own=ASPP_V3),
    Technique("gcn", 76.9, own={"encoder": "resnet152", **GCN}, tta={"multi-scale": 77.4}),
    Technique("resnext101", 74.42, own=RESNEXT),
    Technique("inplace_abn", 77.58, own={**RESNEXT, "norm": "inplace"}),
    Technique("ohem_152", 71.51, "ohem", own={"encoder": "resnet152"}),
    Technique("loss_max_pooling_aspp", 75.06, "loss_max_pooling", own=ASPP_V2),
    # "it is necessary to integrate multiple techniques together, such as ASPP, I-ABN, and LMP"
    Technique(
        "integrated",
        loss="loss_max_pooling",
        own={**RESNEXT, **ASPP_V3, "norm": "inplace"},
        tta={"multi-scale": None},
    ),
)
TECHNIQUES = tuple(Technique(name, LOSSES.get(name), name) for name in losses.OTHER_LOSSES) + NETWORKS
OURS_TTA = ("flip", "multi-scale", "window")


def small(technique: Technique) -> Technique:
    """The technique on the recipe's own encoder and its third stage, for tests of the wiring."""
    head = technique.own.get("head")
    own = {"head": HeadSettings(kind=head.kind, stages=SMALL_RESNET["head"].stages)} if head else {}
    return dataclasses.replace(technique, own=own)


def phases(techniques, subnet0: int, subnets: int, rate: float) -> tuple:
    """The paper's own, less subnets on cross-entropy, then two or three of each technique: alone, and with ours."""
    first = {"epochs": subnet0, "learning_rate": rate}
    heads = {"loss": "confusion_ce", "epochs": subnets, "learning_rate": rate}
    found = [
        phase("ce", **first),
        phase("confusion_ce", loss="confusion_ce", **first),
        phase("ours", "confusion_ce", "subnets", **heads),
    ]
    for technique in techniques:
        name, own = technique.name, technique.own
        start, matrix = name, {"matrix": name} if own else {}  # another network makes confusions of its own
        found.append(phase(name, loss=technique.loss, **first, **own))
        if technique.loss == "ce":
            start = f"{name}_confusion_ce"
            found.append(phase(start, loss="confusion_ce", **first, **own, **matrix))
        found.append(phase(f"{name}_ours", start, "subnets", **heads, **matrix))
    return tuple(found)


def cells(techniques) -> tuple:
    """The plain network and ours, then each technique alone and with ours; other ways of testing at the end of each.

    What a cell says of its loss names technique and way of testing too: "subnet 0, CE" would be said of many.
    """
    found = [
        Cell("ce", "0", "CE", "ce", 74.70),
        Cell("confusion_ce", "0", "confusion CE", "confusion_ce", 76.21),
        Cell("ours", "0-3", "confusion CE", "ours", 77.75),
    ]
    for tta in OURS_TTA:
        found.append(Cell(f"ce{_suffix(tta)}", "0", f"CE, {tta}", "ce", tta=tta))
        found.append(Cell(f"ours{_suffix(tta)}", "0-3", f"confusion CE, {tta}", "ours", tta=tta))
    for technique in techniques:
        name, ours = technique.name, f"{technique.name}_ours"
        loss = f"CE, {name}" if technique.loss == "ce" else name
        for tta, paper in {"single": technique.paper, **technique.tta}.items():
            end, words = _suffix(tta), "" if tta == "single" else f", {tta}"
            found.append(Cell(f"{name}{end}", "0", f"{loss}{words}", name, paper, tta=tta))
            found.append(Cell(f"{ours}{end}", "0-3", f"confusion CE, {name}{words}", ours, tta=tta))
    return tuple(found)


def _suffix(tta: str) -> str:
    return "" if tta == "single" else f"_{tta.replace('-', '_')}"


COMMON = {
    "name": "table2",
    "title": "Table 2: other techniques, alone and with ours",
    "data": "cityscapes",
    "matrix_phase": "ce",
    "paper_table": "Table 2",
    "paper_encoder": SEVERAL,
}
SMALL = tuple(map(small, TECHNIQUES))

PROFILES = {
    "full": declare(
        **COMMON,
        profile="full",
        phases=phases(TECHNIQUES, subnet0=100, subnets=20, rate=0.002),
        cells=cells(TECHNIQUES),
        subnet_head=PLAIN,  # of every technique, whatever its subnet 0
    ),
    "smoke": declare(
        **COMMON,
        **SMALL_RESNET,
        profile="smoke",
        phases=phases(SMALL, subnet0=1, subnets=1, rate=0.02),
        cells=cells(SMALL),
        crop=(64, 64),
        batch_size=4,
        matrix_images=4,
        draw={"train": 8, "val": 4, "size": (256, 128)},
    ),
}
