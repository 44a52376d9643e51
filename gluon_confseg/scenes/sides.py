"""What stands along one side of a street: houses, walls and fences, green, lamps and signs, people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import buildings, cycles, furniture, people, plants
from .layout import Side

if TYPE_CHECKING:
    from .scene import Scene

BEHIND, HOUSES, GARDEN, BOUNDARY, STREET = range(5)  # layers, the farthest from the road first
HEIGHTS = {"urban": (11, 24), "suburb": (6, 10), "park": (6, 12), "works": (5, 11)}  # metres
GAPS = {"urban": 0.1, "suburb": 0.75, "park": 0.9, "works": 0.6}
BOUNDARIES = {"urban": 0.2, "suburb": 0.85, "park": 0.75, "works": 0.9}
AVENUES = {"urban": 0.45, "suburb": 0.5, "park": 0.75, "works": 0.45}
PITCHED = {"urban": 0.5, "suburb": 0.9, "park": 0.7, "works": 0.15}
MOTORCYCLIST, CYCLIST = (4, 3), (4, 1)  # turns: see Scene.turn
DRAW_PIECE = {"wall": buildings.draw_wall, "fence": buildings.draw_fence, "rail": buildings.draw_guard_rail}


def plan(scene: Scene, side: Side) -> None:
    """Add everything of one side."""
    for part in (plan_houses, plan_boundary, plan_green, plan_avenue, plan_lamps, plan_signs, plan_walkers):
        part(scene, side)
    plan_parked_cycles(scene, side)
    plan_rider(scene, side)


def plan_houses(scene: Scene, side: Side) -> None:
    """A row of houses, closed in towns, with gaps elsewhere, interrupted by the side street."""
    dice, z, flush = scene.dice, scene.dice.real(2, 8), False
    while z < scene.street.end:
        long = dice.real(8, 17) * (1.6 if side.kind == "works" else 1)
        cut = [(near, far) for near, far in scene.street.crossings if z < far and z + long > near]
        if cut:
            if cut[0][0] - z > 5:
                add_house(scene, side, z, cut[0][0], flush)
            z, flush = cut[0][1], False
            continue
        built = side.kind != "park" or dice.chance(0.25)
        if built:
            add_house(scene, side, z, z + long, flush)
        space = dice.real(3, 12) if dice.chance(GAPS[side.kind]) else 0.0
        z, flush = z + long + space, built and not space and side.kind == "urban"


def add_house(scene: Scene, side: Side, z1: float, z2: float, flush: bool) -> None:
    """One house, and the shadow that it throws."""
    dice, height = scene.dice, scene.dice.real(*HEIGHTS[side.kind])
    line = side.line + (dice.real(0, 2.5) if side.kind != "urban" else dice.pick((0.0, 0.0, 0.3)))
    x, deep, pitched = side.sign * line, side.sign * dice.real(8, 13), dice.chance(PITCHED[side.kind])
    house = buildings.House(x, z1, z2, deep, height, pitched, flush)
    scene.add(HOUSES, z1, buildings.draw_house, dice, house)
    if side.sign == scene.canvas.light.sun:
        scene.street.shadows.append((z1 if z1 > 12 else 0.0, z2, x, height))


def plan_boundary(scene: Scene, side: Side) -> None:
    """A wall, fence, hedge or guard rail along the back of the sidewalk, in pieces, with gates."""
    dice = scene.dice
    if not dice.chance(BOUNDARIES[side.kind]):
        return
    kind = dice.weighted({"wall": 4, "fence": 5, "hedge": 1.2, "rail": 0.4})
    low, high = {"wall": (1.3, 3.2), "fence": (1.2, 2.4), "hedge": (0.8, 2.2), "rail": (0.7, 0.8)}[kind]
    height, key = dice.real(low, high), (dice.whole(0, 2**31), dice.whole(0, 2**31))
    x, z, end = side.sign * (side.walk - 0.05), dice.real(3, 10), dice.real(25, 70)
    while z < end:
        long = dice.real(4, 8)
        if scene.clear(z) and scene.clear(z + long) and not dice.chance(0.08):
            if kind == "hedge":
                scene.add(BOUNDARY, z, plants.draw_hedge, dice, x, z, z + long, height, scene.green)
            else:
                scene.add(BOUNDARY, z, DRAW_PIECE[kind], key, x, z, z + long, height)
        z += long


def plan_green(scene: Scene, side: Side) -> None:
    """A belt of trees behind the houses, trees and bushes in the gardens."""
    dice = scene.dice
    if side.kind != "urban" or dice.chance(0.3):
        x, height = side.sign * (side.line + 13), dice.real(6, 12)
        for z in (8.0, 24.0, 60.0):
            scene.add(BEHIND, z, plants.draw_hedge, dice, x, z, z * 2.6, height, dice.vary(scene.green, 12))
    if side.kind == "urban":
        return
    for _ in range(dice.whole(2, 10 if side.kind == "park" else 6)):
        z, x = dice.real(9, 70), side.sign * dice.real(side.walk + 0.8, side.line + 4)
        draw = plants.draw_tree if dice.chance(0.7) else plants.draw_bush
        scene.add(GARDEN, z, draw, dice, x, z, dice.vary(scene.green, 12))


def plan_avenue(scene: Scene, side: Side) -> None:
    """A row of trees along the kerb."""
    dice = scene.dice
    if not dice.chance(AVENUES[side.kind]):
        return
    pitch, z = dice.real(7, 14), dice.real(9, 16)
    x, size = side.sign * (max(side.kerb, side.verge - 0.8) + 0.6), dice.real(0.85, 1.4)
    while z < scene.street.end:
        if scene.clear(z):
            place = z + dice.real(-0.5, 0.5)
            scene.add(STREET, z, plants.draw_tree, dice, x, place, dice.vary(scene.green, 10), size)
        z += pitch


def plan_lamps(scene: Scene, side: Side) -> None:
    """Street lamps, on one side or both, and now and then bollards."""
    dice, x = scene.dice, side.sign * (side.kerb + 0.35)
    z = dice.real(9, 24) if side.sign > 0 or dice.chance(0.6) else scene.street.end
    while z < scene.street.end:
        scene.add(STREET, z, furniture.draw_lamp, dice, x, z, -side.sign * dice.real(0.6, 2.4))
        z += dice.real(20, 34)
    if dice.chance(0.12):
        z = dice.real(7, 12)
        for step in range(dice.whole(3, 8)):
            scene.add(STREET, z + step * 1.8, furniture.draw_bollard, dice, x, z + step * 1.8)


def plan_signs(scene: Scene, side: Side) -> None:
    """Traffic signs at the kerb, bins behind it."""
    dice, x = scene.dice, side.sign * (side.kerb + 0.35)
    for _ in range(dice.whole(0, 3)):
        z = dice.real(8, 24)
        scene.add(STREET, z, furniture.draw_sign, dice, x + side.sign * dice.real(-0.1, 0.5), z)
    for _ in range(dice.whole(0, 2)):
        z = dice.real(8, 40)
        scene.add(STREET, z, furniture.draw_bin, dice, side.sign * dice.real(side.verge + 0.3, side.walk), z)


def plan_walkers(scene: Scene, side: Side) -> None:
    """People on the sidewalk, alone or together."""
    dice = scene.dice
    for _ in range(dice.whole(0, 9 if side.kind == "urban" else 4)):
        x, z = side.sign * dice.real(side.verge + 0.3, side.walk - 0.3), dice.real(6, 22)
        for _ in range(dice.pick((1, 1, 1, 2, 2, 3))):
            aside, ahead = dice.real(-0.7, 0.7), dice.real(-0.4, 0.4)
            scene.add(STREET, z, people.draw_person, dice, x + aside, z + ahead)


def plan_parked_cycles(scene: Scene, side: Side) -> None:
    """Bicycles in a row at the wall or the kerb, motorcycles at the kerb; nobody on them."""
    dice = scene.dice
    at_wall = dice.chance(0.5)
    rows = (
        (cycles.draw_bicycle, 0.42, 5, 0.7, side.walk - 0.5 if at_wall else side.verge + 0.5),
        (cycles.draw_motorcycle, 0.16, 3, 1.0, side.verge + 0.6),
    )
    for draw, chance, most, pitch, x in rows:
        if dice.chance(chance):
            z = dice.real(6, 13)
            for step in range(dice.whole(1, most)):
                squeeze = dice.pick((-1, 1)) * dice.real(0.35, 1.0)
                scene.add(
                    STREET, z + step * pitch, draw, dice, side.sign * x, z + step * pitch, squeeze, False
                )


def plan_rider(scene: Scene, side: Side) -> None:
    """Somebody who rides along the kerb."""
    dice, motorized = scene.dice, scene.turn(MOTORCYCLIST)
    if not (dice.chance(0.06) or (motorized and side.sign > 0) or (scene.turn(CYCLIST) and side.sign < 0)):
        return
    draw = cycles.draw_motorcycle if motorized else cycles.draw_bicycle
    z, x = dice.real(6, 12), side.sign * (side.kerb - (2.6 if side.parked else 0.7))
    squeeze = dice.pick((-1, 1)) * dice.pick((0.25, 0.4, 0.7, 1.0))
    scene.add(STREET, z, draw, dice, x, z, squeeze, True)
