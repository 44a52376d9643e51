"""Buses and trams: alike in paint and windows; length, rails, skirts, fronts and pantographs differ."""

from __future__ import annotations

from dataclasses import dataclass

from . import ids
from .canvas import Canvas
from .dice import Color, Dice
from .materials import FLEET, GLASS
from .solids import Body, rectangle
from .vehicles import AMBER, WHITE, Heading, lamps, tyres, wheels


@dataclass(frozen=True)
class Coach:
    """What a bus and a tram have in common. Metres; see solids.Body for a, w and y."""

    length: float
    half: float
    height: float
    low: float  # the lower edge of the body
    belt: float  # where the windscreen begins
    nose: float  # how far the ends lean
    color: Color
    trim: Color
    tram: bool


def draw_bus(canvas: Canvas, dice: Dice, x: float, z: float, heading: Heading) -> None:
    """One row of large windows from end to end, doors, wheels; its middle stands at (x, z)."""
    length, height, (color, trim) = dice.real(9.5, 12.5), dice.real(2.95, 3.3), painted(dice)
    bus = Coach(length, 1.25, height, 0.32, 1.2, 0.12, color, trim, tram=False)
    axles = (2.6 - length / 2, length / 2 - 2.4)
    body = Body(canvas, x, z, heading, ids.BUS)
    tyres(body, axles, bus.half, 0.48)
    draw_coach(body, bus)
    wheels(body, axles, bus.half, 0.48)


def draw_train(canvas: Canvas, dice: Dice, x: float, z: float, heading: Heading) -> None:
    """A tram: longer than a bus, a skirt over its wheels, a leaning front, joints, a pantograph."""
    length, height, (color, trim) = dice.real(17.0, 28.0), dice.real(3.3, 3.6), painted(dice)
    tram = Coach(length, 1.22, height, 0.18, 1.25, 0.8, color, trim, tram=True)
    body = Body(canvas, x, z, heading, ids.TRAIN)
    draw_coach(body, tram)
    pantograph(body, height)


def painted(dice: Dice) -> tuple[Color, Color]:
    """Colors of body and trim."""
    return dice.vary(dice.pick(FLEET), 14), dice.vary(dice.pick(FLEET), 14)


def draw_coach(body: Body, coach: Coach) -> None:
    """Body, skirt, windows and ends."""
    front, half, roof = coach.length / 2, coach.half, coach.length / 2 - coach.nose
    body.shadow(coach.length, 2 * half, 110)
    ahead = [(roof, coach.height, half * 0.95), (front, coach.belt, half), (front, coach.low, half)]
    behind = [(-a, y, w) for a, y, w in reversed(ahead)]
    body.sweep(behind + ahead, coach.color, glass=((1, GLASS), (3, GLASS)))
    for w in (-half, half):
        skirt = coach.low + (0.5 if coach.tram else 0.35)
        body.side(rectangle(-front, front, coach.low, skirt), w, coach.trim)
        draw_windows(body, coach, w)
    draw_ends(body, coach)


def draw_windows(body: Body, coach: Coach, w: float) -> None:
    """Windows and doors along a side; a tram's windows are shorter, and it has joints."""
    stop = coach.length / 2 - coach.nose - 0.2
    count = max(1, int(2 * stop / (1.3 if coach.tram else 1.6)))
    step, low = 2 * stop / count, coach.belt + (0.15 if coach.tram else 0.0)
    high = coach.height - (0.75 if coach.tram else 0.5)
    for index in range(count):
        left = index * step - stop
        right, door = left + step - 0.14, index % 4 == 3
        body.side(rectangle(left, right, 0.4 if door else low, high), w, GLASS)
        if coach.tram and index % 6 == 5:
            body.side(rectangle(right - 0.1, right + 0.24, 0.25, coach.height - 0.1), w, (48, 48, 50))


def draw_ends(body: Body, coach: Coach) -> None:
    """Bumper, lamps and the line's display; a tram has a third lamp."""
    front, half, top = coach.length / 2, coach.half, coach.height
    lamps(body, -front, front, half, 1.05)
    for a in (-front, front):
        body.end(rectangle(-half, half, 0.3, 0.5), a, coach.trim)
        body.end(rectangle(-half * 0.6, half * 0.6, top - 0.42, top - 0.16), a, (30, 30, 30))
        body.end(rectangle(-half * 0.4, half * 0.3, top - 0.36, top - 0.22), a, AMBER)
    if coach.tram:
        body.end(rectangle(-0.14, 0.14, 0.62, 0.82), front, WHITE)


def pantograph(body: Body, height: float) -> None:
    """The arm on a tram's roof, part of the tram."""
    canvas, tone = body.canvas, (60, 60, 62)
    width, top = canvas.camera.scale(body.z) * 0.06, height + 1.3
    foot, knee, head = body.at(-1.0, 0, height), body.at(0.2, 0, height + 0.7), body.at(-0.8, 0, top)
    canvas.line(foot, knee, width, tone, ids.TRAIN)
    canvas.line(knee, head, width, tone, ids.TRAIN)
    canvas.line(body.at(-0.8, -0.8, top), body.at(-0.8, 0.8, top), width, tone, ids.TRAIN)
