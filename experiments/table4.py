"""Table 4: improvement on ResNet-38, Cityscapes val. The paper: 78.08 / 79.07 / 79.38 mIoU.

Run:   make reproduce-cityscapes CITYSCAPES_ROOT=FOLDER WEIGHTS=RELEASED.params     Table 3, then this one
       .venv/bin/python -m experiments.table4 --root CITYSCAPES_ROOT --weights RELEASED.params
       .venv/bin/python -m experiments.table4 --dry-run   two steps of each stage, on drawn images and random values
Cost and what it gives: experiments/README.md (never run here: it takes GPUs, Cityscapes and the released weights).

The first column is the released network as it is. The paper's 78.08 was trained with OHEM and scored with flipped
images averaged (docs/decisions.md). The three cells are scored on one scale, unflipped; cell `flip` is the released
network as its authors tested it.
"""

from __future__ import annotations

from gluon_confseg.subnets import PLAIN

from .command import main
from .recipe import Arm, Recipe, StagePlan

PAPER = (78.08, 79.07, 79.38)

RECIPES = {
    "full": Recipe(
        experiment="table4",
        title="Table 4: subnets and improved cross-entropy on ResNet-38",
        data="cityscapes",
        encoder="resnet38",
        norm="frozen",  # as its authors trained it
        pretrained=False,
        needs_weights=True,
        stages=(
            StagePlan("ce", None, "baseline", "CE", 0, 0.0),
            StagePlan("subnets_ce", "ce", "subnets", "CE", 20, 0.002),
            StagePlan("new_ce", "ce", "baseline", "new CE", 20, 0.0005),
        ),
        arms=(
            Arm("subnet0_ce", "0", "CE", "ce", PAPER[0]),
            Arm("flip", "0", "CE, flip", "ce", PAPER[0], test="flip-bicubic"),
            Arm("all_ce", "0-3", "CE", "subnets_ce", PAPER[1]),
            Arm("subnet0_new", "0", "new CE", "new_ce", PAPER[2]),
        ),
        matrix_stage="ce",
        subnet_head=PLAIN,
        other_rules=("product",),
        paper_table="Table 4",
        paper_encoder="ResNet-38",
    )
}

if __name__ == "__main__":
    main(RECIPES, default="full", doc=__doc__)
