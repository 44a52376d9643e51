"""Cars, trucks, buses and trams: one paint shop; size, proportions, windows and rails tell them apart."""

from __future__ import annotations

from typing import Sequence, Tuple

from . import ids
from .canvas import Canvas
from .dice import Color, Dice
from .materials import GLASS, PAINT
from .solids import Body, rectangle

AWAY, TOWARDS, RIGHTWARD, LEFTWARD = (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)
TYRE, RIM = (26, 26, 28), (128, 130, 132)
RED, WHITE, AMBER = (190, 30, 28), (244, 240, 224), (230, 150, 40)
Heading = Tuple[float, float]


def draw_car(canvas: Canvas, dice: Dice, x: float, z: float, heading: Heading) -> None:
    """A hatchback, saloon, estate or van; its middle stands at (x, z)."""
    kind = dice.weighted({"hatchback": 4, "saloon": 3, "estate": 3, "van": 1.6})
    length = {"hatchback": 4.0, "saloon": 4.6, "estate": 4.5, "van": 5.0}[kind] + dice.real(-0.25, 0.25)
    height = (2.0 if kind == "van" else 1.5) + dice.real(-0.08, 0.22)
    half, belt = 0.88 + dice.real(-0.05, 0.06), height * dice.real(0.58, 0.63)
    rear, front = -length / 2, length / 2
    boot = {"hatchback": 0.1, "saloon": 0.95, "estate": 0.08, "van": 0.04}[kind]
    hood = 0.7 if kind == "van" else 1.15
    color, body = dice.vary(dice.pick(PAINT), 14), Body(canvas, x, z, heading, ids.CAR)
    body.shadow(length, 2 * half, 120)
    low = 0.22
    hull = [(rear, low, half), (rear, belt, half), (front - 0.2, belt * 0.86, half), (front, 0.6, half), (front, low, half)]
    wheels(body, dice, (rear + 0.75, front - 0.8), half, 0.32, under=True)
    body.sweep(hull, color)
    slope = 0.35 if kind == "van" else 0.5
    cabin = [
        (rear + boot, belt, half * 0.97),
        (rear + boot + slope * 0.6, height, half * 0.78),
        (front - hood - slope * 1.5, height, half * 0.78),
        (front - hood, belt * 0.97, half * 0.95),
    ]
    body.sweep(cabin, color, glass=((0, GLASS), (2, GLASS)))
    roofline = (rear + boot + slope * 0.6 + 0.1, front - hood - slope * 1.5 - 0.05)
    side_glass(body, cabin, belt, height, half, roofline, solid=kind == "van" and dice.chance(0.6))
    wheels(body, dice, (rear + 0.75, front - 0.8), half, 0.32)
    lamps(body, rear, front, half, belt * 0.82)


def side_glass(
    body: Body,
    cabin: Sequence[Tuple[float, float, float]],
    belt: float,
    height: float,
    half: float,
    roofline: Tuple[float, float],
    solid: bool,
) -> None:
    """The side windows with a pillar between them; only the front one where the rest is solid."""
    start, stop = cabin[0][0] + 0.2, cabin[3][0] - 0.3
    middle = (start + stop) / 2 + 0.1
    top = height - 0.12
    for w in (-half * 0.9, half * 0.9):
        if not solid:
            body.side([(start, belt), (roofline[0], top), (middle - 0.06, top), (middle - 0.06, belt)], w, GLASS)
        body.side([(middle + 0.06, belt), (middle + 0.06, top), (roofline[1], top), (stop, belt)], w, GLASS)


def wheels(body: Body, dice: Dice, places: Sequence[float], half: float, radius: float, under: bool = False) -> None:
    """Tyres with rims on the side seen; `under` draws the dark between them instead."""
    if under:
        for w in (-half * 0.95, half * 0.95):
            for a in places:
                body.end(rectangle(w - 0.1, w + 0.1, 0, radius * 1.2), a, TYRE)
        return
    for w in (-half, half):
        for a in places:
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
    """A cab before a windowless box or an open bed."""
    length, height = dice.real(6.0, 9.5), dice.real(2.8, 3.7)
    half, rear, front = 1.2, -length / 2, length / 2
    cab_height, cab_rear = min(height, dice.real(2.4, 2.9)), front - dice.real(1.7, 2.1)
    paint, load = dice.vary(dice.pick(PAINT), 14), dice.vary(dice.pick(PAINT), 14)
    body = Body(canvas, x, z, heading, ids.TRUCK)
    body.shadow(length, 2 * half, 110)
    frame = [(rear + 0.1, 0.45, 0.9), (rear + 0.1, 0.95, 0.9), (front - 0.3, 0.95, 0.9), (front - 0.3, 0.45, 0.9)]
    wheels(body, dice, (rear + 1.3, front - 1.1), half, 0.5, under=True)
    body.sweep(frame, (46, 46, 48))
    parts = [lambda: cab(body, paint, cab_rear, front, half, cab_height), lambda: cargo(body, dice, load, rear, cab_rear - 0.25, half, height)]
    if heading[0] < 0 or (heading[0] == 0 and body.depth(front, 0) < body.depth(rear, 0)):
        parts.reverse()
    for part in parts:
        part()
    wheels(body, dice, (rear + 1.3, rear + 2.4, front - 1.1) if length > 8 else (rear + 1.3, front - 1.1), half, 0.5)
    lamps(body, rear, front, half, 0.95)


def cab(body: Body, color: Color, rear: float, front: float, half: float, height: float) -> None:
    """The driver's cab, with its windscreen and door window."""
    body.sweep(
        [(rear, 0.5, half), (rear, height, half), (front - 0.25, height, half), (front, 1.5, half), (front, 0.5, half)], color
    )
    body.end(rectangle(-half + 0.12, half - 0.12, 1.55, height - 0.35), front, GLASS)
    for w in (-half, half):
        body.side(rectangle(rear + 0.5, front - 0.35, 1.5, height - 0.4), w, GLASS)


def cargo(body: Body, dice: Dice, color: Color, rear: float, front: float, half: float, height: float) -> None:
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
                body.side(rectangle(rear + step * 1.2, rear + step * 1.2 + 0.06, 0.95, height - 0.1), w, darker)


def draw_bus(canvas: Canvas, dice: Dice, x: float, z: float, heading: Heading) -> None:
    """One row of large windows from end to end, doors, wheels in arches."""
    coach(canvas, dice, Body(canvas, x, z, heading, ids.BUS), dice.real(9.5, 12.5), 1.25, dice.real(2.95, 3.3), False)


def draw_train(canvas: Canvas, dice: Dice, x: float, z: float, heading: Heading) -> None:
    """A tram: as a bus, but longer, on rails, a skirt over its wheels, a rounded front, a pantograph."""
    coach(canvas, dice, Body(canvas, x, z, heading, ids.TRAIN), dice.real(17.0, 28.0), 1.22, dice.real(3.3, 3.6), True)


def coach(canvas: Canvas, dice: Dice, body: Body, length: float, half: float, height: float, tram: bool) -> None:
    """What a bus and a tram share."""
    rear, front = -length / 2, length / 2
    color, trim = dice.vary(dice.pick(PAINT), 14), dice.vary(dice.pick(PAINT), 14)
    low, belt, nose = (0.18, 1.25, 0.8) if tram else (0.32, 1.2, 0.12)
    body.shadow(length, 2 * half, 110)
    if not tram:
        wheels(body, dice, (rear + 2.6, front - 2.4), half, 0.48, under=True)
    hull = [
        (rear, low, half),
        (rear, belt, half),
        (rear + nose, height, half * 0.95),
        (front - nose, height, half * 0.95),
        (front, belt, half),
        (front, low, half),
    ]
    body.sweep(hull, color, glass=((1, GLASS), (3, GLASS)))
    for w in (-half, half):
        body.side(rectangle(rear, front, low, low + (0.5 if tram else 0.35)), w, trim)
        window_band(body, rear + nose + 0.2, front - nose - 0.2, w, belt, height, tram)
    ends(body, rear, front, half, belt, height, color, trim, tram)
    if tram:
        pantograph(body, height)
    else:
        wheels(body, dice, (rear + 2.6, front - 2.4), half, 0.48)


def window_band(body: Body, start: float, stop: float, w: float, belt: float, height: float, tram: bool) -> None:
    """Windows along a side, and its doors; a tram's are higher and narrower, and it has joints."""
    pitch = 1.3 if tram else 1.6
    count = max(1, int((stop - start) / pitch))
    step = (stop - start) / count
    for index in range(count):
        left, right = start + index * step, start + (index + 1) * step - 0.14
        bottom = 0.4 if index % 4 == 3 else belt + (0.15 if tram else 0.0)
        body.side(rectangle(left, right, bottom, height - (0.75 if tram else 0.5)), w, GLASS)
        if tram and index % 6 == 5:
            body.side(rectangle(right - 0.1, right + 0.24, 0.25, height - 0.1), w, (48, 48, 50))


def ends(
    body: Body, rear: float, front: float, half: float, belt: float, height: float, color: Color, trim: Color, tram: bool
) -> None:
    """Lamps, the line display, and the pane of the end that is seen."""
    lamps(body, rear, front, half, 1.05)
    for a in (rear, front):
        body.end(rectangle(-half, half, 0.3, 0.5), a, trim)
        body.end(rectangle(-half * 0.6, half * 0.6, height - 0.42, height - 0.16), a, (30, 30, 30))
        body.end(rectangle(-half * 0.4, half * 0.3, height - 0.36, height - 0.22), a, AMBER)
    if tram:
        body.end(rectangle(-0.14, 0.14, 0.62, 0.82), front, WHITE)


def pantograph(body: Body, height: float) -> None:
    """The arm on a tram's roof, part of the tram."""
    canvas, tone = body.canvas, (60, 60, 62)
    width = canvas.camera.scale(body.z) * 0.06
    foot, knee, top = body.at(-1.0, 0, height), body.at(0.2, 0, height + 0.7), body.at(-0.8, 0, height + 1.3)
    canvas.line(foot, knee, width, tone, ids.TRAIN)
    canvas.line(knee, top, width, tone, ids.TRAIN)
    canvas.line(body.at(-0.8, -0.8, height + 1.3), body.at(-0.8, 0.8, height + 1.3), width, tone, ids.TRAIN)
