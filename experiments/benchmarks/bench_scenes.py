"""Street scenes a second: `make bench` or .venv/bin/python -m experiments.benchmarks.bench_scenes [--quick]

Draws and writes scenes of 512 x 256 pixels, image and label, with as many threads as the machine has cores, and counts
the classes in them.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np

from gluon_confseg import scenes
from gluon_confseg.datasets import Cityscapes

SIZE = (512, 256)


def main(arguments=None) -> None:
    """Draw, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="16 scenes instead of 128")
    count = 16 if parser.parse_args(arguments).quick else 128
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
    main()
