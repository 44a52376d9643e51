"""What moves or waits on the road: trams, buses, trucks and cars, and what there is at a crossing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from . import coaches, cycles, furniture, people, vehicles
from .sides import STREET

if TYPE_CHECKING:
    from .scene import Scene

TRAM, BUS, TRUCK = (6, 3), (5, 2), (6, 5)  # turns: see Scene.turn


def plan(scene: Scene) -> None:
    """Add everything on the road; the large first, the cars where there is room."""
    plan_large(scene)
    plan_cars(scene)
    plan_parked(scene)
    for near, far in scene.street.crossings:
        plan_lights(scene, near)
        plan_crossing(scene, near, far)
    for near, far in scene.street.zebras:
        for _ in range(scene.dice.whole(0, 4)):
            z = scene.dice.real(near, far)
            scene.add(STREET, z, people.draw_person, scene.dice, scene.dice.real(-6, 5), z)


def add_vehicle(scene: Scene, draw: Callable, x: float, z: float, long: float, away: bool) -> None:
    """Add a vehicle of about that length along the street, unless its place is taken or it is too near."""
    near, far = z - long / 2 - 1, z + long / 2 + 1
    crowded = any(abs(x - other) < 2.4 and near < stop and far > start for other, start, stop in scene.taken)
    if near < 4 or crowded:
        return
    scene.taken.append((x, near, far))
    heading = vehicles.AWAY if away else vehicles.TOWARDS
    scene.add(STREET, near + 1, draw, scene.dice, x, z, heading)


def plan_large(scene: Scene) -> None:
    """A tram on its rails, a bus, a truck, each when its turn comes."""
    dice = scene.dice
    if scene.turn(TRAM):
        x = scene.street.rails[0]
        add_vehicle(scene, coaches.draw_train, x, dice.real(27, 42), 26, x >= -1)
    for draw, turns in ((coaches.draw_bus, BUS), (vehicles.draw_truck, TRUCK)):
        if scene.turn(turns):
            x, away = dice.pick(scene.street.lanes)
            add_vehicle(scene, draw, x, dice.real(18, 34), 12, away)


def plan_cars(scene: Scene) -> None:
    """Cars in the lanes."""
    dice = scene.dice
    for x, away in scene.street.lanes:
        z = dice.real(9, 40)
        while z < 90 and dice.chance(0.7):
            add_vehicle(scene, vehicles.draw_car, x + dice.real(-0.3, 0.3), z, 4.6, away)
            z += dice.real(8, 30)


def plan_parked(scene: Scene) -> None:
    """Cars along the kerbs, once in a while a truck."""
    dice = scene.dice
    for side in scene.street.sides:
        z = dice.real(7, 14)
        while side.parked and z < 70:
            if dice.chance(0.72) and scene.clear(z):
                draw = vehicles.draw_truck if dice.chance(0.012) else vehicles.draw_car
                away = side.sign > 0 or dice.chance(0.2)
                add_vehicle(scene, draw, side.sign * (side.kerb - 1.0), z, 4.8, away)
            z += dice.real(5.4, 7.5)


def plan_lights(scene: Scene, near: float) -> None:
    """Traffic lights before most crossings, some on an arm over the road."""
    dice = scene.dice
    if not dice.chance(0.7):
        return
    for side in scene.street.sides:
        reach = -side.sign * dice.real(2.5, 4.5) if dice.chance(0.45) else 0.0
        x = side.sign * (side.kerb + 0.4)
        scene.add(STREET, near - 0.6, furniture.draw_traffic_light, dice, x, near - 0.6, reach)


def plan_crossing(scene: Scene, near: float, far: float) -> None:
    """Who comes from the side street."""
    dice, middle = scene.dice, (near + far) / 2
    if dice.chance(0.3):
        draw = dice.weighted({vehicles.draw_car: 10, vehicles.draw_truck: 1, coaches.draw_bus: 1})
        heading = dice.pick((vehicles.RIGHTWARD, vehicles.LEFTWARD))
        scene.add(STREET, middle, draw, dice, dice.real(-9, 9), middle, heading)
    if dice.chance(0.12):
        draw = dice.pick((cycles.draw_bicycle, cycles.draw_bicycle, cycles.draw_motorcycle))
        scene.add(STREET, near + 1, draw, dice, dice.real(-5, 5), near + 1, dice.pick((-1.0, 1.0)), True)
