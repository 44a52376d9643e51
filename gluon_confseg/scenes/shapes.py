"""What things are made of: flat drawings that stand upright, and prisms in perspective."""

from __future__ import annotations

from typing import Sequence

from .canvas import NEAR, Canvas, Point
from .materials import GLASS


class Figure:
    """A flat drawing in metres (a to the right, y up) that stands at (x, z); seen end-on it is squeezed."""

    def __init__(self, canvas: Canvas, x: float, z: float, squeeze: float, label: int) -> None:
        self.canvas, self.z, self.label = canvas, z, label
        self.scale = canvas.camera.scale(z)
        self.foot = canvas.camera.project(x, 0, z)
        self.squeeze = squeeze

    def at(self, a: float, y: float) -> Point:
        """Where a point of the drawing is in the picture."""
        return self.foot[0] + a * self.squeeze * self.scale, self.foot[1] - y * self.scale

    def tone(self, color: Sequence[int]) -> tuple[int, int, int]:
        """The color under the light at that distance."""
        return self.canvas.light.facing(color, 0, self.z)

    def limb(
        self, start: Point, end: Point, thick: float, color: Sequence[int], label: int | None = None
    ) -> None:
        """A stroke of `thick` metres."""
        ends = self.at(*start), self.at(*end)
        self.canvas.line(*ends, thick * self.scale, self.tone(color), label or self.label)

    def shape(self, points: Sequence[Point], color: Sequence[int], label: int | None = None) -> None:
        """A filled polygon."""
        self.canvas.polygon([self.at(a, y) for a, y in points], self.tone(color), label or self.label)

    def ball(self, a: float, y: float, radius: float, color: Sequence[int]) -> None:
        """A filled circle, round from every side."""
        u, v = self.at(a, y)
        self.canvas.disc(u, v, radius * self.scale, self.tone(color), self.label)

    def shadow(self, half: float) -> None:
        """A patch of dark at the feet, away from the sun."""
        (u, v), lean = self.foot, -self.canvas.light.sun * 0.7 * self.scale
        left, right, tall = u - half * self.scale, u + half * self.scale, 0.09 * self.scale + 1
        behind = [(left + min(0, lean), v), (right + max(0, lean), v)]
        self.canvas.darken([*behind, (right + lean, v + tall), (left + lean, v + tall)], 150)


class Body:
    """A frame on the ground at (x, z): a runs forward, w to the right, y up; heading is (cos, sin).

    heading (1, 0) drives away from the camera, (-1, 0) towards it, (0, 1) to the right.
    """

    def __init__(self, canvas: Canvas, x: float, z: float, heading: Point, label: int | None) -> None:
        self.canvas, self.x, self.z, self.label = canvas, x, z, label
        self.forward = heading

    def at(self, a: float, w: float, y: float) -> Point:
        """Where a point of the body is in the picture."""
        along, aside = self.forward
        return self.canvas.camera.project(self.x + aside * a + along * w, y, self.z + along * a - aside * w)

    def sees_side(self, w: float) -> bool:
        """Whether the side at w (left is negative) faces the camera."""
        along, aside = self.forward
        return (along * self.x - aside * self.z + w) * w < 0

    def normal(self, along: float, aside: float) -> int:
        """Which way a face looks in the world: -1 left, 1 right, 0 to the camera or away."""
        x = self.forward[1] * along + self.forward[0] * aside
        return 0 if -0.7 < x < 0.7 else (1 if x > 0 else -1)

    def side(self, outline: Sequence[Point], w: float, color: Sequence[int]) -> None:
        """Fill a polygon of (a, y) on the side at w, where that is seen."""
        if self.sees_side(w):
            tone = self.canvas.light.facing(color, self.normal(0, 1 if w > 0 else -1), self.z)
            self.canvas.polygon([self.at(a, w, y) for a, y in outline], tone, self.label)

    def end(self, outline: Sequence[Point], a: float, color: Sequence[int]) -> None:
        """Fill a polygon of (w, y) on the end at a (the front is positive), where that is seen."""
        along, aside = self.forward
        if (aside * self.x + along * self.z + a) * a < 0:
            tone = self.canvas.light.facing(color, self.normal(1 if a > 0 else -1, 0), self.z)
            self.canvas.polygon([self.at(a, w, y) for w, y in outline], tone, self.label)

    def sweep(
        self, profile: Sequence[tuple[float, float, float]], color: Sequence[int], glass: Sequence[int] = ()
    ) -> None:
        """Draw the faces seen of a prism whose profile is (a, y, half width), clockwise from the rear bottom.

        `glass` holds the indices of the faces that are windows.
        """
        for index in range(len(profile)):
            (a1, y1, w1), (a2, y2, w2) = profile[index], profile[(index + 1) % len(profile)]
            quad = [self.at(a1, -w1, y1), self.at(a1, w1, y1), self.at(a2, w2, y2), self.at(a2, -w2, y2)]
            if area(quad) < 0:
                steep = abs(y2 - y1) > abs(a2 - a1)
                side = self.normal(-1 if y2 > y1 else 1, 0) if steep else 2
                tone = self.canvas.light.facing(GLASS if index in glass else color, side, self.z)
                self.canvas.polygon(quad, tone, self.label)
        for sign in (-1, 1):
            if self.sees_side(sign * max(w for _, _, w in profile)):
                tone = self.canvas.light.facing(color, self.normal(0, sign), self.z)
                self.canvas.polygon([self.at(a, sign * w, y) for a, y, w in profile], tone, self.label)

    def shadow(self, length: float, width: float, factor: int) -> None:
        """Darken the ground under and beside the body."""
        if self.z - length / 2 < NEAR:
            return
        lean = -0.5 * self.canvas.light.sun * self.forward[0]
        half = length / 2 + 0.15
        left, right = -width / 2 - 0.12 + min(0, lean), width / 2 + 0.12 + max(0, lean)
        corners = ((-half, left), (-half, right), (half, right), (half, left))
        self.canvas.darken([self.at(a, w, 0) for a, w in corners], factor)


def area(points: list[Point]) -> float:
    """Twice the signed area: positive where the points run clockwise on the screen (rows grow downwards)."""
    total = 0.0
    for (u1, v1), (u2, v2) in zip(points, points[1:] + points[:1]):
        total += u1 * v2 - u2 * v1
    return total


def rectangle(left: float, right: float, low: float, high: float) -> list[Point]:
    """The corners of a rectangle."""
    return [(left, low), (right, low), (right, high), (left, high)]


CIRCLE = (
    (1.0, 0.0),
    (0.866, 0.5),
    (0.5, 0.866),
    (0.0, 1.0),
    (-0.5, 0.866),
    (-0.866, 0.5),
    (-1.0, 0.0),
    (-0.866, -0.5),
    (-0.5, -0.866),
    (0.0, -1.0),
    (0.5, -0.866),
    (0.866, -0.5),
)
