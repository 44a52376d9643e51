"""The study on street scenes that the package draws: 19 classes, some of which look alike. Not Cityscapes.

Run:   make study-drawn                          or: .venv/bin/python -m experiments.study.drawn
Takes: the options of `confseg study`, which it calls; data, folder and name are given here.
Gives: docs/study.md
"""

from __future__ import annotations

import sys

from gluon_confseg import cli
from gluon_confseg.cli import frame
from gluon_confseg.cli.train import drawn_root

SCENES = {"train": 240, "val": 60, "size": (512, 256), "seed": 0}


def main(argv: list | None = None) -> int:
    """Draw what is not there yet, and study it; the exit status."""
    given = sys.argv[1:] if argv is None else argv
    return frame.run(draw, goes_on=True) or cli.main(command(given))


def command(given: list) -> list:
    """The arguments of `confseg` for these options."""
    data = ["--data", "cityscapes", "--root", str(drawn_root(SCENES)), "--name", "drawn"]
    return ["study", *data, "--program", "python -m experiments.study.drawn", *given]


def draw() -> None:
    """Draw the scenes."""
    from gluon_confseg import scenes
    from gluon_confseg.progress import Progress

    with Progress("drawing street scenes", SCENES["train"] + SCENES["val"], "image", brief=True) as bar:
        scenes.draw(drawn_root(SCENES), progress=lambda done, _: bar.update(done - bar.done), **SCENES)


if __name__ == "__main__":
    sys.exit(main())
