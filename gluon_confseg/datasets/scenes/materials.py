"""Colors and textures. Building, wall and fence share them: only shape and scale tell them apart."""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from .dice import Dice

PLASTER = (
    (214, 206, 190),
    (200, 184, 156),
    (226, 222, 214),
    (186, 172, 160),
    (204, 190, 140),
    (176, 182, 186),
)
BRICK = ((150, 84, 66), (168, 104, 80), (132, 78, 64), (178, 128, 100), (120, 90, 80))
CONCRETE = ((158, 158, 154), (140, 140, 138), (176, 174, 168), (124, 126, 128))
WOOD = ((128, 96, 66), (150, 118, 84), (104, 82, 62), (110, 112, 104), (86, 104, 84))
METAL = ((92, 98, 100), (70, 76, 74), (132, 136, 138), (60, 84, 66), (176, 178, 176))
PAINT = (
    (206, 206, 208),
    (170, 172, 176),
    (120, 124, 128),
    (58, 60, 64),
    (30, 32, 36),
    (128, 34, 32),
    (38, 58, 104),
    (40, 74, 62),
    (196, 190, 170),
    (200, 170, 60),
)
FLEET = (
    (206, 170, 50),
    (176, 40, 36),
    (222, 222, 218),
    (48, 78, 134),
    (66, 122, 74),
    (150, 154, 158),
    (196, 110, 40),
)
GLASS = (54, 66, 76)
ROOF = ((126, 74, 58), (98, 84, 78), (84, 86, 92), (142, 96, 74))


def surface(
    dice: Dice, kind: str, color: Sequence[int], size: tuple[int, int], density: float, scale: float = 1.0
) -> np.ndarray:
    """A texture (h, w, 3) uint8 at `density` pixels per metre; kind plaster, concrete, brick or planks.

    `scale` is the size of its bricks or planks: 1 for a building's, about 3 for the blocks of a wall.
    """
    height, width = size
    tint = speckle(dice, height, width, 10)
    if kind == "brick":
        tint += courses(dice, height, width, density, scale)
    elif kind == "planks":
        board = max(2, int(0.16 * scale * density))
        boards = (dice.noise(width // board + 2).astype(np.int16) % 33 - 16).repeat(board)[:width]
        tint += boards[None, :]
    elif kind == "concrete":
        tint += panels(height, width, density, scale)
    tint += stains(dice, height, width)
    return np.clip(np.asarray(color, np.int16) + tint[:, :, None], 0, 255).astype(np.uint8)


def speckle(dice: Dice, height: int, width: int, amount: int) -> np.ndarray:
    """int16 (h, w) of fine noise within +-amount."""
    return ((dice.noise(height, width).astype(np.int16) - 128) * amount) >> 7


def stains(dice: Dice, height: int, width: int) -> np.ndarray:
    """int16 (h, w) of broad blotches within +-12."""
    coarse = dice.noise(height // 24 + 2, width // 24 + 2)
    broad = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return (broad.astype(np.int16) - 128) * 3 >> 5


def courses(dice: Dice, height: int, width: int, density: float, scale: float) -> np.ndarray:
    """int16 (h, w): bricks in courses, each with its own tint, lighter mortar where the pixels suffice."""
    tall, wide = max(1, int(0.11 * scale * density)), max(2, int(0.3 * scale * density))
    rows, columns = np.arange(height) // tall, np.arange(width)
    bricks = (columns[None, :] + (rows[:, None] % 2) * (wide // 2)) // wide
    tints = (dice.noise(64, 64).astype(np.int16) % 49) - 28
    tint = tints[rows[:, None] % 64, bricks % 64]
    if tall >= 3:
        tint[np.arange(height) % tall == 0] = 22
    return tint


def panels(height: int, width: int, density: float, scale: float) -> np.ndarray:
    """int16 (h, w): dark joints between concrete panels."""
    tint = np.zeros((height, width), np.int16)
    tint[:, :: max(3, int(2.4 * scale * density))] = -26
    tint[:: max(3, int(1.3 * scale * density))] = -18
    return tint


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
    frame = dice.pick(((232, 232, 228), (214, 208, 196), (110, 92, 76), (84, 86, 90)))
    rim = max(1, int(0.09 * density))
    count = max(1, int(width / pitch))
    margin = (width - count * pitch) / 2 + (pitch - wide) / 2
    for row in range(rows_of(height, storey, ground)):
        low = int((ground + row * storey + (storey - tall) / 2) * density)
        for column in range(count):
            left = int((margin + column * pitch) * density)
            right, top = left + int(wide * density), low + int(tall * density)
            cv2.rectangle(texture, (left - rim, low - rim), (right + rim, top + rim), frame, -1)
            cv2.rectangle(texture, (left, low), (right, top), pane(dice), -1)
            if density >= 12:
                middle = (left + right) // 2
                cv2.rectangle(texture, (middle, low), (middle + max(0, rim // 2 - 1), top), frame, -1)


def pane(dice: Dice) -> tuple[int, int, int]:
    """The color of one window: mostly dark glass, sometimes sky, curtain or lamp light."""
    return dice.vary(
        dice.weighted({GLASS: 7, (118, 138, 156): 2, (186, 182, 172): 1.5, (216, 190, 120): 0.4}), 16
    )


def shopfronts(dice: Dice, texture: np.ndarray, width: float, ground: float, density: float) -> None:
    """Wide glass on the ground floor under a colored sign board, which is building and no traffic sign."""
    pitch = dice.real(3.0, 5.0)
    board = dice.pick(
        ((180, 40, 36), (36, 70, 150), (232, 228, 220), (40, 44, 46), (210, 170, 50), (40, 110, 70))
    )
    for shop in range(int(width / pitch)):
        left, right = int((shop * pitch + 0.3) * density), int((shop * pitch + pitch - 0.3) * density)
        cv2.rectangle(
            texture, (left, int(0.4 * density)), (right, int((ground - 1.2) * density)), pane(dice), -1
        )
        sign = (left, int((ground - 1.0) * density)), (right, int((ground - 0.45) * density))
        cv2.rectangle(texture, sign[0], sign[1], dice.vary(board, 10), -1)


def doors(dice: Dice, texture: np.ndarray, width: float, ground: float, density: float) -> None:
    """Windows and doors on a ground floor that is lived in."""
    pitch = dice.real(2.2, 3.4)
    for column in range(int(width / pitch)):
        middle = (column + 0.5) * pitch
        half, low, color = 0.55, 1.0, pane(dice)
        if dice.chance(0.25):
            half, low, color = 0.6, 0.1, dice.vary(dice.pick(WOOD), 20)
        corner = int((middle - half) * density), int(low * density)
        cv2.rectangle(
            texture, corner, (int((middle + half) * density), int((ground - 0.9) * density)), color, -1
        )


def fence(
    dice: Dice, kind: str, width: float, height: float, density: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """A fence (h, w, 3) uint8 and its mask (h, w), None where it is solid; row 0 at the ground.

    kind mesh or bars (seen through), planks or panels (solid: most like a wall, but for its posts).
    """
    size = (max(3, int(height * density)), max(3, int(width * density)))
    post, color = max(3, int(dice.real(1.6, 2.6) * density)), dice.vary(dice.pick(METAL), 12)
    bar = max(1, int(0.05 * density))
    columns, rows = np.arange(size[1])[None, :], np.arange(size[0])[:, None]
    posts = columns % post <= int(0.1 * density)
    rails = (rows >= size[0] - 1 - bar) | ((rows > size[0] // 5) & (rows <= size[0] // 5 + bar))
    if kind in ("planks", "panels"):
        wood = dice.vary(dice.pick(WOOD if kind == "planks" else CONCRETE), 14)
        texture = surface(dice, "planks" if kind == "planks" else "brick", wood, size, density)
        texture[np.broadcast_to(posts, size)] = dice.vary(wood, 36)
        return texture, None
    texture = np.empty(size + (3,), np.uint8)
    texture[:] = color
    pitch = max(2 * bar + 1, int(0.14 * density))
    cells = columns % pitch < bar
    if kind == "mesh":
        cells = ((columns + rows) % pitch < bar) | ((columns - rows) % pitch < bar)
    return texture, np.broadcast_to(posts | rails | cells, size)
