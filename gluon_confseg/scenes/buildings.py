"""Houses along the street, and the walls and fences before them."""

from __future__ import annotations

from dataclasses import dataclass

from . import ids
from .canvas import Canvas
from .dice import Dice
from .facades import facade
from .materials import BRICK, CONCRETE, PLASTER, ROOF, fence, surface
from .planes import Skin, along_street, density_for, facing_us, seen_part
from .solids import area


@dataclass(frozen=True)
class House:
    """A block from z1 to z2 whose front stands at x; `deep` is signed, away from the street. Metres."""

    x: float
    z1: float
    z2: float
    deep: float
    height: float
    pitched: bool
    flush: bool  # no gap before it: the house before hides its near end


def draw_house(canvas: Canvas, dice: Dice, house: House) -> None:
    """Roof, front along the street and the end that faces the camera."""
    if seen_part(canvas, house.x, house.z1, house.z2)[0] >= house.z2:
        return
    density = density_for(canvas, max(house.z1, seen_part(canvas, house.x, house.z1, house.z2)[0]))
    front = Skin(facade(dice, house.z2 - house.z1, house.height, density), density, ids.BUILDING)
    if house.pitched:
        roof(canvas, dice, house)
    along_street(canvas, house.x, house.z1, house.z2, front)
    far_side = house.x + house.deep
    left, right = min(house.x, far_side), max(house.x, far_side)
    if house.z1 > 4 and not house.flush:
        facing_us(canvas, left, right, house.z1, front)


def roof(canvas: Canvas, dice: Dice, house: House) -> None:
    """Two slopes with their ridge along the street."""
    ridge, top = house.x + house.deep / 2, house.height + abs(house.deep) * 0.32
    color = canvas.light.facing(dice.vary(dice.pick(ROOF), 14), 2, house.z1)
    project, z1 = canvas.camera.project, max(house.z1, 2.0)
    gable = [
        project(house.x, house.height, z1),
        project(house.x + house.deep, house.height, z1),
        project(ridge, top, z1),
    ]
    canvas.polygon(gable, canvas.light.facing(dice.pick(PLASTER), 0, z1), ids.BUILDING)
    slope = [
        project(house.x - 0.03 * house.deep, house.height, z1),
        project(house.x - 0.03 * house.deep, house.height, house.z2),
        project(ridge, top, house.z2),
        project(ridge, top, z1),
    ]
    if area(slope) * house.x > 0:
        canvas.polygon(slope, color, ids.BUILDING)


def draw_wall(canvas: Canvas, key: tuple[int, ...], x: float, z1: float, z2: float, height: float) -> None:
    """A piece of a wall along the street; pieces of the same key look alike."""
    if seen_part(canvas, x, z1, z2)[0] >= z2:
        return
    dice, density = Dice(*key), density_for(canvas, z1)
    kind = dice.weighted({"brick": 4, "concrete": 3, "plaster": 2})
    colors = {"brick": BRICK + CONCRETE, "concrete": CONCRETE, "plaster": PLASTER}[kind]
    color = dice.vary(dice.pick(colors), 14)
    size = max(3, int(height * density)), max(3, int((z2 - z1) * density))
    texture = surface(dice, kind, color, size, density, scale=dice.real(1.8, 3.2))
    rim = max(1, int(0.14 * density))
    texture[-rim:] = dice.vary(color, 34)
    along_street(canvas, x, z1, z2, Skin(texture, density, ids.WALL))


def draw_fence(canvas: Canvas, key: tuple[int, ...], x: float, z1: float, z2: float, height: float) -> None:
    """A piece of a fence along the street; pieces of the same key look alike."""
    if seen_part(canvas, x, z1, z2)[0] >= z2:
        return
    dice, density = Dice(*key), density_for(canvas, z1)
    kind = dice.weighted({"bars": 3, "mesh": 3, "planks": 3, "panels": 1})
    texture, mask = fence(dice, kind, z2 - z1, height, density)
    along_street(canvas, x, z1, z2, Skin(texture, density, ids.FENCE, mask))


def draw_guard_rail(
    canvas: Canvas, key: tuple[int, ...], x: float, z1: float, z2: float, height: float
) -> None:
    """A steel rail on short posts; Cityscapes ignores it."""
    if seen_part(canvas, x, z1, z2)[0] >= z2:
        return
    dice, density = Dice(*key), density_for(canvas, z1)
    size = max(2, int(0.32 * density)), max(3, int((z2 - z1) * density))
    texture = surface(dice, "plaster", (166, 168, 168), size, density)
    texture[size[0] // 2] = 120
    along_street(canvas, x, z1, z2, Skin(texture, density, ids.GUARD_RAIL, base=height - 0.32))


def draw_end(canvas: Canvas, dice: Dice, x1: float, x2: float, z: float, height: float) -> None:
    """A house across the end of the street."""
    density = density_for(canvas, z)
    facing_us(canvas, x1, x2, z, Skin(facade(dice, x2 - x1, height, density), density, ids.BUILDING))
