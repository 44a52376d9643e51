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
METAL = ((60, 72, 68), (50, 58, 58), (84, 90, 92), (48, 80, 58))
PAINT = (  # cars
    (214, 214, 216),
    (176, 178, 182),
    (126, 130, 134),
    (64, 66, 70),
    (34, 36, 40),
    (110, 36, 36),
    (40, 56, 92),
    (196, 190, 170),
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
ASPHALT = ((92, 94, 98), (104, 104, 106), (82, 84, 90), (110, 110, 110))
SLABS = ((176, 166, 154), (164, 148, 138), (186, 176, 158), (168, 144, 128))
GRASS = ((122, 150, 66), (138, 148, 76), (112, 140, 64), (150, 146, 90))
ROOF = ((126, 74, 58), (98, 84, 78), (84, 86, 92), (142, 96, 74))


def surface(
    dice: Dice, kind: str, color: Sequence[int], size: tuple[int, int], density: float, scale: float = 1.0
) -> np.ndarray:
    """A texture (h, w, 3) uint8 at `density` pixels per metre; kind plaster, concrete, brick or planks.

    `scale` is the size of its bricks or planks: 1 for a building's, about 3 for the blocks of a wall.
    """
    height, width = size
    tint = speckle(dice, height, width, 10)
    if kind == "brick":  # each brick with its own tint, lighter mortar where the pixels suffice
        tall, wide = max(1, int(0.11 * scale * density)), max(2, int(0.3 * scale * density))
        rows, columns = np.arange(height)[:, None] // tall, np.arange(width)[None, :]
        bricks = (columns + (rows % 2) * (wide // 2)) // wide
        tints = (dice.noise(64, 64).astype(np.int16) % 49) - 28
        courses = tints[rows % 64, bricks % 64]
        if tall >= 3:
            courses[np.arange(height) % tall == 0] = 22
        tint += courses
    elif kind == "planks":
        board = max(2, int(0.16 * scale * density))
        boards = (dice.noise(width // board + 2).astype(np.int16) % 33 - 16).repeat(board)[:width]
        tint += boards[None, :]
    elif kind == "concrete":  # dark joints between panels
        joints = np.zeros((height, width), np.int16)
        joints[:, :: max(3, int(2.4 * scale * density))] = -26
        joints[:: max(3, int(1.3 * scale * density))] = -18
        tint += joints
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
