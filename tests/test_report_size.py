"""The report of a hundred large images: its memory, and the size of its page."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from experiments import PROJECT
from gluon_confseg.labels import CITYSCAPES

PAIRS, DISTINCT, HEIGHT, WIDTH = 100, 10, 1024, 2048
MOST_MEMORY, MOST_BYTES = 2 * 1024**3, 15 * 10**6
# prints the peak memory of the command that follows, in KiB
_PEAK = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=sys.stderr); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
)


def write_pairs(folder) -> None:
    """LABELS, PREDICTIONS and IMAGES: patches of classes with errors in spots, photographs with noise."""
    draws = np.random.default_rng(0)
    for name in ("labels", "predictions", "images"):
        (folder / name).mkdir()
    for number in range(DISTINCT):
        truth = cv2.resize(draws.integers(0, 19, (16, 32)).astype(np.uint8), (WIDTH, HEIGHT), interpolation=0)
        wrong = cv2.resize(draws.random((64, 128)).astype(np.float32), (WIDTH, HEIGHT)) < 0.3
        other = cv2.resize(draws.integers(0, 19, (16, 32)).astype(np.uint8), (WIDTH, HEIGHT), interpolation=0)
        answer = np.where(wrong, other, truth)
        cv2.imwrite(str(folder / "labels" / f"{number:03d}.png"), CITYSCAPES.to_stored(truth))
        cv2.imwrite(str(folder / "predictions" / f"{number:03d}.png"), CITYSCAPES.to_stored(answer))
        photograph = cv2.resize(draws.integers(0, 255, (256, 512, 3)).astype(np.uint8), (WIDTH, HEIGHT))
        cv2.imwrite(str(folder / "images" / f"{number:03d}.jpg"), photograph)
    for number in range(DISTINCT, PAIRS):
        for name, kind in (("labels", "png"), ("predictions", "png"), ("images", "jpg")):
            os.link(folder / name / f"{number % DISTINCT:03d}.{kind}", folder / name / f"{number:03d}.{kind}")


@pytest.mark.slow
def test_a_hundred_large_pairs_need_little_memory_and_make_a_small_page(tmp_path):
    write_pairs(tmp_path)
    command = [sys.executable, "-m", "gluon_confseg", "report", "--data", "cityscapes"]
    command += ["--labels", tmp_path / "labels", "--predictions", tmp_path / "predictions"]
    command += ["--images", tmp_path / "images", "--out", tmp_path / "out"]
    command += ["--labels-are", "raw", "--predictions-are", "raw"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    measured = [sys.executable, "-c", _PEAK, *map(str, command)]
    done = subprocess.run(measured, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 1024 * int(done.stdout) < MOST_MEMORY
    assert 10**6 < (tmp_path / "out" / "report.html").stat().st_size < MOST_BYTES
