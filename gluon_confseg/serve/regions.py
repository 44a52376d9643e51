"""Regions of a picture in which a network wavers between the same two classes."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg.labels import IGNORE


class Region(NamedTuple):
    """Pixels that touch each other, at a side or a corner.

    classes     indices of the two, that which is the best in more pixels first
    box         (x, y, width, height) in pixels
    """

    classes: tuple[int, int]
    pixels: int
    box: tuple[int, int, int, int]


def largest(classes: np.ndarray, rivals: np.ndarray, most: int) -> list[Region]:
    """At most so many regions, the largest first.

    classes, rivals     (H, W) uint8, of `segmenter.Planes`
    """
    confused = rivals != IGNORE
    low, high = np.minimum(classes, rivals), np.maximum(classes, rivals)
    pairs, counts = np.unique((low.astype(np.uint16) << 8 | high)[confused], return_counts=True)
    found: list[Region] = []
    for at in np.argsort(-counts, kind="stable"):
        if len(found) == most and counts[at] <= found[-1].pixels:
            break  # no region of this pair, or of those with fewer pixels, can be larger
        one, other = divmod(int(pairs[at]), 256)
        here = confused & (low == one) & (high == other)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(here.astype(np.uint8), connectivity=8)
        order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:most] + 1
        for part in order:
            x, y, width, height, pixels = (int(value) for value in stats[part])
            window = slice(y, y + height), slice(x, x + width)
            mine = classes[window][parts[window] == part]
            mostly_other = 2 * int((mine == other).sum()) > pixels
            names = (other, one) if mostly_other else (one, other)
            found.append(Region(names, pixels, (x, y, width, height)))
        found = sorted(found, key=lambda region: -region.pixels)[:most]
    return found
