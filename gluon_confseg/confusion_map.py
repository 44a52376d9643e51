"""Where a network wavers between classes of one confusing group: the two best are of the group, and close."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

CLOSE = 0.5  # the second best class has at least this share of the best one's probability
_COLOUR = (255, 60, 0)


class Region(NamedTuple):
    """Connected pixels that are confused between the same two classes.

    classes     indices of the two, that with more pixels as the best first
    box         (x, y, width, height) in pixels
    closeness   mean over the pixels
    """

    classes: tuple[int, int]
    pixels: int
    box: tuple[int, int, int, int]
    closeness: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """One picture's.

    best, second   (H, W) uint8, the classes of the two largest probabilities
    closeness      (H, W) float32, the second probability divided by the largest; 0 where the two are of no group
    """

    best: np.ndarray
    second: np.ndarray
    closeness: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool, where it is at least CLOSE."""
        return self.closeness >= CLOSE

    def regions(self, most: int) -> list:
        """The largest regions, at most so many, the largest first."""
        mask, found = self.mask, []
        low, high = np.minimum(self.best, self.second), np.maximum(self.best, self.second)
        pairs = (low.astype(np.int32) << 8 | high)[mask]
        for pair in np.unique(pairs):
            first, last = int(pair) >> 8, int(pair) & 255
            here = (mask & (low == first) & (high == last)).astype(np.uint8)
            count, parts, stats, _ = cv2.connectedComponentsWithStats(here, connectivity=8)
            for part in range(1, count):
                x, y, width, height, pixels = (int(value) for value in stats[part])
                found.append((pixels, first, last, (x, y, width, height), part, parts))
            found = sorted(found, key=lambda each: (-each[0], each[1:4]))[:most]
        return [self._region(*each) for each in found]

    def _region(self, pixels: int, first: int, last: int, box: tuple, part: int, parts: np.ndarray) -> Region:
        x, y, width, height = box
        window = (slice(y, y + height), slice(x, x + width))
        here = parts[window] == part
        mostly_last = 2 * int((self.best[window][here] == last).sum()) > pixels
        classes = (last, first) if mostly_last else (first, last)
        return Region(classes, pixels, box, float(self.closeness[window][here].mean()))

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """The picture in dark gray, and the closeness over it in red: (H, W, 3) uint8 each."""
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None] * 0.6
        weight = self.closeness[..., None]
        return np.rint(gray * (1 - weight) + np.array(_COLOUR, np.float32) * weight).astype(np.uint8)


def confusion_of(probabilities: np.ndarray, groups: Sequence) -> Confusion:
    """(K, H, W) float32 -> where the two best classes are confused.

    groups   indices of classes, several each; none at all: any two classes may be confused
    """
    best, second = np.full((2, *probabilities.shape[1:]), -1, np.float32)
    first_class, second_class = np.zeros((2, *best.shape), np.uint8)
    for k, plane in enumerate(probabilities):
        wins = plane > best
        np.copyto(second_class, first_class, where=wins)
        np.copyto(second, best, where=wins)
        np.copyto(first_class, k, where=wins)
        np.copyto(best, plane, where=wins)
        next_best = ~wins & (plane > second)
        np.copyto(second_class, k, where=next_best)
        np.copyto(second, plane, where=next_best)
    together = np.zeros((256, 256), bool)
    for group in groups or [range(len(probabilities))]:
        together[np.ix_(list(group), list(group))] = True
    closeness = np.clip(second, 0, None) / np.maximum(best, np.finfo(np.float32).tiny)
    closeness[~together[first_class, second_class]] = 0
    return Confusion(first_class, second_class, closeness)
