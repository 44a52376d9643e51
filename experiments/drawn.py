"""Table 3's four columns on street scenes that the package draws itself: no data set at hand. Not Cityscapes.

Run:   confseg train drawn                      or: make reproduce-cityscapes, without CITYSCAPES_ROOT
Cost:  quick: about ten minutes on two cores (experiments/README.md); smoke: a minute
Gives: which of Cityscapes' 19 classes a small network confuses in drawn scenes, and what subnets on the paper's groups
       and the confusion-weighted cross-entropy change, beside cross-entropy trained on for as long. Don't set the
       numbers beside the paper's.
"""

from gluon_confseg.recipe import SMALL_EFFICIENTNET, branching_phases, declare, four_cells

COMMON = {
    "name": "drawn",
    "title": "Table 3's four columns on drawn street scenes",
    "data": "cityscapes",
    "cells": four_cells(continued=True),
    "matrix_phase": "base",
    "other_rules": ("sum", "product"),
    **SMALL_EFFICIENTNET,
}
RATES = {
    "rate": 0.02,
    "fine_rate": 0.02,
    "subnet_rate": 0.5,
    "warm_up": 50,
}

PROFILES = {
    "quick": declare(
        **COMMON,
        profile="quick",
        phases=branching_phases(base=16, subnet0=4, subnets=4, **RATES, continued=True),
        crop=(128, 192),
        matrix_images=60,
        draw={"train": 240, "val": 60, "size": (512, 256)},
    ),
    "smoke": declare(
        **COMMON,
        profile="smoke",
        phases=branching_phases(base=1, subnet0=1, subnets=1, **RATES, continued=True),
        crop=(64, 64),
        matrix_images=4,
        draw={"train": 8, "val": 4, "size": (256, 128)},
    ),
}
FORMER = {"drawn": "quick"}  # the name that this profile had, and `make ... PROFILE=drawn` still gives
