"""Poles and what hangs on them: lamps, traffic lights, traffic signs; and bins, which are ignored."""

from __future__ import annotations

from . import ids
from .canvas import Canvas
from .dice import Dice
from .shapes import CIRCLE, Figure, rectangle

STEEL = ((118, 122, 124), (96, 100, 100), (82, 86, 86), (140, 142, 142))
WHITE, RED, BLUE = (238, 238, 234), (196, 28, 34), (32, 78, 172)
YELLOW, BLACK = (240, 192, 40), (40, 40, 44)
SIGNS = {"ban": 3, "warning": 2, "order": 2, "priority": 1.5, "parking": 2, "stop": 1, "place": 1}
SIGN_COLORS = {  # rim, face, and how much of the sign the face is
    "ban": (RED, WHITE, 0.66),
    "warning": (RED, WHITE, 0.62),
    "order": (BLUE, WHITE, 0.3),
    "priority": (WHITE, YELLOW, 0.66),
    "parking": (BLUE, WHITE, 0.34),
    "stop": (RED, RED, 0.3),
}
OUTLINES = {
    "warning": ((-1.1, -0.8), (1.1, -0.8), (0, 1.1)),
    "priority": ((-1, 0), (0, -1), (1, 0), (0, 1)),
    "parking": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
}
LAMPS_ON = ((236, 60, 44), (240, 178, 50), (70, 214, 140))
LAMPS_OFF = ((66, 26, 24), (64, 52, 24), (24, 58, 40))


def post(canvas: Canvas, dice: Dice, x: float, z: float, height: float, thick: float) -> Figure:
    """A pole; what hangs on it is drawn on the figure that is returned."""
    figure = Figure(canvas, x, z, 1.0, ids.POLE)
    figure.shadow(thick)
    figure.limb((0, 0), (0, height), thick, dice.vary(dice.pick(STEEL), 14))
    return figure


def draw_lamp(canvas: Canvas, dice: Dice, x: float, z: float, reach: float) -> None:
    """A street lamp; its arm reaches over the road by `reach` metres."""
    height = dice.real(5.0, 8.5)
    figure = post(canvas, dice, x, z, height, 0.2)
    color = dice.pick(STEEL)
    figure.limb((0, height), (reach, height + 0.25), 0.09, color)
    figure.limb((reach * 0.8, height + 0.2), (reach * 1.15, height + 0.28), 0.16, (176, 178, 176))


def draw_bollard(canvas: Canvas, dice: Dice, x: float, z: float) -> None:
    """A short pole at the kerb."""
    post(canvas, dice, x, z, dice.real(0.8, 1.1), 0.16)


def draw_traffic_light(canvas: Canvas, dice: Dice, x: float, z: float, reach: float) -> None:
    """A light on a pole, and another on an arm over the road where `reach` is not 0."""
    figure = post(canvas, dice, x, z, 3.5 if not reach else 5.8, 0.2)
    state = dice.whole(0, 2)
    signal(figure, dice, 0.0, 2.2, state, 1.15)
    if reach:
        figure.limb((0, 5.7), (reach, 5.8), 0.12, dice.pick(STEEL))
        signal(figure, dice, reach, 4.9, state, 1.35)


def signal(figure: Figure, dice: Dice, a: float, y: float, state: int, size: float) -> None:
    """Three lamps in a dark housing, one of them on; bottom at y."""
    wide, tall, edge = 0.19 * size, 1.0 * size, 0.09 * size
    if dice.chance(0.8):
        rim = rectangle(a - wide - edge, a + wide + edge, y - edge, y + tall + edge)
        figure.shape(rim, (226, 226, 222), ids.TRAFFIC_LIGHT)
    housing = rectangle(a - wide, a + wide, y, y + tall)
    figure.shape(housing, dice.pick(((26, 28, 28), (30, 44, 36), (44, 46, 46))), ids.TRAFFIC_LIGHT)
    for lamp in range(3):
        color = LAMPS_ON[lamp] if lamp == state else LAMPS_OFF[lamp]
        u, v = figure.at(a, y + tall * (5 - 2 * lamp) / 6)
        figure.canvas.disc(u, v, 0.13 * size * figure.scale, color, ids.TRAFFIC_LIGHT)


def draw_sign(canvas: Canvas, dice: Dice, x: float, z: float) -> None:
    """One or two traffic signs on a pole: a place sign, or one of SIGN_COLORS, around the pole's upper end."""
    height = dice.real(2.3, 3.1)
    figure = post(canvas, dice, x, z, height, 0.12)
    radius, kind = dice.real(0.36, 0.52), dice.weighted(SIGNS)
    if kind == "place":  # a wide board with two lines of writing
        half, low = radius * dice.real(1.6, 2.6), height - radius
        board = rectangle(-half, half, low, low + radius * 1.5)
        figure.shape(board, dice.pick((YELLOW, BLUE, WHITE)), ids.TRAFFIC_SIGN)
        for line in (low + radius * 0.4, low + radius * 0.9):
            figure.limb((-half * 0.7, line), (half * 0.5, line), 0.08, BLACK, ids.TRAFFIC_SIGN)
    else:
        outside, inside, inner = SIGN_COLORS[kind]
        outline = [(radius * a, height + radius * b) for a, b in OUTLINES.get(kind, CIRCLE)]
        figure.shape(outline, outside, ids.TRAFFIC_SIGN)
        middle = sum(point[1] for point in outline) / len(outline)
        face = [(a * inner, middle + (y - middle) * inner) for a, y in outline]
        figure.shape(face, inside, ids.TRAFFIC_SIGN)
        if kind in ("stop", "ban"):
            bar, half = WHITE if kind == "stop" else BLACK, radius * 0.42
            figure.limb((-half, height), (half, height), radius * 0.32, bar, ids.TRAFFIC_SIGN)
    if dice.chance(0.3):
        low = height - 0.85 - 0.16
        color = dice.pick(((236, 236, 232), (34, 74, 164), (236, 236, 232)))
        figure.shape(rectangle(-0.3, 0.3, low, low + 0.3), color, ids.TRAFFIC_SIGN)


def draw_bin(canvas: Canvas, dice: Dice, x: float, z: float) -> None:
    """A bin, a box or a hoarding: static or unlabeled, so ignored."""
    figure = Figure(canvas, x, z, 1.0, dice.pick((ids.STATIC, ids.STATIC, ids.UNLABELED, ids.DYNAMIC)))
    half, tall = dice.real(0.25, 0.7), dice.real(0.8, 1.5)
    figure.shadow(half)
    color = dice.vary(dice.pick(STEEL + ((60, 84, 60), (150, 110, 40))), 16)
    figure.shape(rectangle(-half, half, 0, tall), color)
    figure.shape(rectangle(-half, half, tall, tall * 0.88), tuple(c * 3 // 4 for c in color))
