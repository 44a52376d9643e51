"""Table 5: ResNet-101, PASCAL VOC 2012 val. The paper: 75.43 / 76.51 (the text: 75.51) / 76.91 mIoU.

Run:   confseg train table5 --root VOC_ROOT     it holds VOCdevkit/ and benchmark_RELEASE/, see data/voc/README.md
       confseg train table5 --dry-run           two steps of each phase, on drawn images
Cost:  two networks of 80 epochs of 10,582 images, subnets of 16: days on GPUs, never run here
Gives: the paper's three columns from SBD's and VOC's training images (`train_aug`), on VOC val.
"""

from gluon_confseg.recipe import Cell, declare, separate_phases

PAPER = (75.43, 76.51, 76.91)

PROFILES = {
    "full": declare(
        name="table5",
        title="Table 5: subnet 1 and improved cross-entropy on PASCAL VOC",
        data="voc",
        profile="full",
        train_split="train_aug",
        phases=separate_phases(subnet0=80, subnets=16, rate=0.002),
        cells=(
            Cell("subnet0_ce", "0", "CE", "ce", PAPER[0]),
            Cell("subnets_ce", "0 and 1", "CE", "subnets_ce", PAPER[1]),
            Cell("subnets_confusion_ce", "0 and 1", "confusion CE", "subnets_confusion_ce", PAPER[2]),
        ),
        matrix_phase="ce",
        other_rules=("product",),
        paper_table="Table 5",
        paper_data="PASCAL VOC 2012 val",
    )
}
