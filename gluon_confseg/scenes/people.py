"""People on foot."""

from __future__ import annotations

from typing import Sequence

from . import ids
from .canvas import Canvas
from .dice import Color, Dice
from .figures import Figure

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
        figure.limb((side * 0.07, hip), (foot * 0.7 + side * 0.05, 0.45), 0.17, trousers)
        figure.limb((foot * 0.7 + side * 0.05, 0.45), (foot + side * 0.04, 0.04), 0.13, trousers)
        figure.limb((foot + side * 0.04, 0.03), (foot + side * 0.04 + 0.1, 0.03), 0.08, (36, 32, 30))
    coat = hip - (dice.real(0.1, 0.4) if dice.chance(0.3) else 0.05)
    figure.shape(
        ((-0.19, coat), (-0.23, neck - 0.06), (-0.1, neck), (0.1, neck), (0.23, neck - 0.06), (0.19, coat)),
        jacket,
    )
    swing = dice.real(0.02, 0.22)
    for side in (-1, 1):
        figure.limb((side * 0.22, neck - 0.1), (side * (0.26 + swing * 0.4), 1.1 * tall), 0.1, jacket)
        figure.limb(
            (side * (0.26 + swing * 0.4), 1.1 * tall), (side * 0.2 + swing, 0.84 * tall), 0.08, jacket
        )
    head(figure, dice, 0.0, neck + 0.15, skin)
    if dice.chance(0.25):
        figure.shape(((0.16, 0.55), (0.38, 0.55), (0.36, 0.9), (0.18, 0.9)), dice.pick(CLOTHES))


def head(figure: Figure, dice: Dice, a: float, y: float, skin: Sequence[int], helmet: bool = False) -> None:
    """A face under hair, or in a helmet."""
    figure.ball(a, y, 0.125, skin)
    color = dice.pick(CLOTHES) if helmet else dice.pick(HAIR)
    figure.ball(a - 0.02, y + 0.06, 0.13 if helmet else 0.105, color)
