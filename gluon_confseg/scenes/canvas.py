"""The camera, and the picture and label map it fills: everything is drawn into both at once.

Pixels depend on integer drawing of OpenCV (`fillConvexPoly`, `circle`, `line` of one pixel, at whole-pixel
coordinates) and on single float64 operations, which IEEE 754 rounds alike everywhere; not on
`fillPoly`: polygons that reach out of the picture differ between OpenCV 4.5 and 4.11.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterable, Sequence, Tuple

import cv2
import numpy as np

Point = Tuple[float, float]
NEAR = 1.5  # metres; nothing is drawn nearer than this
FAR_PIXEL = 20000


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along +z: x to the right, y up from the ground, z ahead, in metres."""

    width: int
    height: int
    focal: float  # pixels
    center: float  # column of the vanishing point
    horizon: float  # row of the horizon
    eye: float  # metres above the ground

    def project(self, x: float, y: float, z: float) -> Point:
        """Column and row of a point; points nearer than NEAR are taken to lie at NEAR."""
        scale = self.focal / max(z, NEAR)
        return self.center + x * scale, self.horizon + (self.eye - y) * scale

    def scale(self, z: float) -> float:
        """Pixels per metre at distance z."""
        return self.focal / max(z, NEAR)


@dataclass(frozen=True)
class Light:
    """What the hour and the weather do to colors. Factors are in 256ths."""

    sun: int  # -1: from the left, 1: from the right, 0: overcast
    sky: tuple[int, int, int]
    haze: float  # metres at which half of a color is gone
    lit: int
    shade: int

    def facing(self, color: Sequence[int], side: int, z: float) -> tuple[int, int, int]:
        """The color of a surface that faces left (-1), right (1), up (2), or us (0), at distance z."""
        factor, fade = self.factor(side), int(256 * z / (z + self.haze))
        keep, (red, green, blue), sky = 256 - fade, color, self.sky
        return (
            (min(255, red * factor >> 8) * keep + sky[0] * fade) >> 8,
            (min(255, green * factor >> 8) * keep + sky[1] * fade) >> 8,
            (min(255, blue * factor >> 8) * keep + sky[2] * fade) >> 8,
        )

    def factor(self, side: int) -> int:
        """Brightness of a surface by its normal, in 256ths."""
        if side == 2:
            return self.lit + 12
        if side == 0 or self.sun == 0:
            return (self.lit + self.shade) // 2
        return self.lit if side == self.sun else self.shade


class Canvas:
    """image (H, W, 3) uint8 RGB and labels (H, W) uint8 raw ids, drawn from far to near."""

    def __init__(self, camera: Camera, light: Light) -> None:
        self.camera, self.light = camera, light
        self.image = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.labels = np.zeros((camera.height, camera.width), np.uint8)

    def polygon(self, points: Iterable[Point], color: Sequence[int] | None, label: int | None) -> None:
        """Fill a convex polygon given in pixels; None leaves the image or the labels as they are."""
        corners = np.array([[pixel(u), pixel(v)] for u, v in points], np.int32)
        if color is not None:
            cv2.fillConvexPoly(self.image, corners, color)
        if label is not None:
            cv2.fillConvexPoly(self.labels, corners, label)

    def disc(self, u: float, v: float, radius: float, color: Sequence[int], label: int | None) -> None:
        """Fill a circle given in pixels, at least one pixel."""
        place, size = (pixel(u), pixel(v)), max(0, int(radius + 0.5))
        if abs(place[0]) > FAR_PIXEL // 2 or size > FAR_PIXEL // 4:
            return
        cv2.circle(self.image, place, size, color, -1)
        if label is not None:
            cv2.circle(self.labels, place, size, label, -1)

    def line(self, start: Point, end: Point, width: float, color: Sequence[int], label: int | None) -> None:
        """A line of that many pixels, at least one, with round ends where it is wide."""
        # cv2.line rounds thick lines in floating point, not alike on every machine: they are polygons here
        (u1, v1), (u2, v2) = start, end
        if width < 1.5:
            a, b = (pixel(u1), pixel(v1)), (pixel(u2), pixel(v2))
            cv2.line(self.image, a, b, color, 1)
            if label is not None:
                cv2.line(self.labels, a, b, label, 1)
            return
        right, down, half = u2 - u1, v2 - v1, (width - 1) / 2
        length = math.sqrt(right * right + down * down)
        u, v = (-down * half / length, right * half / length) if length > 0 else (half, 0.0)
        self.polygon([(u1 + u, v1 + v), (u2 + u, v2 + v), (u2 - u, v2 - v), (u1 - u, v1 - v)], color, label)
        if width >= 4:
            self.disc(u1, v1, half, color, label)
            self.disc(u2, v2, half, color, label)

    def darken(self, points: Iterable[Point], factor: int) -> None:
        """Multiply the image inside a convex polygon by factor / 256; the labels stay."""
        corners = np.array([[pixel(u), pixel(v)] for u, v in points], np.int32)
        left, top = np.maximum(corners.min(axis=0), 0)
        right, bottom = np.minimum(corners.max(axis=0) + 1, (self.camera.width, self.camera.height))
        if left >= right or top >= bottom:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillConvexPoly(mask, corners - np.array([left, top], np.int32), 1)
        part = self.image[top:bottom, left:right]
        dark = ((part.astype(np.uint16) * factor) >> 8).astype(np.uint8)
        np.copyto(part, dark, where=mask[:, :, None] > 0)


def pixel(value: float) -> int:
    """The pixel at a coordinate, kept within what OpenCV's 32-bit drawing takes."""
    if -FAR_PIXEL < value < FAR_PIXEL:
        return int(value + 0.5)
    return FAR_PIXEL if value > 0 else -FAR_PIXEL
