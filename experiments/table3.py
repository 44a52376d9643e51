"""Table 3: improvement on ResNet-101, Cityscapes val. The paper: 74.70 / 75.55 / 76.21 / 77.75 mIoU.

Run:   make reproduce-cityscapes                          street scenes that the package draws itself
       make reproduce-cityscapes CITYSCAPES_ROOT=FOLDER   the paper's setting, on GPUs
       make reproduce-cityscapes CITYSCAPES_ROOT=FOLDER PROFILE=quick   a small network, for a machine without GPU
       .venv/bin/python -m experiments.table3 --dry-run   two steps of each stage in the paper's setting
Cost and what each gives: experiments/README.md.
"""

from __future__ import annotations

from gluon_confseg.subnets import PLAIN, HeadSettings

from .command import PROJECT, main
from .recipe import Recipe, branching_stages, four_arms, separate_stages

PAPER = (74.70, 75.55, 76.21, 77.75)
COMMON = {
    "experiment": "table3",
    "title": "Table 3: subnets and improved cross-entropy",
    "data": "cityscapes",
    "arms": four_arms(PAPER),
}
# a network that two cores train in minutes: the paper's structure on the first three stages of the smallest ResNet
SMALL = {
    "encoder": "resnet18",
    "output_stride": 16,
    "last_stage": 3,
    "pretrained": False,
    "subnets": "residual",
    "rule": "residual_product",
    "other_rules": ("sum", "product"),
    "head": HeadSettings(channels=128, depth=2, dilation=2, stages=(3,)),
    "subnet_head": HeadSettings(channels=64, depth=2, dilation=1, stages=(1, 2, 3)),
    "matrix_stage": "base",
}

RECIPES = {
    "drawn": Recipe(
        **COMMON,
        **SMALL,
        stages=branching_stages(base=15, baseline=4, subnets=4, rate=0.02, fine_rate=0.01, subnet_rate=0.5),
        crop=(192, 192),
        batch_size=4,
        matrix_images=60,
        draw={"train": 240, "val": 60, "size": (512, 256)},
        profile="drawn",
    ),
    "full": Recipe(
        **COMMON,
        stages=separate_stages(baseline=100, subnets=20, rate=0.002),
        matrix_stage="ce",
        rule="sum",
        subnet_head=PLAIN,
        other_rules=("product", "residual_product"),
        profile="full",
    ),
    "quick": Recipe(
        **COMMON,
        **SMALL,
        stages=branching_stages(base=2, baseline=1, subnets=1, rate=0.02, fine_rate=0.01, subnet_rate=0.5),
        crop=(256, 256),
        batch_size=8,
        matrix_images=100,
        profile="quick",
    ),
    "smoke": Recipe(
        **COMMON,
        **SMALL,
        stages=branching_stages(base=1, baseline=1, subnets=1, rate=0.02, fine_rate=0.01, subnet_rate=0.5),
        crop=(64, 64),
        batch_size=4,
        matrix_images=4,
        draw={"train": 8, "val": 4, "size": (256, 128)},
        profile="smoke",
    ),
}


def drawn_root(recipe: Recipe):
    """Where the drawn scenes of a recipe are: data/drawn-scenes/, ignored by git."""
    draw = recipe.draw
    width, height = draw["size"]
    name = f"{width}x{height}-train{draw['train']}-val{draw['val']}-seed{draw['seed']}"
    return PROJECT / "data" / "drawn-scenes" / name


if __name__ == "__main__":
    main(RECIPES, default="drawn without --root, full with it", root_default=drawn_root, doc=__doc__)
