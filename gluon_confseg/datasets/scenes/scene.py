"""Puts a street together: what stands where, drawn from far to near."""

from __future__ import annotations

from typing import Callable, List, Tuple

import numpy as np

from . import buildings, furniture, ids, lens, people, plants, vehicles
from .canvas import Canvas
from .dice import Dice
from .ground import Ground, draw_sky
from .layout import LANE, Side, Street, choose_camera, choose_light, choose_street

BEHIND, HOUSES, GARDEN, BOUNDARY, STREET = range(5)
VERSION = 1


def scene(seed: int, index: int, width: int = 512, height: int = 256) -> Tuple[np.ndarray, np.ndarray]:
    """Draw scene `index` of the series `seed`.

    Returns image (height, width, 3) uint8 RGB and labels (height, width) uint8, raw Cityscapes ids. A pure
    function of its arguments: it relies on PCG64's raw stream, on single float64 operations, and on OpenCV's
    integer drawing, nearest-neighbour and bit-exact linear resizing, which are alike on every machine.
    """
    return Scene(Dice(VERSION, seed, index), index, width, height).draw()


class Scene:
    """One street, its camera and its light, and the list of what is to be drawn."""

    def __init__(self, dice: Dice, index: int, width: int, height: int) -> None:
        self.dice, self.index = dice, index
        self.canvas = Canvas(choose_camera(dice, width, height), choose_light(dice))
        self.street = choose_street(dice, tram=self.turn(8, 3))
        self.green = dice.vary(dice.pick(plants.LEAVES), 10)
        self.things: List[Tuple[int, float, Callable[[], None]]] = []
        self.taken: List[Tuple[float, float, float]] = []

    def draw(self) -> Tuple[np.ndarray, np.ndarray]:
        """Plan, draw from far to near, and look through the lens."""
        for side in self.street.sides:
            self.plan_houses(side)
            self.plan_boundary(side)
            self.plan_plants(side)
            self.plan_furniture(side)
            self.plan_people(side)
        self.plan_large()
        self.plan_traffic()
        self.plan_crossing()
        draw_sky(self.canvas, self.dice)
        self.backdrop()
        Ground(self.canvas, self.street, self.dice).draw()
        for _, _, paint in sorted(self.things, key=lambda thing: (thing[0], -thing[1])):
            paint()
        lens.draw_hood(self.canvas, self.dice)
        image = lens.expose(self.canvas, self.dice)
        lens.draw_border(self.canvas, self.dice)
        return image, self.canvas.labels

    def add(self, layer: int, z: float, draw: Callable, *values: object) -> None:
        """Remember to call draw(canvas, *values)."""
        self.things.append((layer, z, lambda: draw(self.canvas, *values)))

    def turn(self, period: int, offset: int) -> bool:
        """True in one scene out of `period`: rare things come by turns, so that few scenes hold all classes."""
        return self.index % period == offset

    def clear(self, z: float, side_street_only: bool = True) -> bool:
        """Whether no side street is at z."""
        return all(not near - 1 <= z <= far + 1 for near, far in self.street.crossings)

    def backdrop(self) -> None:
        """What closes the view: houses or trees across, before a line of green."""
        dice, end = self.dice, self.street.end
        plants.draw_thicket(self.canvas, dice, -260.0, 260.0, 190.0, dice.real(7, 16), dice.vary(self.green, 8))
        if dice.chance(0.7):
            x = -38.0
            while x < 38:
                wide = dice.real(12, 26)
                buildings.draw_end(self.canvas, dice, x, x + wide, end + dice.real(4, 20), dice.real(8, 22))
                x += wide + (dice.real(2, 12) if dice.chance(0.4) else 0)
        if dice.chance(0.6):
            plants.draw_thicket(self.canvas, dice, -40.0, 40.0, end + 3, dice.real(3, 8), self.green)

    def plan_houses(self, side: Side) -> None:
        """A row of houses, closed in towns, with gaps elsewhere; trees in a park."""
        dice, z, flush = self.dice, self.dice.real(2, 8), False
        low, high = {"urban": (11, 24), "suburb": (6, 10), "park": (6, 12), "works": (5, 11)}[side.kind]
        gap = {"urban": 0.12, "suburb": 0.75, "park": 0.9, "works": 0.6}[side.kind]
        while z < self.street.end:
            long = dice.real(8, 17) * (1.6 if side.kind == "works" else 1)
            hit = [far for near, far in self.street.crossings if z < far and z + long > near]
            if hit:
                if self.street.crossings[0][0] - z > 5:
                    self.house(side, z, self.street.crossings[0][0], dice.real(low, high), flush)
                z, flush = hit[0], False
                continue
            built = not (side.kind == "park" and dice.chance(0.75))
            if built:
                self.house(side, z, z + long, dice.real(low, high), flush)
            space = dice.real(3, 12) if dice.chance(gap) else 0.0
            z, flush = z + long + space, built and not space and side.kind == "urban"

    def house(self, side: Side, z1: float, z2: float, height: float, flush: bool) -> None:
        """One house, and the shadow that it throws."""
        line = side.line + (self.dice.real(0, 2.5) if side.kind != "urban" else self.dice.pick((0.0, 0.0, 0.3)))
        x, deep = side.sign * line, side.sign * self.dice.real(8, 13)
        pitched = self.dice.chance({"urban": 0.5, "suburb": 0.9, "park": 0.7, "works": 0.15}[side.kind])
        self.add(HOUSES, z1, buildings.draw_house, self.dice, buildings.House(x, z1, z2, deep, height, pitched, flush))
        if side.sign == self.canvas.light.sun:
            self.street.shadows.append((z1 if z1 > 12 else 0.0, z2, x, height))

    def plan_boundary(self, side: Side) -> None:
        """A wall, fence, hedge or guard rail along the back of the sidewalk, in pieces, with gates."""
        dice = self.dice
        if not dice.chance({"urban": 0.16, "suburb": 0.75, "park": 0.6, "works": 0.85}[side.kind]):
            return
        kind = dice.weighted({"wall": 3, "fence": 4, "hedge": 2, "rail": 0.6})
        height = {"wall": dice.real(0.9, 3.0), "fence": dice.real(0.9, 2.2), "hedge": dice.real(0.8, 2.2), "rail": 0.75}[kind]
        key = (dice.whole(0, 2**31), dice.whole(0, 2**31))
        x, z, end = side.sign * (side.walk - 0.05), dice.real(4, 16), dice.real(20, 70)
        while z < end:
            long = dice.real(4, 8)
            if self.clear(z) and self.clear(z + long) and not dice.chance(0.08):
                if kind == "hedge":
                    self.add(BOUNDARY, z, plants.draw_hedge, dice, x, z, z + long, height, self.green)
                else:
                    draw = {"wall": buildings.draw_wall, "fence": buildings.draw_fence, "rail": buildings.draw_guard_rail}[kind]
                    self.add(BOUNDARY, z, draw, key, x, z, z + long, height)
            z += long

    def plan_plants(self, side: Side) -> None:
        """Green behind the houses, trees in gardens, bushes, and a row of trees along the kerb."""
        dice = self.dice
        if side.kind != "urban" or dice.chance(0.3):
            x, height = side.sign * (side.line + 13), dice.real(5, 11)
            for z in (8.0, 24.0, 60.0):
                self.add(BEHIND, z, plants.draw_hedge, dice, x, z, z * 2.6, height, dice.vary(self.green, 12))
        if side.kind != "urban":
            for _ in range(dice.whole(2, 9 if side.kind == "park" else 5)):
                z, x = dice.real(9, 70), side.sign * dice.real(side.walk + 0.8, side.line + 4)
                draw = plants.draw_tree if dice.chance(0.7) else plants.draw_bush
                self.add(GARDEN, z, draw, dice, x, z, dice.vary(self.green, 12))
        if dice.chance({"urban": 0.45, "suburb": 0.5, "park": 0.75, "works": 0.45}[side.kind]):
            pitch, z = dice.real(7, 14), dice.real(9, 16)
            x, size = side.sign * (max(side.kerb, side.verge - 0.8) + 0.6), dice.real(0.8, 1.35)
            while z < self.street.end:
                if self.clear(z):
                    self.add(STREET, z, plants.draw_tree, dice, x, z + dice.real(-0.5, 0.5), dice.vary(self.green, 10), size)
                z += pitch

    def plan_furniture(self, side: Side) -> None:
        """Lamps, signs, bollards and bins at the kerb."""
        dice, x = self.dice, side.sign * (side.kerb + 0.35)
        z = dice.real(9, 24) if side.sign > 0 or dice.chance(0.6) else self.street.end
        while z < self.street.end:
            self.add(STREET, z, furniture.draw_lamp, dice, x, z, -side.sign * dice.real(0.6, 2.4))
            z += dice.real(20, 34)
        for _ in range(dice.whole(0, 3)):
            z = dice.real(8, 45)
            self.add(STREET, z, furniture.draw_sign, dice, x + side.sign * dice.real(-0.1, 0.5), z)
        if dice.chance(0.12):
            z = dice.real(7, 12)
            for step in range(dice.whole(3, 8)):
                self.add(STREET, z + step * 1.8, furniture.draw_bollard, dice, x, z + step * 1.8)
        for _ in range(dice.whole(0, 2)):
            z = dice.real(8, 40)
            self.add(STREET, z, furniture.draw_bin, dice, side.sign * dice.real(side.verge + 0.3, side.walk), z)

    def plan_people(self, side: Side) -> None:
        """Walkers, parked bicycles and motorcycles on the sidewalk, riders at the kerb."""
        dice = self.dice
        for _ in range(dice.whole(0, 7 if side.kind == "urban" else 3)):
            x, z = side.sign * dice.real(side.verge + 0.3, side.walk - 0.3), dice.real(8, 40)
            for _ in range(dice.pick((1, 1, 1, 2, 2, 3))):
                self.add(STREET, z, people.draw_person, dice, x + dice.real(-0.7, 0.7), z + dice.real(-0.4, 0.4))
        if dice.chance(0.3):
            z, x = dice.real(8, 26), side.sign * (side.walk - 0.5 if dice.chance(0.5) else side.verge + 0.5)
            for step in range(dice.whole(1, 5)):
                squeeze = dice.pick((-1, 1)) * dice.real(0.35, 1.0)
                self.add(STREET, z + step * 0.7, people.draw_bicycle, dice, x, z + step * 0.7, squeeze, False)
        if dice.chance(0.1):
            z, x = dice.real(8, 24), side.sign * (side.verge + 0.6)
            for step in range(dice.whole(1, 2)):
                squeeze = dice.pick((-1, 1)) * dice.real(0.4, 1.0)
                self.add(STREET, z + step, people.draw_motorcycle, dice, x, z + step, squeeze, False)
        if self.turn(9, 4 + side.sign) or dice.chance(0.1):
            ride = people.draw_motorcycle if self.turn(9, 3) else people.draw_bicycle
            z, x = dice.real(9, 30), side.sign * (side.kerb - (2.6 if side.parked else 0.7))
            self.add(STREET, z, ride, dice, x, z, dice.pick((-1, 1)) * dice.pick((0.25, 0.4, 0.7, 1.0)), True)

    def plan_large(self) -> None:
        """Trams where there are rails, buses and trucks."""
        dice = self.dice
        if self.turn(8, 3):
            x = self.street.rails[0]
            heading = vehicles.TOWARDS if x < -1 else vehicles.AWAY
            self.vehicle(vehicles.draw_train, x, dice.real(32, 60), 26, heading)
        for draw, due in ((vehicles.draw_bus, self.turn(7, 2)), (vehicles.draw_truck, self.turn(7, 5))):
            if due:
                x, away = dice.pick(self.street.lanes)
                self.vehicle(draw, x, dice.real(20, 52), 12, vehicles.AWAY if away else vehicles.TOWARDS)

    def vehicle(self, draw: Callable, x: float, z: float, long: float, heading: Tuple[float, float]) -> None:
        """Add a vehicle of about that length unless its place is taken."""
        near, far = z - long / 2 - 1, z + long / 2 + 1
        if near < 4 or any(abs(x - other) < 2.4 and near < stop and far > start for other, start, stop in self.taken):
            return
        self.taken.append((x, near, far))
        self.add(STREET, near + 1, draw, self.dice, x, z, heading)

    def plan_traffic(self) -> None:
        """Cars in the lanes and along the kerbs."""
        dice = self.dice
        for x, away in self.street.lanes:
            z = dice.real(9, 40)
            while z < 90 and dice.chance(0.7):
                heading = vehicles.AWAY if away else vehicles.TOWARDS
                self.vehicle(vehicles.draw_car, x + dice.real(-0.3, 0.3), z, 4.6, heading)
                z += dice.real(8, 30)
        for side in self.street.sides:
            z = dice.real(7, 14)
            while side.parked and z < 70:
                if dice.chance(0.72) and self.clear(z):
                    heading = vehicles.AWAY if side.sign > 0 or dice.chance(0.2) else vehicles.TOWARDS
                    draw = vehicles.draw_truck if dice.chance(0.012) else vehicles.draw_car
                    self.vehicle(draw, side.sign * (side.kerb - 1.0), z, 4.8, heading)
                z += dice.real(5.4, 7.5)

    def plan_crossing(self) -> None:
        """Traffic lights, people on the zebra, and what drives across."""
        dice = self.dice
        for near, far in self.street.crossings:
            if dice.chance(0.6):
                for side in self.street.sides:
                    reach = -side.sign * dice.real(2.5, 4.5) if dice.chance(0.45) else 0.0
                    self.add(STREET, near - 0.6, furniture.draw_traffic_light, dice, side.sign * (side.kerb + 0.4), near - 0.6, reach)
            if dice.chance(0.3):
                draw = dice.weighted({vehicles.draw_car: 10, vehicles.draw_truck: 1, vehicles.draw_bus: 1})
                heading = dice.pick((vehicles.RIGHTWARD, vehicles.LEFTWARD))
                self.add(STREET, (near + far) / 2, draw, dice, dice.real(-9, 9), (near + far) / 2, heading)
            if dice.chance(0.12):
                ride = dice.pick((people.draw_bicycle, people.draw_bicycle, people.draw_motorcycle))
                self.add(STREET, near + 1, ride, dice, dice.real(-5, 5), near + 1, dice.pick((-1.0, 1.0)), True)
        for near, far in self.street.zebras:
            for _ in range(dice.whole(0, 4)):
                z = dice.real(near, far)
                self.add(STREET, z, people.draw_person, dice, dice.real(-6, 5), z)
