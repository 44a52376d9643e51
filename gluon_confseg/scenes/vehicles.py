"""Cars, trucks, buses and trams: size, proportions and windows tell them apart. See shapes.Body for a, w and y."""

from __future__ import annotations

from typing import Sequence

from . import ids
from .canvas import Canvas, Point
from .dice import Color, Dice
from .materials import FLEET, GLASS, PAINT
from .shapes import CIRCLE, Body, rectangle

AWAY, TOWARDS, RIGHTWARD, LEFTWARD = (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)
TYRE, RIM = (26, 26, 28), (128, 130, 132)
RED, WHITE, AMBER = (190, 30, 28), (244, 240, 224), (230, 150, 40)


def draw_car(canvas: Canvas, dice: Dice, x: float, z: float, heading: Point) -> None:
    """A car whose middle stands at (x, z); some vans have no windows behind the driver, as trucks."""
    kind = dice.weighted({"hatchback": 4, "saloon": 3, "estate": 3, "van": 1.6})
    van = kind == "van"
    length = {"hatchback": 4.0, "saloon": 4.6, "estate": 4.5, "van": 5.0}[kind] + dice.real(-0.25, 0.25)
    height = (2.0 if van else 1.5) + dice.real(-0.08, 0.22)
    half = 0.88 + dice.real(-0.05, 0.06)
    belt = height * dice.real(0.58, 0.63)  # where the windows begin
    blind, color = van and dice.chance(0.6), dice.vary(dice.pick(PAINT), 14)
    rear, front, low = -length / 2, length / 2, 0.22
    boot = rear + {"hatchback": 0.1, "saloon": 0.95, "estate": 0.08, "van": 0.04}[kind]
    screen, lean = front - (0.7 if van else 1.15), 0.35 if van else 0.5
    roof_rear, roof_front = boot + lean * 0.6, screen - lean * 1.5

    body, axles = Body(canvas, x, z, heading, ids.CAR), (rear + 0.75, front - 0.8)
    body.shadow(length, 2 * half, 120)
    tyres(body, axles, half, 0.32)
    hull = [(rear, low, half), (rear, belt, half), (screen, belt, half)]
    body.sweep([*hull, (front - 0.2, belt * 0.86, half), (front, 0.6, half), (front, low, half)], color)
    cabin = [(boot, belt, half * 0.97), (roof_rear, height, half * 0.78)]
    cabin += [(roof_front, height, half * 0.78), (screen, belt, half * 0.95)]
    body.sweep(cabin, color, glass=(0, 2))

    start, stop, top = boot + 0.2, screen - 0.3, height - 0.12  # two windows with a pillar between them
    before, behind = (start + stop) / 2 + 0.04, (start + stop) / 2 + 0.16
    for w in (-half * 0.9, half * 0.9):
        if not blind:
            body.side([(start, belt), (roof_rear + 0.1, top), (before, top), (before, belt)], w, GLASS)
        body.side([(behind, belt), (behind, top), (roof_front - 0.05, top), (stop, belt)], w, GLASS)
    wheels(body, axles, half, 0.32)
    lamps(body, rear, front, half, belt * 0.82)


def tyres(body: Body, axles: Sequence[float], half: float, radius: float) -> None:
    """The tyres as the ends show them, below the body: draw them before it."""
    for w in (-half * 0.95, half * 0.95):
        for a in axles:
            body.end(rectangle(w - 0.1, w + 0.1, 0, radius * 1.2), a, TYRE)


def wheels(body: Body, axles: Sequence[float], half: float, radius: float) -> None:
    """Tyres with rims on the side seen."""
    for w in (-half, half):
        for a in axles:
            for size, color in ((radius, TYRE), (radius * 0.58, RIM)):
                body.side([(a + size * c, radius + size * s) for c, s in CIRCLE], w, color)


def lamps(body: Body, rear: float, front: float, half: float, height: float) -> None:
    """Red lamps and plate at the rear, white lamps and grille at the front."""
    for sign in (-1, 1):
        outer, inner = sign * (half - 0.04), sign * (half - 0.34)
        body.end(rectangle(min(outer, inner), max(outer, inner), height - 0.2, height), rear, RED)
        body.end(rectangle(min(outer, inner), max(outer, inner), 0.52, 0.72), front, WHITE)
    body.end(rectangle(-0.26, 0.26, height - 0.22, height - 0.1), rear, (228, 228, 220))
    body.end(rectangle(-half * 0.5, half * 0.5, 0.4, 0.66), front, (32, 32, 34))
    body.end(rectangle(-half, half, 0.22, 0.36), rear, (44, 44, 46))


def draw_truck(canvas: Canvas, dice: Dice, x: float, z: float, heading: Point) -> None:
    """A cab before a windowless box; its middle stands at (x, z)."""
    length, height, half = dice.real(6.0, 9.5), dice.real(2.8, 3.7), 1.2
    rear, front, cab = -length / 2, length / 2, length / 2 - dice.real(1.7, 2.1)
    paint, load = dice.vary(dice.pick(FLEET), 14), dice.vary(dice.pick(FLEET), 14)
    body = Body(canvas, x, z, heading, ids.TRUCK)
    axles = (rear + 1.3, rear + 2.4, front - 1.1) if length > 8 else (rear + 1.3, front - 1.1)
    body.shadow(length, 2 * half, 110)
    tyres(body, axles, half, 0.5)
    back, ahead = rear + 0.1, front - 0.3
    body.sweep([(back, 0.45, 0.9), (back, 0.95, 0.9), (ahead, 0.95, 0.9), (ahead, 0.45, 0.9)], (46, 46, 48))
    if heading == TOWARDS:  # the farther part is drawn first
        cargo(body, dice, load, rear, cab - 0.25, half, height)
    top = min(height, dice.real(2.4, 2.9))
    shell = [
        (cab, 0.5, half),
        (cab, top, half),
        (front - 0.25, top, half),
        (front, 1.5, half),
        (front, 0.5, half),
    ]
    body.sweep(shell, paint)
    body.end(rectangle(-half + 0.12, half - 0.12, 1.55, top - 0.35), front, GLASS)
    for w in (-half, half):
        body.side(rectangle(cab + 0.5, front - 0.35, 1.5, top - 0.4), w, GLASS)
    if heading != TOWARDS:
        cargo(body, dice, load, rear, cab - 0.25, half, height)
    wheels(body, axles, half, 0.5)
    lamps(body, rear, front, half, 0.95)


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
                seam = rear + step * 1.2
                body.side(rectangle(seam, seam + 0.06, 0.95, height - 0.1), w, darker)


def draw_bus(canvas: Canvas, dice: Dice, x: float, z: float, heading: Point) -> None:
    """One row of large windows from end to end, doors, wheels; its middle stands at (x, z)."""
    length, height = dice.real(9.5, 12.5), dice.real(2.95, 3.3)
    body, axles = Body(canvas, x, z, heading, ids.BUS), (2.6 - length / 2, length / 2 - 2.4)
    tyres(body, axles, 1.25, 0.48)
    draw_coach(body, dice, length, height, 1.25, 0.32, 1.2, 0.12)
    wheels(body, axles, 1.25, 0.48)


def draw_train(canvas: Canvas, dice: Dice, x: float, z: float, heading: Point) -> None:
    """A tram: longer than a bus, a skirt over its wheels, a leaning front, joints, a pantograph."""
    length, height, tone = dice.real(17.0, 28.0), dice.real(3.3, 3.6), (60, 60, 62)
    body = Body(canvas, x, z, heading, ids.TRAIN)
    draw_coach(body, dice, length, height, 1.22, 0.18, 1.25, 0.8)
    width, top = canvas.camera.scale(z) * 0.06, height + 1.3
    foot, knee, head = body.at(-1.0, 0, height), body.at(0.2, 0, height + 0.7), body.at(-0.8, 0, top)
    canvas.line(foot, knee, width, tone, ids.TRAIN)
    canvas.line(knee, head, width, tone, ids.TRAIN)
    canvas.line(body.at(-0.8, -0.8, top), body.at(-0.8, 0.8, top), width, tone, ids.TRAIN)


def draw_coach(
    body: Body, dice: Dice, length: float, height: float, half: float, low: float, belt: float, nose: float
) -> None:
    """What a bus and a tram have in common: body, skirt, windows, doors and ends, with lamps and the line's display.

    low, belt   the lower edges of the body and of the windscreen
    nose        how far the ends lean
    """
    tram = body.label == ids.TRAIN
    color, trim = dice.vary(dice.pick(FLEET), 14), dice.vary(dice.pick(FLEET), 14)
    front, roof = length / 2, length / 2 - nose
    body.shadow(length, 2 * half, 110)
    ahead = [(roof, height, half * 0.95), (front, belt, half), (front, low, half)]
    behind = [(-a, y, w) for a, y, w in reversed(ahead)]
    body.sweep(behind + ahead, color, glass=(1, 3))

    stop, sill, top = roof - 0.2, belt + (0.15 if tram else 0.0), height - (0.75 if tram else 0.5)
    count = max(1, int(2 * stop / (1.3 if tram else 1.6)))
    step = 2 * stop / count
    for w in (-half, half):
        body.side(rectangle(-front, front, low, low + (0.5 if tram else 0.35)), w, trim)
        for index in range(count):  # every fourth window is a door
            left, right = index * step - stop, index * step - stop + step - 0.14
            body.side(rectangle(left, right, 0.4 if index % 4 == 3 else sill, top), w, GLASS)
            if tram and index % 6 == 5:
                body.side(rectangle(right - 0.1, right + 0.24, 0.25, height - 0.1), w, (48, 48, 50))
    lamps(body, -front, front, half, 1.05)
    for a in (-front, front):
        body.end(rectangle(-half, half, 0.3, 0.5), a, trim)
        body.end(rectangle(-half * 0.6, half * 0.6, height - 0.42, height - 0.16), a, (30, 30, 30))
        body.end(rectangle(-half * 0.4, half * 0.3, height - 0.36, height - 0.22), a, AMBER)
    if tram:
        body.end(rectangle(-0.14, 0.14, 0.62, 0.82), front, WHITE)
