"""Table 3: improvement on ResNet-101, Cityscapes val. The paper: 74.70 / 75.55 / 76.21 / 77.75 mIoU.

Run:   confseg train table3 --root CITYSCAPES_ROOT           or: make reproduce-cityscapes CITYSCAPES_ROOT=FOLDER
       confseg train table3 --root CITYSCAPES_ROOT --profile quick     a small network, for a machine without GPU
       confseg train table3 --dry-run                        two steps of each phase in the paper's setting
Cost:  full: days on GPUs, never run here; quick: see experiments/README.md
Gives: the paper's four columns; in the short profiles, beside cross-entropy trained on for as long as the subnets.
       Without the data set: `confseg train drawn`.
"""

from gluon_confseg.recipe import SMALL_RESNET, branching_phases, declare, four_cells, separate_phases

PAPER = (74.70, 75.55, 76.21, 77.75)
COMMON = {
    "name": "table3",
    "title": "Table 3: subnets and improved cross-entropy",
    "data": "cityscapes",
}
SMALL = {
    **SMALL_RESNET,
    "cells": four_cells(PAPER, continued=True),
    "matrix_phase": "base",
    "other_rules": ("sum", "product"),
}
RATES = {"rate": 0.02, "fine_rate": 0.01, "subnet_rate": 0.5}

PROFILES = {
    "full": declare(
        **COMMON,
        profile="full",
        cells=four_cells(PAPER),
        phases=separate_phases(subnet0=100, subnets=20, rate=0.002),
        matrix_phase="ce",
        other_rules=("product", "residual_product"),
    ),
    "quick": declare(
        **COMMON,
        **SMALL,
        profile="quick",
        phases=branching_phases(base=2, subnet0=1, subnets=1, **RATES, continued=True),
        crop=(256, 256),
        batch_size=8,
        matrix_images=100,
    ),
    "smoke": declare(
        **COMMON,
        **SMALL,
        profile="smoke",
        phases=branching_phases(base=1, subnet0=1, subnets=1, **RATES, continued=True),
        crop=(64, 64),
        batch_size=4,
        matrix_images=4,
        draw={"train": 8, "val": 4, "size": (256, 128)},
    ),
}
