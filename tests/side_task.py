"""A training of five small phases, of which two at a time need not wait for each other.

Run: python side_task.py FOLDER [JOBS [tensorboard] [NAME=VALUE ...]]

The process's OMP_NUM_THREADS counts. It ends as `confseg train` does, and saves every step.
"""

from __future__ import annotations

import sys

import small

from gluon_confseg import train
from gluon_confseg.cli import frame
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.run_folder import RunFolder

PHASES = ("base", "ce", "confusion_ce", "subnets_ce", "subnets_confusion_ce")


def recipe(settings=()):
    """A base of random values, so that only the four others depend on the number of threads."""
    phases = [
        phase("base", epochs=0),
        phase("ce", "base", epochs=3),
        phase("confusion_ce", "base", loss="confusion_ce", epochs=3),
        phase("subnets_ce", "ce", "subnets", epochs=1),
        phase("subnets_confusion_ce", "confusion_ce", "subnets", loss="confusion_ce", epochs=1),
    ]
    cells = [
        Cell("alone", "0", "CE", "ce"),
        Cell("fused", "all", "CE", "subnets_ce"),
        Cell("fused_confusion", "all", "confusion CE", "subnets_confusion_ce"),
    ]
    return small.recipe(phases, cells).override(settings)


def main(out: str, jobs: str = "", *settings: str) -> int:
    """Train and score; the exit status."""

    def run() -> None:
        told = recipe([setting for setting in settings if setting != "tensorboard"])
        folder = RunFolder(out, told.config(), save_every=0.0, tensorboard="tensorboard" in settings)
        train.run(told, small.data(), folder, jobs=int(jobs) if jobs else None)

    return frame.run(run, goes_on=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
