"""What the camera adds: the hood of its car, the border without data, blur, noise, dirt and exposure."""

from __future__ import annotations

import cv2
import numpy as np

from . import ids
from .canvas import Canvas
from .dice import Dice

# how much texture a class has, mostly leaves, in grains of two pixels at width 512
ROUGH = {ids.VEGETATION: 30, ids.TERRAIN: 12, ids.BUILDING: 6, ids.WALL: 6, ids.ROAD: 3, ids.SIDEWALK: 3}


def draw_hood(canvas: Canvas, dice: Dice) -> None:
    """The camera car's own hood along the bottom, in most scenes."""
    if not dice.chance(0.7):
        return
    height, width = canvas.labels.shape
    rise = dice.real(0.03, 0.08) * height
    color = dice.vary(dice.pick(((36, 38, 42), (70, 72, 76), (120, 122, 126))), 10)
    for step, tone in ((0.0, 0), (0.5, 10)):
        top, flat = height - rise * (1 - step * 0.6), height - rise * (0.7 - step * 0.6)
        outline = [(0, height), (0, flat + rise * 0.5), (width * 0.14, flat), (width * 0.35, top)]
        outline += [(width * 0.65, top), (width * 0.86, flat), (width, flat + rise * 0.5), (width, height)]
        canvas.polygon(outline, [c + tone for c in color], ids.EGO_VEHICLE)


def expose(canvas: Canvas, dice: Dice) -> np.ndarray:
    """The picture as the sensor gives it, (H, W, 3) uint8; in half of the scenes the labels get a rim without data."""
    height, width = canvas.labels.shape
    image = canvas.image.astype(np.int16)
    rough = np.zeros(256, np.int16)
    rough[list(ROUGH)] = list(ROUGH.values())
    grains = (height // 2 + 1, width // 2 + 1) if width <= 512 else (129, 257)
    coarse = cv2.resize(dice.noise(*grains), (width, height), interpolation=cv2.INTER_NEAREST)
    image += (((coarse.astype(np.int16) - 128) * rough[canvas.labels]) >> 7)[:, :, None]

    for _ in range(2 if dice.chance(0.35) else 1):  # blur by (1 2 1) / 4 along rows and columns
        image[1:-1] = (image[:-2] + 2 * image[1:-1] + image[2:] + 2) >> 2
        image[:, 1:-1] = (image[:, :-2] + 2 * image[:, 1:-1] + image[:, 2:] + 2) >> 2
    smear = cv2.resize(dice.noise(6, 10), (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    image += ((smear.astype(np.int16) - 128) * dice.whole(0, 2) >> 5)[:, :, None]
    gain = dice.whole(1, 4)
    image += ((dice.noise(height, width, 3).astype(np.int16) - 128) * gain) >> 6

    levels = np.arange(256, dtype=np.int64)  # exposure, contrast and white balance are a table
    exposure, contrast = dice.whole(228, 284), dice.whole(-20, 60)
    bent = levels + contrast * levels * (255 - levels) * (2 * levels - 255) // (255 * 255 * 64)
    table = np.stack([(bent * exposure * dice.whole(250, 263)) >> 16 for _ in range(3)], axis=1)
    exposed = cv2.LUT(np.clip(image, 0, 255).astype(np.uint8), np.clip(table, 0, 255).astype(np.uint8)[None])
    if dice.chance(0.5):
        rim = max(1, width // 170)
        canvas.labels[:, :rim] = canvas.labels[:, -rim:] = canvas.labels[-rim:] = ids.OUT_OF_ROI
    return exposed
