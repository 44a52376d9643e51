"""Bicycles, motorcycles and those who ride them: a rider is a person bent over what is below."""

from __future__ import annotations

from typing import NamedTuple, Sequence

from . import ids
from .canvas import Canvas
from .dice import Dice
from .figures import Figure
from .people import CLOTHES, dressed, head
from .solids import CIRCLE, Point


class Perch(NamedTuple):
    """Where a rider sits, what he holds, where his feet are: (a, y) in metres."""

    seat: Point
    bar: Point
    pedal: Point


ON_BICYCLE = Perch(seat=(-0.2, 0.88), bar=(0.36, 0.95), pedal=(-0.05, 0.3))
ON_MOTORCYCLE = Perch(seat=(-0.25, 0.84), bar=(0.36, 1.04), pedal=(0.05, 0.4))
FRAME = (  # a bicycle's tubes
    ((-0.05, 0.3), (-0.2, 0.88)),
    ((-0.05, 0.3), (0.32, 0.8)),
    ((-0.2, 0.88), (0.32, 0.8)),
    ((-0.2, 0.88), (-0.52, 0.34)),
    ((-0.05, 0.3), (-0.52, 0.34)),
    ((0.36, 0.95), (0.52, 0.34)),
)


def draw_bicycle(canvas: Canvas, dice: Dice, x: float, z: float, squeeze: float, ridden: bool) -> None:
    """A bicycle; as in Cityscapes, its label covers what is seen through it; `ridden` adds its rider."""
    figure = Figure(canvas, x, z, squeeze, ids.BICYCLE)
    figure.shadow(0.7 * abs(squeeze))
    color = dice.vary(dice.pick(CLOTHES), 20)
    for a in (-0.52, 0.52):
        wheel(figure, a, 0.34, 0.34, 0.05)
    for start, end in FRAME:
        figure.limb(start, end, 0.05, color)
    figure.limb((-0.32, 0.92), (-0.1, 0.92), 0.07, (30, 28, 28))
    handles(figure, 0.36, 1.0)
    if ridden:
        draw_rider(Figure(canvas, x, z, squeeze, ids.RIDER), dice, ON_BICYCLE, helmet=dice.chance(0.4))


def wheel(figure: Figure, a: float, y: float, radius: float, thick: float) -> None:
    """A tyre as a ring that shows what is behind; its label is the whole disc."""
    points = [figure.at(a + radius * c, y + radius * s) for c, s in CIRCLE]
    figure.canvas.mark(points, figure.label)
    for start, end in zip(points, points[1:] + points[:1]):
        figure.canvas.line(start, end, thick * figure.scale, figure.tone((34, 34, 36)), figure.label)


def handles(figure: Figure, a: float, y: float) -> None:
    """The handlebar, wide where the wheels are seen end-on."""
    u, v = figure.at(a, y)
    half = max(0.28 * (1.0 - abs(figure.squeeze)), 0.06) * figure.scale
    tone = figure.tone((40, 40, 42))
    figure.canvas.line((u - half, v), (u + half, v), 0.05 * figure.scale, tone, figure.label)


def draw_motorcycle(canvas: Canvas, dice: Dice, x: float, z: float, squeeze: float, ridden: bool) -> None:
    """Thick wheels, an engine and a tank; `ridden` adds its rider."""
    figure = Figure(canvas, x, z, squeeze, ids.MOTORCYCLE)
    figure.shadow(0.85 * abs(squeeze))
    color = dice.vary(dice.pick(CLOTHES), 24)
    for a in (-0.66, 0.68):
        figure.shape([(a + 0.31 * c, 0.31 + 0.31 * s) for c, s in CIRCLE], (28, 28, 30))
        figure.shape([(a + 0.15 * c, 0.31 + 0.15 * s) for c, s in CIRCLE], (112, 112, 114))
    figure.shape(((-0.45, 0.3), (0.3, 0.25), (0.42, 0.62), (-0.3, 0.66)), (66, 66, 68))
    figure.shape(((-0.85, 0.78), (-0.1, 0.7), (0.0, 0.86), (-0.8, 0.9)), color)
    figure.shape(((-0.12, 0.7), (0.35, 0.74), (0.3, 0.98), (-0.02, 0.96), (-0.16, 0.86)), color)
    figure.limb((0.36, 1.02), (0.68, 0.31), 0.09, (92, 92, 94))
    figure.ball(0.5, 0.86, 0.12, (214, 210, 196) if dice.chance(0.5) else color)
    fairing(figure, color)
    handles(figure, 0.34, 1.06)
    if ridden:
        draw_rider(Figure(canvas, x, z, squeeze, ids.RIDER), dice, ON_MOTORCYCLE, helmet=True)


def fairing(figure: Figure, color: Sequence[int]) -> None:
    """The body of a motorcycle that is seen end-on; nothing of one that is seen from the side."""
    (u, low), (_, high) = figure.at(0, 0.1), figure.at(0, 0.95)
    half = 0.22 * (1.0 - abs(figure.squeeze)) * figure.scale
    corners = ((u - half, low), (u + half, low), (u + half, high), (u - half, high))
    figure.canvas.polygon(corners, figure.tone(color), figure.label)


def draw_rider(figure: Figure, dice: Dice, perch: Perch, helmet: bool) -> None:
    """Somebody who sits, leans forward and holds the bar."""
    (trousers, jacket, skin), seat, bar, pedal = dressed(dice), perch.seat, perch.bar, perch.pedal
    hip, shoulder = (seat[0] + 0.02, seat[1] + 0.08), (seat[0] + dice.real(0.18, 0.36), seat[1] + 0.56)
    narrow = abs(figure.squeeze)
    spread, wide = 0.13 * (1.0 - narrow) / max(narrow, 0.2), 0.2 * (1.0 - 0.5 * narrow) / max(narrow, 0.2)
    for side, lift in ((-1, 0.0), (1, dice.real(0.0, 0.25))):
        knee = (hip[0] + 0.38 + side * spread, hip[1] - 0.16 + lift * 0.4)
        figure.limb((hip[0] + side * spread * 0.6, hip[1]), knee, 0.17, trousers)
        figure.limb(knee, (pedal[0] + side * spread, pedal[1] - 0.08 + lift), 0.13, trousers)
    back = ((hip[0] - wide * 0.8, hip[1] - 0.04), (shoulder[0] - wide, shoulder[1]))
    chest = ((shoulder[0] + wide * 0.6, shoulder[1] + 0.05), (hip[0] + wide * 0.8, hip[1] - 0.02))
    figure.shape(back + chest, jacket)
    for side in (-1, 1):
        elbow = ((shoulder[0] + bar[0]) / 2 + side * spread * 2, (shoulder[1] + bar[1]) / 2 - 0.06)
        figure.limb((shoulder[0] + side * spread * 1.5, shoulder[1] - 0.06), elbow, 0.1, jacket)
        figure.limb(elbow, (bar[0] + side * spread, bar[1] + 0.02), 0.08, jacket)
    head(figure, dice, shoulder[0] + 0.08, shoulder[1] + 0.2, skin, helmet)
