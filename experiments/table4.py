"""Table 4: improvement on ResNet-38, Cityscapes val. The paper: 78.08 / 79.07 / 79.38 mIoU.

Run:   confseg train table4 --root CITYSCAPES_ROOT --weights RELEASED.params
       confseg train table4 --dry-run     two steps of each phase, on drawn images and random values
Cost:  days on GPUs, never run here: it takes Cityscapes and the released weights
Gives: the paper's three columns, and the released network as its authors tested it (cell `flip`).

The first column is the released network as it is. The paper's 78.08 was trained with OHEM and scored with flipped
images averaged (docs/decisions.md). The three cells are scored on one scale, unflipped.
"""

from gluon_confseg.recipe import Cell, declare, phase

PAPER = (78.08, 79.07, 79.38)

PROFILES = {
    "full": declare(
        name="table4",
        title="Table 4: subnets and improved cross-entropy on ResNet-38",
        data="cityscapes",
        profile="full",
        encoder="resnet38",
        norm="frozen",  # as its authors trained it
        pretrained=False,
        phases=(
            phase("ce", epochs=0),  # the released network, from --weights
            phase("subnets_ce", "ce", "subnets", epochs=20),
            phase("confusion_ce", "ce", loss="confusion_ce", epochs=20, learning_rate=0.0005),
        ),
        cells=(
            Cell("subnet0_ce", "0", "CE", "ce", PAPER[0]),
            Cell("flip", "0", "CE, flip", "ce", PAPER[0], tta="flip-bicubic"),
            Cell("subnets_ce", "0-3", "CE", "subnets_ce", PAPER[1]),
            Cell("subnet0_confusion_ce", "0", "confusion CE", "confusion_ce", PAPER[2]),
        ),
        matrix_phase="ce",
        other_rules=("product",),
        paper_table="Table 4",
        paper_encoder="ResNet-38",
    )
}
