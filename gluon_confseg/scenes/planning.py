"""What stands along a street, what moves or waits on it, and what there is at its crossing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from . import buildings, furniture, people, plants, vehicles
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
TRAM, BUS, TRUCK = (6, 3), (5, 2), (6, 5)


def plan_side(scene: Scene, side: Side) -> None:
    """Add everything of one side of the street."""
    plan_houses(scene, side)
    plan_boundary(scene, side)
    plan_green(scene, side)
    plan_furniture(scene, side)
    plan_people(scene, side)


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
    scene.add(HOUSES, z1, buildings.draw_house, dice, x, z1, z2, deep, height, pitched, flush)
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
                scene.add(BOUNDARY, z, buildings.draw_barrier, kind, key, x, z, z + long, height)
        z += long


def plan_green(scene: Scene, side: Side) -> None:
    """Trees behind the houses, trees and bushes in the gardens, a row of trees along the kerb."""
    dice, urban = scene.dice, side.kind == "urban"
    if not urban or dice.chance(0.3):
        x, height = side.sign * (side.line + 13), dice.real(6, 12)
        for z in (8.0, 24.0, 60.0):
            scene.add(BEHIND, z, plants.draw_hedge, dice, x, z, z * 2.6, height, dice.vary(scene.green, 12))
    for _ in range(0 if urban else dice.whole(2, 10 if side.kind == "park" else 6)):
        z, x = dice.real(9, 70), side.sign * dice.real(side.walk + 0.8, side.line + 4)
        draw = plants.draw_tree if dice.chance(0.7) else plants.draw_bush
        scene.add(GARDEN, z, draw, dice, x, z, dice.vary(scene.green, 12))
    if dice.chance(AVENUES[side.kind]):
        pitch, z = dice.real(7, 14), dice.real(9, 16)
        x, size = side.sign * (max(side.kerb, side.verge - 0.8) + 0.6), dice.real(0.85, 1.4)
        while z < scene.street.end:
            if scene.clear(z):
                place = z + dice.real(-0.5, 0.5)
                scene.add(STREET, z, plants.draw_tree, dice, x, place, dice.vary(scene.green, 10), size)
            z += pitch


def plan_furniture(scene: Scene, side: Side) -> None:
    """Lamps along the kerb, on one side or both, now and then bollards; traffic signs, and bins behind them."""
    dice, x = scene.dice, side.sign * (side.kerb + 0.35)
    z = dice.real(9, 24) if side.sign > 0 or dice.chance(0.6) else scene.street.end
    while z < scene.street.end:
        scene.add(STREET, z, furniture.draw_lamp, dice, x, z, -side.sign * dice.real(0.6, 2.4))
        z += dice.real(20, 34)
    if dice.chance(0.12):
        z = dice.real(7, 12)
        for step in range(dice.whole(3, 8)):
            scene.add(STREET, z + step * 1.8, furniture.draw_bollard, dice, x, z + step * 1.8)
    for _ in range(dice.whole(0, 3)):
        z = dice.real(8, 24)
        scene.add(STREET, z, furniture.draw_sign, dice, x + side.sign * dice.real(-0.1, 0.5), z)
    for _ in range(dice.whole(0, 2)):
        z = dice.real(8, 40)
        scene.add(STREET, z, furniture.draw_bin, dice, side.sign * dice.real(side.verge + 0.3, side.walk), z)


def plan_people(scene: Scene, side: Side) -> None:
    """People on the sidewalk, alone or together; parked cycles in rows; somebody who rides along the kerb."""
    dice = scene.dice
    for _ in range(dice.whole(0, 9 if side.kind == "urban" else 4)):
        x, z = side.sign * dice.real(side.verge + 0.3, side.walk - 0.3), dice.real(6, 22)
        for _ in range(dice.pick((1, 1, 1, 2, 2, 3))):
            aside, ahead = dice.real(-0.7, 0.7), dice.real(-0.4, 0.4)
            scene.add(STREET, z, people.draw_person, dice, x + aside, z + ahead)

    place = side.walk - 0.5 if dice.chance(0.5) else side.verge + 0.5  # at the wall or at the kerb
    rows = (
        (people.draw_bicycle, 0.42, 5, 0.7, side.sign * place),
        (people.draw_motorcycle, 0.16, 3, 1.0, side.sign * (side.verge + 0.6)),
    )
    for draw, chance, most, pitch, x in rows:
        if dice.chance(chance):
            first = dice.real(6, 13)
            for step in range(dice.whole(1, most)):
                z, squeeze = first + step * pitch, dice.pick((-1, 1)) * dice.real(0.35, 1.0)
                scene.add(STREET, z, draw, dice, x, z, squeeze, False)

    motorized = scene.turn(MOTORCYCLIST)
    if dice.chance(0.06) or (motorized and side.sign > 0) or (scene.turn(CYCLIST) and side.sign < 0):
        draw = people.draw_motorcycle if motorized else people.draw_bicycle
        z, x = dice.real(6, 12), side.sign * (side.kerb - (2.6 if side.parked else 0.7))
        squeeze = dice.pick((-1, 1)) * dice.pick((0.25, 0.4, 0.7, 1.0))
        scene.add(STREET, z, draw, dice, x, z, squeeze, True)


def plan_traffic(scene: Scene) -> None:
    """Add everything on the road; the large first, each when its turn comes, then cars where there is room."""
    dice, street = scene.dice, scene.street
    if scene.turn(TRAM):
        x = street.rails[0]
        add_vehicle(scene, vehicles.draw_train, x, dice.real(27, 42), 26, x >= -1)
    for draw, turns in ((vehicles.draw_bus, BUS), (vehicles.draw_truck, TRUCK)):
        if scene.turn(turns):
            x, away = dice.pick(street.lanes)
            add_vehicle(scene, draw, x, dice.real(18, 34), 12, away)
    for x, away in street.lanes:
        z = dice.real(9, 40)
        while z < 90 and dice.chance(0.7):
            add_vehicle(scene, vehicles.draw_car, x + dice.real(-0.3, 0.3), z, 4.6, away)
            z += dice.real(8, 30)
    for side in street.sides:
        z = dice.real(7, 14)
        while side.parked and z < 70:
            if dice.chance(0.72) and scene.clear(z):
                draw = vehicles.draw_truck if dice.chance(0.012) else vehicles.draw_car
                away = side.sign > 0 or dice.chance(0.2)
                add_vehicle(scene, draw, side.sign * (side.kerb - 1.0), z, 4.8, away)
            z += dice.real(5.4, 7.5)
    for near, far in street.crossings:
        plan_crossing(scene, near, (near + far) / 2)
    for near, far in street.zebras:
        for _ in range(dice.whole(0, 4)):
            z = dice.real(near, far)
            scene.add(STREET, z, people.draw_person, dice, dice.real(-6, 5), z)


def add_vehicle(scene: Scene, draw: Callable, x: float, z: float, long: float, away: bool) -> None:
    """Add a vehicle of about that length along the street, unless its place is taken or it is too near."""
    near, far = z - long / 2 - 1, z + long / 2 + 1
    crowded = any(abs(x - other) < 2.4 and near < stop and far > start for other, start, stop in scene.taken)
    if near >= 4 and not crowded:
        scene.taken.append((x, near, far))
        heading = vehicles.AWAY if away else vehicles.TOWARDS
        scene.add(STREET, near + 1, draw, scene.dice, x, z, heading)


def plan_crossing(scene: Scene, near: float, middle: float) -> None:
    """Traffic lights before most crossings, some on an arm over the road, and who comes from the side street."""
    dice = scene.dice
    if dice.chance(0.7):
        for side in scene.street.sides:
            reach = -side.sign * dice.real(2.5, 4.5) if dice.chance(0.45) else 0.0
            x = side.sign * (side.kerb + 0.4)
            scene.add(STREET, near - 0.6, furniture.draw_traffic_light, dice, x, near - 0.6, reach)
    if dice.chance(0.3):
        draw = dice.weighted({vehicles.draw_car: 10, vehicles.draw_truck: 1, vehicles.draw_bus: 1})
        heading = dice.pick((vehicles.RIGHTWARD, vehicles.LEFTWARD))
        scene.add(STREET, middle, draw, dice, dice.real(-9, 9), middle, heading)
    if dice.chance(0.12):
        draw = dice.pick((people.draw_bicycle, people.draw_bicycle, people.draw_motorcycle))
        scene.add(STREET, near + 1, draw, dice, dice.real(-5, 5), near + 1, dice.pick((-1.0, 1.0)), True)
