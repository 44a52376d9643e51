"""Table 3's four arms on CamVid: real photographs, groups discovered from the network's own confusion matrix.

Run:   make reproduce-camvid CAMVID_ROOT=FOLDER                 the quick profile
       make reproduce-camvid CAMVID_ROOT=FOLDER PROFILE=full
Cost and what each gives: experiments/README.md. The paper has no CamVid numbers.
"""

from __future__ import annotations

from .command import main
from .recipe import Recipe, branching_stages, four_arms
from .table3 import SMALL

COMMON = {
    "experiment": "camvid",
    "title": "Table 3's four arms on CamVid",
    "data": "camvid",
    "groups": "discover",
    "arms": four_arms(last="all"),
    **SMALL,
}

RECIPES = {
    "quick": Recipe(
        **COMMON,
        stages=branching_stages(base=10, baseline=2, subnets=3, rate=0.02, fine_rate=0.01, subnet_rate=0.5),
        crop=(180, 240),
        scale=(0.5, 1.0),
        batch_size=4,
        matrix_images=60,
        profile="quick",
    ),
    "full": Recipe(
        **COMMON,
        stages=branching_stages(base=24, baseline=6, subnets=4, rate=0.02, fine_rate=0.01, subnet_rate=0.5),
        crop=(240, 320),
        scale=(0.5, 1.2),
        batch_size=4,
        profile="full",
    ),
    "smoke": Recipe(
        **COMMON,
        stages=branching_stages(base=1, baseline=1, subnets=1, rate=0.02, fine_rate=0.01, subnet_rate=0.5),
        crop=(64, 64),
        scale=(0.2, 0.3),
        batch_size=64,
        matrix_images=8,
        profile="smoke",
    ),
}

if __name__ == "__main__":
    main(RECIPES, default="quick", doc=__doc__)
