"""Puts a street together: plans what stands where, and draws it from far to near."""

from __future__ import annotations

from typing import Callable

import numpy as np

from . import buildings, lens, planning, plants
from .canvas import Canvas
from .dice import Dice
from .ground import draw_ground, draw_sky
from .layout import choose_camera, choose_light, choose_street

VERSION = 4  # raise it with any change of the pixels: sets drawn before are then drawn anew


def scene(seed: int, index: int, width: int = 512, height: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw scene `index` of the series `seed` (integers >= 0).

    Returns image (height, width, 3) uint8 RGB and labels (height, width) uint8, raw Cityscapes ids. A pure
    function of its arguments, on any machine: random numbers are PCG64's raw stream, whose bytes NumPy
    guarantees; floating point is single + - * /, square roots and floor, which IEEE 754 rounds alike
    everywhere; OpenCV only fills and draws at whole pixels, resizes by INTER_NEAREST or INTER_LINEAR_EXACT,
    and looks up tables, all in integers.
    """
    return Scene(seed, index, width, height).draw()


class Scene:
    """One street with its camera and its light, and the list of what is to be drawn."""

    def __init__(self, seed: int, index: int, width: int, height: int) -> None:
        self.dice, self.index = Dice(seed, index), index
        self.canvas = Canvas(choose_camera(self.dice, width, height), choose_light(self.dice))
        self.street = choose_street(self.dice, tram=self.turn(planning.TRAM))
        self.green = self.dice.vary(self.dice.pick(plants.LEAVES), 10)
        self.things: list[tuple[int, float, Callable[[], None]]] = []
        self.taken: list[tuple[float, float, float]] = []

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Plan, draw, and look through the lens."""
        canvas, dice, end = self.canvas, self.dice, self.street.end
        for side in self.street.sides:
            planning.plan_side(self, side)
        planning.plan_traffic(self)
        draw_sky(canvas, dice)
        # what closes the view: houses or trees across, before a line of green
        green = dice.vary(self.green, 8)
        plants.draw_thicket(canvas, dice, -260.0, 260.0, 190.0, dice.real(7, 16), green)
        x = -38.0 if dice.chance(0.75) else 38.0
        while x < 38:
            wide = dice.real(12, 26)
            buildings.draw_end(canvas, dice, x, x + wide, end + dice.real(4, 20), dice.real(9, 24))
            x += wide + (dice.real(2, 10) if dice.chance(0.3) else 0)
        if dice.chance(0.6):
            plants.draw_thicket(canvas, dice, -40.0, 40.0, end + 3, dice.real(3, 8), self.green)
        draw_ground(canvas, self.street, dice)
        for _, _, paint in sorted(self.things, key=lambda thing: (thing[0], -thing[1])):
            paint()
        lens.draw_hood(canvas, dice)
        return lens.expose(canvas, dice), canvas.labels

    def add(self, layer: int, z: float, draw: Callable, *values: object) -> None:
        """Remember to call draw(canvas, *values): layers in order, within each the farthest first."""
        self.things.append((layer, z, lambda: draw(self.canvas, *values)))

    def turn(self, turns: tuple[int, int]) -> bool:
        """Whether it is this scene's turn. turns = (period, offset).

        Rare things come by turns, not by chance, so that a few dozen scenes hold all classes.
        """
        return self.index % turns[0] == turns[1]

    def clear(self, z: float) -> bool:
        """Whether no side street is at z."""
        return all(not near - 1 <= z <= far + 1 for near, far in self.street.crossings)
