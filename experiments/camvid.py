"""Table 3's four columns on CamVid: real photographs, groups discovered from the network's own confusion matrix.

Run:   confseg train camvid --root CAMVID_ROOT                     or: make reproduce-camvid CAMVID_ROOT=FOLDER
       confseg train camvid --root CAMVID_ROOT --profile full
Cost:  quick: about a quarter of an hour on a CPU; full: about three times as long (experiments/README.md)
Gives: what subnets and the improved cross-entropy change on a small network, beside cross-entropy trained on for as
       long. The paper has no CamVid numbers.
"""

from gluon_confseg.recipe import SMALL_RESNET, branching_phases, declare, four_cells

COMMON = {
    "name": "camvid",
    "title": "Table 3's four columns on CamVid",
    "data": "camvid",
    "groups": "discover",
    "cells": four_cells(fused="all", continued=True),
    "matrix_phase": "base",
    "other_rules": ("sum", "product"),
    **SMALL_RESNET,
}
RATES = {"rate": 0.02, "fine_rate": 0.01, "subnet_rate": 0.5}

PROFILES = {
    "quick": declare(
        **COMMON,
        profile="quick",
        phases=branching_phases(base=10, subnet0=2, subnets=3, **RATES, continued=True),
        crop=(180, 240),
        scale=(0.5, 1.0),
        batch_size=4,
        matrix_images=60,
    ),
    "full": declare(
        **COMMON,
        profile="full",
        phases=branching_phases(base=24, subnet0=6, subnets=4, **RATES, continued=True),
        crop=(240, 320),
        scale=(0.5, 1.2),
        batch_size=4,
    ),
    "smoke": declare(
        **COMMON,
        profile="smoke",
        phases=branching_phases(base=1, subnet0=1, subnets=1, **RATES, continued=True),
        crop=(64, 64),
        scale=(0.2, 0.3),
        batch_size=64,
        matrix_images=8,
    ),
}
