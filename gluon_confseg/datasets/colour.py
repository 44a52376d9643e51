"""Colours of a picture: what a network is given of them, and how they are varied in training."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

# ImageNet, RGB, shares of 255: what GluonCV's encoders were trained with
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# with this `std`, values keep their scale of 0..255, less the mean: Section 4's "mean subtraction"
MEAN_ONLY = (1 / 255, 1 / 255, 1 / 255)


def normalize(
    image: np.ndarray,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (3, H, W) float32, (value / 255 - mean) / std; written to `out` where given.

    Each of the 256 values is computed once, in float64, and looked up: exact to the last bit, and the fastest way.
    """
    if out is None:
        out = np.empty((3, *image.shape[:2]), np.float32)
    table = _table(tuple(mean), tuple(std))
    for channel, plane in enumerate(cv2.split(image)):
        target = out[channel]
        looked_up = cv2.LUT(plane, table[channel], dst=target)
        if not np.may_share_memory(looked_up, target):  # OpenCV writes to rows that lie apart in a copy
            target[:] = looked_up
    return out


def denormalize(image: np.ndarray, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> np.ndarray:
    """(3, H, W) float32 -> (H, W, 3) uint8 RGB: what `normalize` was given, to the last bit; others are rounded."""
    values = image.transpose(1, 2, 0) * np.array(std, np.float32) + np.array(mean, np.float32)
    return _rounded(255 * values)


@functools.lru_cache(maxsize=16)
def _table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """(3, 256) float32: what each value of each channel becomes."""
    shares = np.arange(256) / 255
    return ((shares - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Jitter:
    """How far colours are varied; each amount is drawn evenly from -limit to limit, 0 leaves it alone.

    brightness   added, as a share of 255
    contrast     values are multiplied by 1 + amount
    saturation   the same for the distance from gray
    hue          turned by this share of half a circle
    """

    brightness: float = 0.125
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.1

    def __call__(self, image: np.ndarray, draws: Sequence[float]) -> np.ndarray:
        """(H, W, 3) uint8 RGB and four numbers from 0 to 1 -> (H, W, 3) uint8 RGB."""
        limits = (self.brightness, self.contrast, self.saturation, self.hue)
        brightness, contrast, saturation, hue = (limit * (2 * draw - 1) for limit, draw in zip(limits, draws))
        if self.brightness or self.contrast:
            values = np.arange(256) * (1 + contrast) + 255 * brightness
            image = cv2.LUT(image, _rounded(values))
        if self.saturation or self.hue:
            values = np.arange(256)
            turned = ((values + round(90 * hue)) % 180).astype(
                np.uint8
            )  # OpenCV's hue has 180 steps in a circle
            tables = [turned, _rounded(values * (1 + saturation)), values.astype(np.uint8)]
            changed = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), np.stack(tables, axis=1)[None])
            image = cv2.cvtColor(changed, cv2.COLOR_HSV2RGB)
        return image


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
