"""House fronts: plaster, brick or concrete, with windows, doors and shops."""

from __future__ import annotations

import cv2
import numpy as np

from .dice import Color, Dice
from .materials import BRICK, CONCRETE, GLASS, PLASTER, WOOD, surface

SHOP_SIGNS = ((180, 40, 36), (36, 70, 150), (232, 228, 220), (40, 44, 46), (210, 170, 50), (40, 110, 70))
FRAMES = ((232, 232, 228), (214, 208, 196), (110, 92, 76), (84, 86, 90))


def rows_of(height: float, storey: float, ground: float) -> int:
    """How many storeys fit above the ground floor."""
    return max(0, int((height - ground - 0.6) / storey))


def facade(dice: Dice, width: float, height: float, density: float) -> np.ndarray:
    """A house front (h, w, 3) uint8 of width x height metres, row 0 at the ground."""
    kind = dice.weighted({"plaster": 5, "brick": 3, "concrete": 2})
    color = dice.vary(dice.pick({"plaster": PLASTER, "brick": BRICK, "concrete": CONCRETE}[kind]), 14)
    size = (max(4, int(height * density)), max(4, int(width * density)))
    texture = surface(dice, kind, color, size, density)
    if dice.chance(0.1):  # a blind front, as halls have: most like a wall
        return texture
    ground = dice.real(3.0, 4.0)
    shops = dice.chance(0.45)
    base = dice.vary(color, 40) if shops else dice.vary(color, 16)
    cv2.rectangle(texture, (0, 0), (size[1], int((ground - 0.3) * density)), base, -1)
    cv2.rectangle(texture, (0, size[0] - int(0.4 * density)), (size[1], size[0]), dice.vary(color, 30), -1)
    windows(dice, texture, width, height, ground, density)
    (shopfronts if shops else doors)(dice, texture, width, ground, density)
    return texture


def windows(
    dice: Dice, texture: np.ndarray, width: float, height: float, ground: float, density: float
) -> None:
    """Rows of windows with frames, some with curtains or lit, above the ground floor."""
    pitch, storey = dice.real(1.9, 3.2), dice.real(2.8, 3.5)
    wide, tall = pitch * dice.real(0.4, 0.65), storey * dice.real(0.45, 0.62)
    frame = dice.pick(FRAMES)
    rim = max(1, int(0.09 * density))
    panes = [pane(dice) for _ in range(8)]
    count = max(1, int(width / pitch))
    margin = (width - count * pitch) / 2 + (pitch - wide) / 2
    for row in range(rows_of(height, storey, ground)):
        low = int((ground + row * storey + (storey - tall) / 2) * density)
        for column in range(count):
            left = int((margin + column * pitch) * density)
            right, top = left + int(wide * density), low + int(tall * density)
            cv2.rectangle(texture, (left - rim, low - rim), (right + rim, top + rim), frame, -1)
            cv2.rectangle(texture, (left, low), (right, top), dice.pick(panes), -1)
            if density >= 12:
                middle = (left + right) // 2
                cv2.rectangle(texture, (middle, low), (middle + max(0, rim // 2 - 1), top), frame, -1)


def pane(dice: Dice) -> Color:
    """The color of one window: mostly dark glass, sometimes sky, curtain or lamp light."""
    kinds = {GLASS: 7, (118, 138, 156): 2, (186, 182, 172): 1.5, (216, 190, 120): 0.4}
    return dice.vary(dice.weighted(kinds), 16)


def shopfronts(dice: Dice, texture: np.ndarray, width: float, ground: float, density: float) -> None:
    """Wide glass on the ground floor under a colored sign board, which is building and no traffic sign."""
    pitch = dice.real(3.0, 5.0)
    board = dice.pick(SHOP_SIGNS)
    for shop in range(int(width / pitch)):
        left, right = int((shop * pitch + 0.3) * density), int((shop * pitch + pitch - 0.3) * density)
        sill, lintel = int(0.4 * density), int((ground - 1.2) * density)
        cv2.rectangle(texture, (left, sill), (right, lintel), pane(dice), -1)
        low, high = int((ground - 1.0) * density), int((ground - 0.45) * density)
        cv2.rectangle(texture, (left, low), (right, high), dice.vary(board, 10), -1)


def doors(dice: Dice, texture: np.ndarray, width: float, ground: float, density: float) -> None:
    """Windows and doors on a ground floor that is lived in."""
    pitch = dice.real(2.2, 3.4)
    for column in range(int(width / pitch)):
        middle = (column + 0.5) * pitch
        half, low, color = 0.55, 1.0, pane(dice)
        if dice.chance(0.25):
            half, low, color = 0.6, 0.1, dice.vary(dice.pick(WOOD), 20)
        corner = int((middle - half) * density), int(low * density)
        opposite = int((middle + half) * density), int((ground - 0.9) * density)
        cv2.rectangle(texture, corner, opposite, color, -1)
