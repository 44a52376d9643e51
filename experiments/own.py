"""Table 3's four columns on your own data: groups discovered from the network's own confusion matrix, with no hand.

Run:   confseg train own --root FOLDER                    images/, labels/ and classes.csv: data/custom/README.md
       confseg train own --root FOLDER --profile full     ResNet-101, the paper's settings: GPUs
Cost:  quick is EfficientNet-Lite0 with ImageNet weights on crops of 160 x 224: on one core about 0.13 s per image and
       epoch. `confseg train own --root FOLDER --dry-run --profile quick` says what the whole takes on this machine.
Gives: which classes are confused, and what subnets and the improved cross-entropy gain, beside cross-entropy trained on
       for as long: see report.html.
"""

from gluon_confseg.recipe import SMALL_EFFICIENTNET, branching_phases, declare, four_cells, separate_phases

COMMON = {
    "name": "own",
    "title": "Table 3's four columns on your own data",
    "data": "custom",
    "groups": "discover",
    "cells": four_cells(fused="all", continued=True),
}
SMALL = {**SMALL_EFFICIENTNET, "matrix_phase": "base"}

PROFILES = {
    "quick": declare(
        **COMMON,
        **SMALL,
        profile="quick",
        phases=branching_phases(
            base=12,
            subnet0=4,
            subnets=5,
            rate=0.02,
            fine_rate=0.02,
            subnet_rate=0.5,
            warm_up=50,
            continued=True,
        ),
        crop=(160, 224),
        scale=(0.5, 1.1),
        other_rules=("sum", "conditional"),
    ),
    "full": declare(
        **COMMON,
        profile="full",
        phases=separate_phases(subnet0=100, subnets=20, rate=0.002, continued=True),
        matrix_phase="ce",
        other_rules=("product",),
    ),
    "smoke": declare(
        **COMMON,
        **SMALL,
        profile="smoke",
        phases=branching_phases(
            base=1, subnet0=1, subnets=1, rate=0.02, fine_rate=0.02, subnet_rate=0.02, continued=True
        ),
        crop=(64, 64),
        scale=(0.4, 0.6),
        matrix_images=4,
    ),
}
FORMER = {"small": "quick", "gpu": "full"}  # names that these profiles had
