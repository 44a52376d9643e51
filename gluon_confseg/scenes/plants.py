"""Trees, bushes and hedges, and the green that stands behind everything."""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from . import ids
from .canvas import Canvas, Point
from .dice import Dice
from .materials import speckle, stains
from .planes import Skin, along_street, density_for, facing_us, seen_from

LEAVES = ((72, 98, 50), (86, 108, 54), (58, 84, 52), (104, 116, 60), (120, 116, 58), (64, 80, 44))
BARK = ((84, 72, 60), (70, 62, 54), (104, 94, 82))


def draw_tree(
    canvas: Canvas, dice: Dice, x: float, z: float, color: Sequence[int], size: float = 1.0
) -> None:
    """A trunk and a crown of leaf clumps; both are vegetation."""
    trunk, radius = dice.real(2.2, 3.4) * size, dice.real(1.5, 2.6) * size
    u, v = canvas.camera.project(x, 0, z)
    scale = canvas.camera.scale(z)
    bark = canvas.light.facing(dice.vary(dice.pick(BARK), 10), 0, z)
    top, thick = (u, v - (trunk + radius * 0.6) * scale), dice.real(0.2, 0.4) * size * scale
    canvas.line((u, v), top, thick, bark, ids.VEGETATION)
    wide, tall = radius * scale, radius * dice.real(0.8, 1.2) * scale
    clumps(canvas, dice, (u, v - (trunk + radius * 0.8) * scale), (wide, tall), color, z)


def draw_bush(canvas: Canvas, dice: Dice, x: float, z: float, color: Sequence[int]) -> None:
    """Leaves down to the ground."""
    u, v = canvas.camera.project(x, 0, z)
    half, tall = dice.real(0.5, 1.4) * canvas.camera.scale(z), dice.real(0.4, 0.9) * canvas.camera.scale(z)
    clumps(canvas, dice, (u, v - tall * 0.8), (half, tall), color, z)


def clumps(canvas: Canvas, dice: Dice, middle: Point, radii: Point, color: Sequence[int], z: float) -> None:
    """Overlapping discs within an ellipse, darker below and lighter above."""
    count = max(9, min(44, int(radii[0] * 0.9)))
    if middle[0] + radii[0] < -20 or middle[0] - radii[0] > canvas.camera.width + 20:
        return
    places, spread = [], 1.0 if count > 20 else 1.4
    for _ in range(count):
        a, b = dice.real(-1, 1), dice.real(-1, 1)
        if a * a + b * b > 1:
            a, b = a * 0.6, b * 0.6
        places.append((b, a))
    tones = [dice.vary([c + step for c in color], 8) for step in (-26, -13, 0, 13, 26)]
    lit = [[canvas.light.facing(tone, side, z) for tone in tones] for side in (-1, 1)]
    for b, a in sorted(places, reverse=True):
        size, step = radii[0] * dice.real(0.2, 0.34) * spread, min(4, max(0, int(2.5 - 2 * b)))
        u, v = middle[0] + a * radii[0], middle[1] + b * radii[1]
        canvas.disc(u, v, size, lit[a > 0][max(0, step - dice.whole(0, 1))], ids.VEGETATION)


def foliage(
    dice: Dice, long: float, height: float, density: float, color: Sequence[int], uneven: float
) -> Skin:
    """Leaves in clumps, `long` x `height` metres, whose upper edge is uneven by up to `uneven` metres."""
    tall, wide = max(3, int(height * density)), max(3, int(long * density))
    grain = max(1, int(0.3 * density))
    rough = dice.noise(tall // grain + 2, wide // grain + 2).astype(np.int16) % 60 - 34
    tint = rough.repeat(grain, axis=0).repeat(grain, axis=1)[:tall, :wide]
    tint = tint + speckle(dice, tall, wide, 20) + stains(dice, tall, wide)
    texture = np.clip(np.asarray(color, np.int16) + tint[:, :, None], 0, 255).astype(np.uint8)
    knots = dice.noise(1, wide // max(1, int(1.2 * density)) + 2)
    drop = cv2.resize(knots, (wide, 1), interpolation=cv2.INTER_LINEAR_EXACT)[0].astype(np.int32)
    drop = drop + dice.noise(wide) // 4
    top = tall - (drop * max(1, int(uneven * density))) // 320
    return Skin(texture, density, ids.VEGETATION, np.arange(tall)[:, None] < top[None, :])


def draw_hedge(
    canvas: Canvas, dice: Dice, x: float, z1: float, z2: float, height: float, color: Sequence[int]
) -> None:
    """A hedge, or at some height a row of trees, along the street."""
    z1 = seen_from(canvas, x, z1)
    if z1 < z2:
        density = density_for(canvas, (z1 + z2) / 2) * (1.0 if height < 3 else 0.6)
        along_street(canvas, x, z1, z2, foliage(dice, z2 - z1, height, density, color, height * 0.3))


def draw_thicket(
    canvas: Canvas, dice: Dice, x1: float, x2: float, z: float, height: float, color: Sequence[int]
) -> None:
    """Green across the view at distance z."""
    skin = foliage(dice, x2 - x1, height, density_for(canvas, z), color, height * 0.5)
    facing_us(canvas, x1, x2, z, skin)
