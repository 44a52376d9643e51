"""Draws a small data set of its own classes in the layout of own data: shapes on a background, for a first try.

Run:   .venv/bin/python -m experiments.tools.made_up_data FOLDER
Cost:  a second
Gives: 8 pictures to train on and 4 to validate, of 128 x 96 pixels with 6 classes, two pairs of which look alike.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from gluon_confseg.cli import frame

from .. import argument_parser

# name, colour in the pictures (RGB), shape; dish and plate, and brick and tile, are nearly alike
CLASSES = (
    ("table", (120, 110, 100), None),
    ("plate", (225, 225, 220), "round"),
    ("dish", (205, 205, 215), "round"),
    ("brick", (170, 70, 50), "square"),
    ("tile", (185, 95, 70), "square"),
    ("leaf", (60, 140, 60), "round"),
)
COUNTS = {"train": 8, "val": 4}
SIZE = (96, 128)  # height, width


def main(argv: list | None = None) -> int:
    """Draw; the exit status."""
    parser = argument_parser("tools.made_up_data", __doc__)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args(argv)
    return frame.run(lambda: print(make(arguments.folder)))


def make(root: Path, counts: dict = COUNTS, size: tuple = SIZE) -> Path:
    """Draw a data set into a folder, and return it; the same pictures every time."""
    number = 0
    for split, count in counts.items():
        for name in ("images", "labels"):
            (root / name / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, label = picture(np.random.default_rng(number), size)
            cv2.imwrite(str(root / "images" / split / f"{index:03d}.png"), image[:, :, ::-1])
            cv2.imwrite(str(root / "labels" / split / f"{index:03d}.png"), label)
            number += 1
    rows = [f"{name},{red},{green},{blue}" for name, (red, green, blue), _ in CLASSES]
    (root / "classes.csv").write_text("\n".join(["name,r,g,b", *rows]) + "\n", encoding="utf-8")
    return root


def picture(draws: np.random.Generator, size: tuple) -> tuple:
    """(H, W, 3) uint8 RGB and (H, W) uint8 class numbers: ten shapes of drawn places, sizes and classes."""
    height, width = size
    image, label = np.empty((height, width, 3), np.int16), np.zeros(size, np.uint8)
    image[:] = CLASSES[0][1]
    for _ in range(10):
        number = int(draws.integers(1, len(CLASSES)))
        _, colour, shape = CLASSES[number]
        centre = (int(draws.integers(0, width)), int(draws.integers(0, height)))
        reach = int(draws.integers(height // 12, height // 4))
        mask = np.zeros(size, np.uint8)
        if shape == "round":
            cv2.circle(mask, centre, reach, 1, -1)
        else:
            cv2.rectangle(mask, [c - reach for c in centre], [c + reach for c in centre], 1, -1)
        image[mask > 0] = np.array(colour) + draws.integers(-12, 13, 3)
        label[mask > 0] = number
    image += draws.normal(0, 10, image.shape).astype(np.int16)
    return np.clip(image, 0, 255).astype(np.uint8), label


if __name__ == "__main__":
    sys.exit(main())
