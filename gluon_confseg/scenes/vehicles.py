"""Cars and trucks; see coaches.py for buses and trams. Size, proportions and windows tell them apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

from . import ids
from .canvas import Canvas
from .dice import Color, Dice
from .materials import FLEET, GLASS, PAINT
from .solids import Body, rectangle

AWAY, TOWARDS, RIGHTWARD, LEFTWARD = (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)
TYRE, RIM = (26, 26, 28), (128, 130, 132)
RED, WHITE, AMBER = (190, 30, 28), (244, 240, 224), (230, 150, 40)
Heading = Tuple[float, float]
Profile = List[Tuple[float, float, float]]


@dataclass(frozen=True)
class Car:
    """A car's measures in metres, its middle at a = 0: see solids.Body for a, w and y."""

    rear: float
    front: float
    half: float
    height: float
    belt: float  # where the windows begin
    boot: float  # from the rear to the rear window
    hood: float  # from the windscreen to the front
    slope: float  # how far the windscreen leans
    blind: bool  # no windows behind the driver

    @property
    def roof(self) -> tuple[float, float]:
        """Where the roof begins and ends."""
        return self.rear + self.boot + self.slope * 0.6, self.front - self.hood - self.slope * 1.5

    @property
    def hull(self) -> Profile:
        """The lower part."""
        half, front, low = self.half, self.front, 0.22
        back = [(self.rear, low, half), (self.rear, self.belt, half), (front - self.hood, self.belt, half)]
        return [*back, (front - 0.2, self.belt * 0.86, half), (front, 0.6, half), (front, low, half)]

    @property
    def cabin(self) -> Profile:
        """The upper part, narrower at the roof."""
        (start, stop), half = self.roof, self.half
        behind, ahead = (self.rear + self.boot, self.belt), (self.front - self.hood, self.belt)
        top = [(start, self.height, half * 0.78), (stop, self.height, half * 0.78)]
        return [(*behind, half * 0.97), *top, (*ahead, half * 0.95)]


def choose_car(dice: Dice) -> Car:
    """A hatchback, saloon, estate or van; some vans have no windows behind the driver, as trucks."""
    kind = dice.weighted({"hatchback": 4, "saloon": 3, "estate": 3, "van": 1.6})
    van = kind == "van"
    length = {"hatchback": 4.0, "saloon": 4.6, "estate": 4.5, "van": 5.0}[kind] + dice.real(-0.25, 0.25)
    height = (2.0 if van else 1.5) + dice.real(-0.08, 0.22)
    return Car(
        rear=-length / 2,
        front=length / 2,
        half=0.88 + dice.real(-0.05, 0.06),
        height=height,
        belt=height * dice.real(0.58, 0.63),
        boot={"hatchback": 0.1, "saloon": 0.95, "estate": 0.08, "van": 0.04}[kind],
        hood=0.7 if van else 1.15,
        slope=0.35 if van else 0.5,
        blind=van and dice.chance(0.6),
    )


def draw_car(canvas: Canvas, dice: Dice, x: float, z: float, heading: Heading) -> None:
    """A car whose middle stands at (x, z)."""
    car, color, body = choose_car(dice), dice.vary(dice.pick(PAINT), 14), Body(canvas, x, z, heading, ids.CAR)
    axles = (car.rear + 0.75, car.front - 0.8)
    body.shadow(car.front - car.rear, 2 * car.half, 120)
    tyres(body, axles, car.half, 0.32)
    body.sweep(car.hull, color)
    body.sweep(car.cabin, color, glass=((0, GLASS), (2, GLASS)))
    side_windows(body, car)
    wheels(body, axles, car.half, 0.32)
    lamps(body, car.rear, car.front, car.half, car.belt * 0.82)


def side_windows(body: Body, car: Car) -> None:
    """Two windows with a pillar between them on the side seen, or the front one alone."""
    start, stop, top = car.rear + car.boot + 0.2, car.front - car.hood - 0.3, car.height - 0.12
    before, behind = (start + stop) / 2 + 0.04, (start + stop) / 2 + 0.16
    roof = car.roof[0] + 0.1, car.roof[1] - 0.05
    for w in (-car.half * 0.9, car.half * 0.9):
        if not car.blind:
            body.side([(start, car.belt), (roof[0], top), (before, top), (before, car.belt)], w, GLASS)
        body.side([(behind, car.belt), (behind, top), (roof[1], top), (stop, car.belt)], w, GLASS)


def tyres(body: Body, axles: Sequence[float], half: float, radius: float) -> None:
    """The tyres as the ends show them, below the body: draw them before it."""
    for w in (-half * 0.95, half * 0.95):
        for a in axles:
            body.end(rectangle(w - 0.1, w + 0.1, 0, radius * 1.2), a, TYRE)


def wheels(body: Body, axles: Sequence[float], half: float, radius: float) -> None:
    """Tyres with rims on the side seen."""
    for w in (-half, half):
        for a in axles:
            body.disc(a, radius, w, radius, TYRE)
            body.disc(a, radius, w, radius * 0.58, RIM)


def lamps(body: Body, rear: float, front: float, half: float, height: float) -> None:
    """Red lamps and plate at the rear, white lamps and grille at the front."""
    for sign in (-1, 1):
        outer, inner = sign * (half - 0.04), sign * (half - 0.34)
        body.end(rectangle(min(outer, inner), max(outer, inner), height - 0.2, height), rear, RED)
        body.end(rectangle(min(outer, inner), max(outer, inner), 0.52, 0.72), front, WHITE)
    body.end(rectangle(-0.26, 0.26, height - 0.22, height - 0.1), rear, (228, 228, 220))
    body.end(rectangle(-half * 0.5, half * 0.5, 0.4, 0.66), front, (32, 32, 34))
    body.end(rectangle(-half, half, 0.22, 0.36), rear, (44, 44, 46))


def draw_truck(canvas: Canvas, dice: Dice, x: float, z: float, heading: Heading) -> None:
    """A cab before a windowless box; its middle stands at (x, z)."""
    length, height, half = dice.real(6.0, 9.5), dice.real(2.8, 3.7), 1.2
    rear, front, cab_rear = -length / 2, length / 2, length / 2 - dice.real(1.7, 2.1)
    paint, load = dice.vary(dice.pick(FLEET), 14), dice.vary(dice.pick(FLEET), 14)
    body = Body(canvas, x, z, heading, ids.TRUCK)
    axles = (rear + 1.3, rear + 2.4, front - 1.1) if length > 8 else (rear + 1.3, front - 1.1)
    body.shadow(length, 2 * half, 110)
    tyres(body, axles, half, 0.5)
    back, ahead = rear + 0.1, front - 0.3
    body.sweep([(back, 0.45, 0.9), (back, 0.95, 0.9), (ahead, 0.95, 0.9), (ahead, 0.45, 0.9)], (46, 46, 48))
    if body.depth(front, 0) < body.depth(rear, 0):
        cargo(body, dice, load, rear, cab_rear - 0.25, half, height)
    cab(body, paint, cab_rear, front, half, min(height, dice.real(2.4, 2.9)))
    if body.depth(front, 0) >= body.depth(rear, 0):
        cargo(body, dice, load, rear, cab_rear - 0.25, half, height)
    wheels(body, axles, half, 0.5)
    lamps(body, rear, front, half, 0.95)


def cab(body: Body, color: Color, rear: float, front: float, half: float, height: float) -> None:
    """The driver's cab, with its windscreen and door window."""
    body.sweep(
        [
            (rear, 0.5, half),
            (rear, height, half),
            (front - 0.25, height, half),
            (front, 1.5, half),
            (front, 0.5, half),
        ],
        color,
    )
    body.end(rectangle(-half + 0.12, half - 0.12, 1.55, height - 0.35), front, GLASS)
    for w in (-half, half):
        body.side(rectangle(rear + 0.5, front - 0.35, 1.5, height - 0.4), w, GLASS)


def cargo(
    body: Body, dice: Dice, color: Color, rear: float, front: float, half: float, height: float
) -> None:
    """A box with doors or a tarpaulin with a stripe; no windows."""
    body.sweep([(rear, 0.9, half), (rear, height, half), (front, height, half), (front, 0.9, half)], color)
    darker = tuple(c * 4 // 5 for c in color)
    body.end(rectangle(-0.03, 0.03, 0.95, height - 0.1), rear, darker)
    if dice.chance(0.5):
        stripe, low = dice.pick(PAINT), dice.real(1.2, 2.0)
        for w in (-half, half):
            body.side(rectangle(rear + 0.4, front - 0.4, low, low + dice.real(0.2, 0.8)), w, stripe)
    else:
        for w in (-half, half):
            for step in range(1, int((front - rear) / 1.2)):
                body.side(
                    rectangle(rear + step * 1.2, rear + step * 1.2 + 0.06, 0.95, height - 0.1), w, darker
                )
