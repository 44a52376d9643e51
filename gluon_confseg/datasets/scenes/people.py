"""Persons, riders, bicycles and motorcycles: a rider is a person bent over what is below."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from . import ids
from .canvas import Canvas
from .dice import Dice
from .solids import CIRCLE

SKIN = ((226, 186, 160), (198, 150, 120), (140, 98, 74), (96, 68, 54))
CLOTHES = (
    (40, 44, 54),
    (66, 76, 100),
    (28, 28, 30),
    (120, 116, 110),
    (160, 48, 44),
    (58, 92, 70),
    (196, 190, 178),
    (90, 66, 52),
    (40, 74, 130),
    (208, 172, 60),
)
HAIR = ((40, 30, 26), (86, 60, 40), (168, 134, 84), (120, 116, 112))


class Figure:
    """A flat drawing in metres (a to the right, y up) that stands at (x, z), squeezed where it is seen end-on."""

    def __init__(self, canvas: Canvas, x: float, z: float, squeeze: float, label: int) -> None:
        self.canvas, self.z, self.label = canvas, z, label
        self.scale = canvas.camera.scale(z)
        self.foot = canvas.camera.project(x, 0, z)
        self.squeeze = squeeze

    def at(self, a: float, y: float) -> Tuple[float, float]:
        """Where a point of the drawing is in the picture."""
        return self.foot[0] + a * self.squeeze * self.scale, self.foot[1] - y * self.scale

    def tone(self, color: Sequence[int]) -> Tuple[int, int, int]:
        """The color under the light at that distance."""
        return self.canvas.light.facing(color, 0, self.z)

    def limb(self, start: Tuple[float, float], end: Tuple[float, float], thick: float, color: Sequence[int], label: int = 0) -> None:
        """A stroke of `thick` metres."""
        self.canvas.line(self.at(*start), self.at(*end), thick * self.scale, self.tone(color), label or self.label)

    def shape(self, points: Sequence[Tuple[float, float]], color: Sequence[int], label: Optional[int] = None) -> None:
        """A filled polygon."""
        self.canvas.polygon([self.at(a, y) for a, y in points], self.tone(color), label or self.label)

    def ball(self, a: float, y: float, radius: float, color: Sequence[int]) -> None:
        """A filled circle, round from every side."""
        u, v = self.at(a, y)
        self.canvas.disc(u, v, radius * self.scale, self.tone(color), self.label)

    def shadow(self, half: float) -> None:
        """A patch of dark at the feet, away from the sun."""
        (u, v), lean = self.foot, -self.canvas.light.sun * 0.7 * self.scale
        wide, tall = half * self.scale, 0.09 * self.scale + 1
        self.canvas.darken(
            [(u - wide + min(0, lean), v), (u + wide + max(0, lean), v), (u + wide + lean, v + tall), (u - wide + lean, v + tall)],
            150,
        )


def draw_person(canvas: Canvas, dice: Dice, x: float, z: float) -> None:
    """Somebody who stands or walks."""
    tall, stride = dice.real(0.9, 1.06), dice.real(0.02, 0.34)
    figure = Figure(canvas, x, z, 1.0, ids.PERSON)
    trousers, jacket, skin = dice.vary(dice.pick(CLOTHES), 14), dice.vary(dice.pick(CLOTHES), 14), dice.pick(SKIN)
    figure.shadow(0.25)
    hip, neck = 0.86 * tall, 1.45 * tall
    for side in (-1, 1):
        foot = side * stride
        figure.limb((side * 0.07, hip), (foot * 0.7 + side * 0.05, 0.45), 0.17, trousers)
        figure.limb((foot * 0.7 + side * 0.05, 0.45), (foot + side * 0.04, 0.04), 0.13, trousers)
        figure.limb((foot + side * 0.04, 0.03), (foot + side * 0.04 + 0.1, 0.03), 0.08, (36, 32, 30))
    coat = hip - (dice.real(0.1, 0.4) if dice.chance(0.3) else 0.05)
    figure.shape(((-0.19, coat), (-0.23, neck - 0.06), (-0.1, neck), (0.1, neck), (0.23, neck - 0.06), (0.19, coat)), jacket)
    swing = dice.real(0.02, 0.22)
    for side in (-1, 1):
        figure.limb((side * 0.22, neck - 0.1), (side * (0.26 + swing * 0.4), 1.1 * tall), 0.1, jacket)
        figure.limb((side * (0.26 + swing * 0.4), 1.1 * tall), (side * 0.2 + swing, 0.84 * tall), 0.08, jacket)
    head(figure, dice, 0.0, neck + 0.15, skin)
    if dice.chance(0.25):
        figure.shape(((0.16, 0.55), (0.38, 0.55), (0.36, 0.9), (0.18, 0.9)), dice.pick(CLOTHES))


def head(figure: Figure, dice: Dice, a: float, y: float, skin: Sequence[int], helmet: bool = False) -> None:
    """A face under hair, or in a helmet."""
    figure.ball(a, y, 0.125, skin)
    color = dice.pick(CLOTHES) if helmet else dice.pick(HAIR)
    figure.ball(a - 0.02, y + 0.06, 0.13 if helmet else 0.105, color)


def draw_bicycle(canvas: Canvas, dice: Dice, x: float, z: float, squeeze: float, ridden: bool) -> None:
    """A bicycle, labelled with what is seen through its wheels, as Cityscapes does; `ridden` adds its rider."""
    figure = Figure(canvas, x, z, squeeze, ids.BICYCLE)
    figure.shadow(0.7 * abs(squeeze))
    color = dice.vary(dice.pick(CLOTHES), 20)
    for a in (-0.52, 0.52):
        wheel(figure, a, 0.34, 0.34, 0.05)
    crank, seat, bar = (-0.05, 0.3), (-0.2, 0.88), (0.36, 0.95)
    for start, end in ((crank, seat), (crank, (0.32, 0.8)), (seat, (0.32, 0.8)), (seat, (-0.52, 0.34)), (crank, (-0.52, 0.34))):
        figure.limb(start, end, 0.05, color)
    figure.limb(bar, (0.52, 0.34), 0.05, color)
    figure.limb((-0.32, 0.92), (-0.1, 0.92), 0.07, (30, 28, 28))
    handles(figure, 0.36, 1.0, squeeze)
    if ridden:
        draw_rider(canvas, dice, x, z, squeeze, seat, bar, crank, helmet=dice.chance(0.4))


def wheel(figure: Figure, a: float, y: float, radius: float, thick: float) -> None:
    """A tyre as a ring that shows what is behind; its label is the whole disc."""
    points = [figure.at(a + radius * c, y + radius * s) for c, s in CIRCLE]
    figure.canvas.mark(points, figure.label)
    for start, end in zip(points, points[1:] + points[:1]):
        figure.canvas.line(start, end, thick * figure.scale, figure.tone((34, 34, 36)), figure.label)


def handles(figure: Figure, a: float, y: float, squeeze: float) -> None:
    """The handlebar, wide where the wheels are seen end-on."""
    wide = 0.28 * (1.0 - abs(squeeze))
    u, v = figure.at(a, y)
    half = max(wide, 0.06) * figure.scale
    figure.canvas.line((u - half, v), (u + half, v), 0.05 * figure.scale, figure.tone((40, 40, 42)), figure.label)


def draw_motorcycle(canvas: Canvas, dice: Dice, x: float, z: float, squeeze: float, ridden: bool) -> None:
    """Thick wheels, an engine and a tank; `ridden` adds its rider."""
    figure = Figure(canvas, x, z, squeeze, ids.MOTORCYCLE)
    figure.shadow(0.85 * abs(squeeze))
    color = dice.vary(dice.pick(CLOTHES), 24)
    for a in (-0.66, 0.68):
        figure.shape([(a + 0.31 * c, 0.31 + 0.31 * s) for c, s in CIRCLE], (28, 28, 30))
        figure.shape([(a + 0.15 * c, 0.31 + 0.15 * s) for c, s in CIRCLE], (112, 112, 114))
    figure.shape(((-0.45, 0.3), (0.3, 0.25), (0.42, 0.62), (-0.3, 0.66)), (66, 66, 68))
    figure.shape(((-0.85, 0.78), (-0.1, 0.7), (0.35, 0.74), (0.3, 0.98), (-0.02, 0.96), (-0.2, 0.84), (-0.8, 0.9)), color)
    figure.limb((0.36, 1.02), (0.68, 0.31), 0.09, (92, 92, 94))
    figure.ball(0.5, 0.86, 0.12, (214, 210, 196) if dice.chance(0.5) else color)
    wide = 0.16 * (1.0 - abs(squeeze))
    figure.canvas.polygon(
        [(figure.at(0, 0.3)[0] + s * wide * figure.scale * 1.4, figure.at(0, y)[1]) for s, y in ((-1, 0.1), (1, 0.1), (1, 0.95), (-1, 0.95))],
        figure.tone(color),
        ids.MOTORCYCLE,
    )
    handles(figure, 0.34, 1.06, squeeze)
    if ridden:
        draw_rider(canvas, dice, x, z, squeeze, (-0.25, 0.84), (0.36, 1.04), (0.05, 0.4), helmet=True)


def draw_rider(
    canvas: Canvas,
    dice: Dice,
    x: float,
    z: float,
    squeeze: float,
    seat: Tuple[float, float],
    bar: Tuple[float, float],
    pedal: Tuple[float, float],
    helmet: bool,
) -> None:
    """Somebody who sits, leans forward and holds the bar."""
    figure = Figure(canvas, x, z, squeeze, ids.RIDER)
    trousers, jacket, skin = dice.vary(dice.pick(CLOTHES), 14), dice.vary(dice.pick(CLOTHES), 14), dice.pick(SKIN)
    hip, shoulder = (seat[0] + 0.02, seat[1] + 0.08), (seat[0] + dice.real(0.18, 0.36), seat[1] + 0.56)
    spread = 0.13 * (1.0 - abs(squeeze)) / max(abs(squeeze), 0.2)
    for side, lift in ((-1, 0.0), (1, dice.real(0.0, 0.25))):
        knee = (hip[0] + 0.38 + side * spread, hip[1] - 0.16 + lift * 0.4)
        figure.limb((hip[0] + side * spread * 0.6, hip[1]), knee, 0.17, trousers)
        figure.limb(knee, (pedal[0] + side * spread, pedal[1] - 0.08 + lift), 0.13, trousers)
    wide = 0.2 * (1.0 - 0.5 * abs(squeeze)) / max(abs(squeeze), 0.2)
    figure.shape(
        (
            (hip[0] - wide * 0.8, hip[1] - 0.04),
            (shoulder[0] - wide, shoulder[1]),
            (shoulder[0] + wide * 0.6, shoulder[1] + 0.05),
            (hip[0] + wide * 0.8, hip[1] - 0.02),
        ),
        jacket,
    )
    for side in (-1, 1):
        elbow = ((shoulder[0] + bar[0]) / 2 + side * spread * 2, (shoulder[1] + bar[1]) / 2 - 0.06)
        figure.limb((shoulder[0] + side * spread * 1.5, shoulder[1] - 0.06), elbow, 0.1, jacket)
        figure.limb(elbow, (bar[0] + side * spread, bar[1] + 0.02), 0.08, jacket)
    head(figure, dice, shoulder[0] + 0.08, shoulder[1] + 0.2, skin, helmet)

