"""Street scenes a second: `make bench` or .venv/bin/python -m experiments.benchmarks.bench_scenes [--quick]

Draws and writes scenes of 512 x 256 pixels, image and label, with as many threads as the machine has cores, and counts
the classes in them.
"""

from __future__ import annotations

import sys
import tempfile
import time

import numpy as np

from gluon_confseg import scenes
from gluon_confseg.cli import frame
from gluon_confseg.datasets import Cityscapes

from .. import argument_parser

SIZE = (512, 256)


def main(argv: list | None = None) -> int:
    """Draw, count, print; the exit status."""
    parser = argument_parser("benchmarks.bench_scenes", __doc__)
    parser.add_argument("--quick", action="store_true", help="16 scenes instead of 128")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(16 if arguments.quick else 128))


def _run(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        scenes.draw(folder, train=count, val=1, size=SIZE)
        seconds = time.perf_counter() - began
        drawn = Cityscapes(folder, "train")
        classes = {int(c) for i in range(len(drawn)) for c in np.unique(drawn[i][1]) if c != 255}
    print(
        f"{count + 1} scenes of {SIZE[0]} x {SIZE[1]} in {seconds:.1f} s: {(count + 1) / seconds:.1f} images a second"
    )
    print(f"classes in them: {len(classes)} of {drawn.num_class}")


if __name__ == "__main__":
    sys.exit(main())
