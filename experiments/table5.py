"""Table 5: ResNet-101, PASCAL VOC 2012 val. The paper: 75.43 / 76.51 (the text: 75.51) / 76.91 mIoU.

Run:   make reproduce-voc VOC_ROOT=FOLDER     it holds VOCdevkit/ and benchmark_RELEASE/, see data/voc/README.md
       .venv/bin/python -m experiments.table5 --dry-run   two steps of each stage, on drawn images
Cost:  two baselines of 80 epochs of 10,582 images, subnets of 16; not measured
Gives: the paper's three columns from SBD's and VOC's training images (`train_aug`), on VOC val.
"""

from __future__ import annotations

from gluon_confseg.subnets import PLAIN

from .command import main
from .recipe import Arm, Recipe, separate_stages

PAPER = (75.43, 76.51, 76.91)

RECIPES = {
    "full": Recipe(
        experiment="table5",
        title="Table 5: subnet 1 and improved cross-entropy on PASCAL VOC",
        data="voc",
        train_split="train_aug",
        stages=separate_stages(baseline=80, subnets=16, rate=0.002),
        arms=(
            Arm("subnet0_ce", "0", "CE", "ce", PAPER[0]),
            Arm("all_ce", "0 and 1", "CE", "subnets_ce", PAPER[1]),
            Arm("all_new", "0 and 1", "new CE", "subnets_new", PAPER[2]),
        ),
        matrix_stage="ce",
        subnet_head=PLAIN,
        other_rules=("product",),
        paper_table="Table 5",
        paper_data="PASCAL VOC 2012 val",
    )
}

if __name__ == "__main__":
    main(RECIPES, default="full", doc=__doc__)
