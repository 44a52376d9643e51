"""What the camera adds: the hood of its car, the border without data, blur, noise, dirt and exposure."""

from __future__ import annotations

import cv2
import numpy as np

from . import ids
from .canvas import Canvas
from .dice import Dice

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


def draw_border(canvas: Canvas, dice: Dice) -> None:
    """Cityscapes' rim of pixels out of the region of interest, in half of the scenes."""
    if dice.chance(0.5):
        rim = max(1, canvas.camera.width // 170)
        canvas.labels[:, :rim] = canvas.labels[:, -rim:] = canvas.labels[-rim:] = ids.OUT_OF_ROI


def expose(canvas: Canvas, dice: Dice) -> np.ndarray:
    """The picture as the sensor gives it: (H, W, 3) uint8."""
    height, width = canvas.labels.shape
    image = canvas.image.astype(np.int16)
    image += leafage(canvas, dice)[:, :, None]
    image = soften(image, dice.chance(0.35))
    image += dirt(dice, height, width)[:, :, None]
    gain = dice.whole(1, 4)
    image += ((dice.noise(height, width, 3).astype(np.int16) - 128) * gain) >> 6
    np.clip(image, 0, 255, out=image)
    return cv2.LUT(image.astype(np.uint8), curve(dice))


def leafage(canvas: Canvas, dice: Dice) -> np.ndarray:
    """int16 (H, W): texture by class, mostly for leaves, in grains of two pixels at width 512."""
    height, width = canvas.labels.shape
    gain = np.zeros(256, np.int16)
    for label, amount in ROUGH.items():
        gain[label] = amount
    size = (height // 2 + 1, width // 2 + 1) if width <= 512 else (129, 257)
    coarse = cv2.resize(dice.noise(*size), (width, height), interpolation=cv2.INTER_NEAREST)
    return ((coarse.astype(np.int16) - 128) * gain[canvas.labels]) >> 7


def soften(image: np.ndarray, twice: bool) -> np.ndarray:
    """Blur by (1 2 1) / 4 along rows and columns, in integers."""
    for _ in range(2 if twice else 1):
        image[1:-1] = (image[:-2] + 2 * image[1:-1] + image[2:] + 2) >> 2
        image[:, 1:-1] = (image[:, :-2] + 2 * image[:, 1:-1] + image[:, 2:] + 2) >> 2
    return image


def dirt(dice: Dice, height: int, width: int) -> np.ndarray:
    """int16 (H, W): faint smears on the windscreen."""
    smear = cv2.resize(dice.noise(6, 10), (width, height), interpolation=cv2.INTER_LINEAR_EXACT).astype(
        np.int16
    )
    return (smear - 128) * dice.whole(0, 2) >> 5


def curve(dice: Dice) -> np.ndarray:
    """Exposure, contrast and white balance as a table (1, 256, 3) uint8."""
    levels = np.arange(256, dtype=np.int64)
    exposure, contrast = dice.whole(228, 284), dice.whole(-20, 60)
    bent = levels + contrast * levels * (255 - levels) * (2 * levels - 255) // (255 * 255 * 64)
    table = [(bent * exposure * dice.whole(250, 263)) >> 16 for _ in range(3)]
    return np.clip(np.stack(table, axis=1), 0, 255).astype(np.uint8)[None]
