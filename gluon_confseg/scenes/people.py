"""People on foot, bicycles and motorcycles, and those who ride them: bent over what is below."""

from __future__ import annotations

from typing import NamedTuple, Sequence

from . import ids
from .canvas import Canvas, Point
from .dice import Color, Dice
from .shapes import CIRCLE, Figure, rectangle


class Perch(NamedTuple):
    """Where a rider sits, what he holds, where his feet are: (a, y) in metres."""

    seat: Point
    bar: Point
    pedal: Point


SKIN = ((226, 186, 160), (198, 150, 120), (140, 98, 74), (96, 68, 54))
CLOTHES = (  # brighter than most streets': what is bright and small is a person, a rider or what he rides
    (196, 40, 44),
    (226, 104, 30),
    (38, 90, 196),
    (120, 48, 150),
    (20, 140, 140),
    (222, 176, 40),
    (204, 60, 120),
    (44, 52, 84),
)
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
HAIR = ((40, 30, 26), (86, 60, 40), (168, 134, 84), (120, 116, 112))


def dressed(dice: Dice) -> tuple[Color, Color, Color]:
    """Colors of trousers, jacket and skin."""
    return dice.vary(dice.pick(CLOTHES), 14), dice.vary(dice.pick(CLOTHES), 14), dice.pick(SKIN)


def draw_person(canvas: Canvas, dice: Dice, x: float, z: float) -> None:
    """Somebody who stands or walks."""
    tall, stride = dice.real(0.9, 1.06), dice.real(0.02, 0.34)
    figure = Figure(canvas, x, z, 1.0, ids.PERSON)
    trousers, jacket, skin = dressed(dice)
    figure.shadow(0.25)
    hip, neck = 0.86 * tall, 1.45 * tall
    for side in (-1, 1):
        foot = side * stride
        knee = (foot * 0.7 + side * 0.05, 0.45)
        figure.limb((side * 0.07, hip), knee, 0.17, trousers)
        figure.limb(knee, (foot + side * 0.04, 0.04), 0.13, trousers)
        figure.limb((foot + side * 0.04, 0.03), (foot + side * 0.04 + 0.1, 0.03), 0.08, (36, 32, 30))
    coat = hip - (dice.real(0.1, 0.4) if dice.chance(0.3) else 0.05)
    left = [(-0.19, coat), (-0.23, neck - 0.06), (-0.1, neck)]
    figure.shape(left + [(-a, y) for a, y in reversed(left)], jacket)
    swing = dice.real(0.02, 0.22)
    for side in (-1, 1):
        elbow = (side * (0.26 + swing * 0.4), 1.1 * tall)
        figure.limb((side * 0.22, neck - 0.1), elbow, 0.1, jacket)
        figure.limb(elbow, (side * 0.2 + swing, 0.84 * tall), 0.08, jacket)
    head(figure, dice, 0.0, neck + 0.15, skin)
    if dice.chance(0.25):
        figure.shape(((0.16, 0.55), (0.38, 0.55), (0.36, 0.9), (0.18, 0.9)), dice.pick(CLOTHES))


def head(figure: Figure, dice: Dice, a: float, y: float, skin: Sequence[int], helmet: bool = False) -> None:
    """A face under hair, or in a helmet."""
    figure.ball(a, y, 0.125, skin)
    color = dice.pick(CLOTHES) if helmet else dice.pick(HAIR)
    figure.ball(a - 0.02, y + 0.06, 0.13 if helmet else 0.105, color)


def draw_bicycle(canvas: Canvas, dice: Dice, x: float, z: float, squeeze: float, ridden: bool) -> None:
    """A bicycle; as in Cityscapes, its label covers what is seen through its wheels; `ridden` adds its rider."""
    figure = Figure(canvas, x, z, squeeze, ids.BICYCLE)
    figure.shadow(0.7 * abs(squeeze))
    color = dice.vary(dice.pick(CLOTHES), 20)
    for a in (-0.52, 0.52):
        tyre = [figure.at(a + 0.34 * c, 0.34 + 0.34 * s) for c, s in CIRCLE]
        canvas.polygon(tyre, None, ids.BICYCLE)
        for start, end in zip(tyre, tyre[1:] + tyre[:1]):
            canvas.line(start, end, 0.05 * figure.scale, figure.tone((34, 34, 36)), ids.BICYCLE)
    for start, end in FRAME:
        figure.limb(start, end, 0.05, color)
    figure.limb((-0.32, 0.92), (-0.1, 0.92), 0.07, (30, 28, 28))
    handles(figure, 0.36, 1.0)
    if ridden:
        draw_rider(Figure(canvas, x, z, squeeze, ids.RIDER), dice, ON_BICYCLE, helmet=dice.chance(0.4))


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
    (u, low), (_, high) = figure.at(0, 0.1), figure.at(0, 0.95)
    half = 0.22 * (1.0 - abs(squeeze)) * figure.scale  # seen end-on it is as wide as its body
    canvas.polygon(rectangle(u - half, u + half, low, high), figure.tone(color), ids.MOTORCYCLE)
    handles(figure, 0.34, 1.06)
    if ridden:
        draw_rider(Figure(canvas, x, z, squeeze, ids.RIDER), dice, ON_MOTORCYCLE, helmet=True)


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
