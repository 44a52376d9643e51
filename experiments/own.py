"""Table 3's four arms on your own data: groups discovered from the network's own confusion matrix, with no hand.

Run:   make reproduce-own OWN_ROOT=FOLDER                 images/, labels/ and classes.csv: data/custom/README.md
       make reproduce-own OWN_ROOT=FOLDER PROFILE=gpu     ResNet-101, the paper's settings
Cost:  `small` is EfficientNet-Lite0 with ImageNet weights on crops of 160 x 224: on one core about 0.13 s per image
       and epoch. Ask ARGS=--dry-run what the whole takes on this machine.
Gives: which classes are confused, and what subnets and the improved cross-entropy gain: see report.html.
"""

from __future__ import annotations

from .command import main
from .recipe import Recipe, branching_stages, four_arms, separate_stages
from .study import COMMON

OWN = {
    "experiment": "own",
    "title": "Table 3's four arms on your own data",
    "data": "custom",
    "groups": "discover",
    "arms": four_arms(last="all"),
}

RECIPES = {
    "small": Recipe(
        **{**COMMON, **OWN},
        stages=branching_stages(12, 4, 5, rate=0.02, fine_rate=0.02, subnet_rate=0.5, warm_up=50),
        crop=(160, 224),
        scale=(0.5, 1.1),
        other_rules=("sum", "conditional"),
        profile="small",
    ),
    "gpu": Recipe(
        **OWN,
        stages=separate_stages(baseline=100, subnets=20, rate=0.002),
        matrix_stage="ce",
        other_rules=("product",),
        profile="gpu",
    ),
    "smoke": Recipe(
        **{**COMMON, **OWN},
        stages=branching_stages(1, 1, 1, rate=0.02, fine_rate=0.02, subnet_rate=0.02),
        crop=(64, 64),
        scale=(0.4, 0.6),
        matrix_images=4,
        profile="smoke",
    ),
}

if __name__ == "__main__":
    main(RECIPES, default="small", doc=__doc__)
