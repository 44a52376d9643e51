"""Flat drawings that stand upright in the street: people, cycles, poles and what hangs on them."""

from __future__ import annotations

from typing import Sequence

from .canvas import Canvas


class Figure:
    """A flat drawing in metres (a to the right, y up) that stands at (x, z); seen end-on it is squeezed."""

    def __init__(self, canvas: Canvas, x: float, z: float, squeeze: float, label: int) -> None:
        self.canvas, self.z, self.label = canvas, z, label
        self.scale = canvas.camera.scale(z)
        self.foot = canvas.camera.project(x, 0, z)
        self.squeeze = squeeze

    def at(self, a: float, y: float) -> tuple[float, float]:
        """Where a point of the drawing is in the picture."""
        return self.foot[0] + a * self.squeeze * self.scale, self.foot[1] - y * self.scale

    def tone(self, color: Sequence[int]) -> tuple[int, int, int]:
        """The color under the light at that distance."""
        return self.canvas.light.facing(color, 0, self.z)

    def limb(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        thick: float,
        color: Sequence[int],
        label: int = 0,
    ) -> None:
        """A stroke of `thick` metres."""
        self.canvas.line(
            self.at(*start), self.at(*end), thick * self.scale, self.tone(color), label or self.label
        )

    def shape(
        self, points: Sequence[tuple[float, float]], color: Sequence[int], label: int | None = None
    ) -> None:
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
            [
                (u - wide + min(0, lean), v),
                (u + wide + max(0, lean), v),
                (u + wide + lean, v + tall),
                (u - wide + lean, v + tall),
            ],
            150,
        )
