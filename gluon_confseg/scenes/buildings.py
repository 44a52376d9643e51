"""Houses along the street with their fronts, and the walls and fences before them."""

from __future__ import annotations

import cv2
import numpy as np

from . import ids
from .canvas import Canvas
from .dice import Color, Dice
from .materials import BRICK, CONCRETE, GLASS, PLASTER, ROOF, WOOD, fence, surface
from .planes import Skin, along_street, density_for, facing_us, seen_from
from .shapes import area

SHOP_SIGNS = ((180, 40, 36), (36, 70, 150), (232, 228, 220), (40, 44, 46), (210, 170, 50), (40, 110, 70))
FRAMES = ((232, 232, 228), (214, 208, 196), (110, 92, 76), (84, 86, 90))


def draw_house(
    canvas: Canvas,
    dice: Dice,
    x: float,
    z1: float,
    z2: float,
    deep: float,
    height: float,
    pitched: bool,
    flush: bool,
) -> None:
    """Roof, front along the street at x and the end that faces the camera.

    deep   signed, away from the street
    flush  no gap before it: the house before hides its near end
    """
    seen = seen_from(canvas, x, z1)
    if seen >= z2:
        return
    density = density_for(canvas, seen)
    front = Skin(facade(dice, z2 - z1, height, density), density, ids.BUILDING)
    if pitched:
        ridge, top, near, eaves = x + deep / 2, height + abs(deep) * 0.32, max(z1, 2.0), x - 0.03 * deep
        project, facing = canvas.camera.project, canvas.light.facing
        color = facing(dice.vary(dice.pick(ROOF), 14), 2, z1)
        gable = [project(x, height, near), project(x + deep, height, near), project(ridge, top, near)]
        canvas.polygon(gable, facing(dice.pick(PLASTER), 0, near), ids.BUILDING)
        slope = [project(eaves, height, near), project(eaves, height, z2)]
        slope += [project(ridge, top, z2), project(ridge, top, near)]
        if area(slope) * x > 0:
            canvas.polygon(slope, color, ids.BUILDING)
    along_street(canvas, x, z1, z2, front)
    if z1 > 4 and not flush:
        facing_us(canvas, min(x, x + deep), max(x, x + deep), z1, front)


def draw_barrier(
    canvas: Canvas, kind: str, key: tuple[int, ...], x: float, z1: float, z2: float, height: float
) -> None:
    """A piece of a wall, a fence or a guard rail along the street; pieces of the same key look alike."""
    if seen_from(canvas, x, z1) >= z2:
        return
    dice, density, long, base = Dice(*key), density_for(canvas, z1), z2 - z1, 0.0
    mask = None
    if kind == "wall":
        label, stone = ids.WALL, dice.weighted({"brick": 4, "concrete": 3, "plaster": 2})
        colors = {"brick": BRICK + CONCRETE, "concrete": CONCRETE, "plaster": PLASTER}[stone]
        color = dice.vary(dice.pick(colors), 14)
        size = max(3, int(height * density)), max(3, int(long * density))
        texture = surface(dice, stone, color, size, density, scale=dice.real(1.8, 3.2))
        texture[-max(1, int(0.14 * density)) :] = dice.vary(color, 34)
    elif kind == "fence":
        label, kind = ids.FENCE, dice.weighted({"bars": 3, "mesh": 3, "planks": 3, "panels": 1})
        texture, mask = fence(dice, kind, long, height, density)
    else:  # a steel rail on short posts; Cityscapes ignores it
        label, base = ids.GUARD_RAIL, height - 0.32
        size = max(2, int(0.32 * density)), max(3, int(long * density))
        texture = surface(dice, "plaster", (166, 168, 168), size, density)
        texture[size[0] // 2] = 120
    along_street(canvas, x, z1, z2, Skin(texture, density, label, mask, base))


def draw_end(canvas: Canvas, dice: Dice, x1: float, x2: float, z: float, height: float) -> None:
    """A house across the end of the street."""
    density = density_for(canvas, z)
    facing_us(canvas, x1, x2, z, Skin(facade(dice, x2 - x1, height, density), density, ids.BUILDING))


def facade(dice: Dice, width: float, height: float, density: float) -> np.ndarray:
    """A house front (h, w, 3) uint8 of width x height metres, row 0 at the ground."""
    kind = dice.weighted({"plaster": 5, "brick": 3, "concrete": 2})
    color = dice.vary(dice.pick({"plaster": PLASTER, "brick": BRICK, "concrete": CONCRETE}[kind]), 14)
    size = (max(4, int(height * density)), max(4, int(width * density)))
    texture = surface(dice, kind, color, size, density)
    if dice.chance(0.1):  # a blind front, as halls have: most like a wall
        return texture
    ground, shops = dice.real(3.0, 4.0), dice.chance(0.45)
    base = dice.vary(color, 40 if shops else 16)
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
    for row in range(max(0, int((height - ground - 0.6) / storey))):
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
