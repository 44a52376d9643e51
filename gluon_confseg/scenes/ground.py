"""Sky and ground: road, markings, kerbs, slabs, grass, rails and the shadows that fall on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from . import ids
from .canvas import Canvas
from .dice import Dice

if TYPE_CHECKING:
    from .layout import Street

ASPHALT = ((92, 94, 98), (104, 104, 106), (82, 84, 90), (110, 110, 110))
SLABS = ((176, 166, 154), (164, 148, 138), (186, 176, 158), (168, 144, 128))
GRASS = ((122, 150, 66), (138, 148, 76), (112, 140, 64), (150, 146, 90))


def draw_sky(canvas: Canvas, dice: Dice) -> None:
    """A gradient with broad clouds down to the horizon."""
    height, width = canvas.labels.shape
    last = min(height, max(1, int(canvas.camera.horizon) + 2))
    broad, fine = (
        cv2.resize(dice.noise(*cells), (width, last), interpolation=cv2.INTER_LINEAR_EXACT)
        for cells in ((5, 9), (14, 20))
    )
    cover = np.clip((fine >> 2) + broad.astype(np.int16) - dice.whole(90, 250), 0, 110)
    rise = np.arange(last) * 256 // last
    for channel, (bottom, drop) in enumerate(zip(canvas.light.sky, (52, 36, 10))):
        blue = (bottom - drop * (256 - rise) // 256).astype(np.int16)[:, None]
        canvas.image[:last, :, channel] = np.clip(blue + ((250 - blue) * cover >> 8), 0, 255)
    canvas.labels[:last] = ids.SKY


class Ground:
    """World coordinates of the rows below the horizon, and the colors laid on them."""

    def __init__(self, canvas: Canvas, street: Street, dice: Dice) -> None:
        camera = canvas.camera
        self.canvas, self.street, self.dice = canvas, street, dice
        self.first = max(0, min(camera.height - 1, int(camera.horizon) + 2))
        rows = np.arange(self.first, camera.height) + 0.5 - camera.horizon
        self.z = (camera.focal * camera.eye / rows).astype(np.float32)[:, None]
        columns = (np.arange(camera.width) + 0.5 - camera.center).astype(np.float32)[None, :]
        self.x = columns * (self.z / np.float32(camera.focal))
        self.tint = np.zeros(self.x.shape, np.int16)

    def draw(self) -> None:
        """Zones, then what lies on them, then grain, then shadows."""
        zones = self.zones()
        labels = np.array([zone[2] for zone in self.street.zones], np.uint8)[zones]
        colors = np.array([zone[1] for zone in self.street.zones], np.uint8)[zones]
        self.kerbs()
        self.slabs(labels)
        self.markings(labels == ids.ROAD)
        self.grain(labels)
        self.canvas.labels[self.first :] = labels
        self.light(colors)

    def light(self, colors: np.ndarray) -> None:
        """Put tint, shadow and haze on the colors, channel by channel, into the picture."""
        light = self.shadows()
        fade = (self.z * 256 / (self.z + np.float32(self.canvas.light.haze))).astype(np.int32)
        for channel in range(3):
            level = np.clip(self.tint + colors[:, :, channel], 0, 255).astype(np.int32)
            level = np.minimum((level * light) >> 8, 255)
            level = (level * (256 - fade) + self.canvas.light.sky[channel] * fade) >> 8
            self.canvas.image[self.first :, :, channel] = level

    def zones(self) -> np.ndarray:
        """Index into street.zones of each pixel; a side street is a zone of its own."""
        zone = np.zeros(self.x.shape, np.uint8)
        for start, _, _ in self.street.zones[1:-1]:
            zone += self.x >= start
        for near, far in self.street.crossings:
            zone[np.broadcast_to((self.z >= near) & (self.z < far), zone.shape)] = len(self.street.zones) - 1
        return zone

    def kerbs(self) -> None:
        """Light stones along both edges of the road."""
        for kerb in self.street.kerbs:
            stone = np.abs(self.x - kerb) < 0.09
            self.tint[stone] += 26
            self.tint[(self.x - kerb > -0.2) & (self.x - kerb < -0.09)] -= 14

    def slabs(self, labels: np.ndarray) -> None:
        """Joints between the slabs of the sidewalk, as far as they can be seen."""
        near = int(np.searchsorted(-self.z[:, 0], -22.0))
        size = self.street.slab
        x, z = self.x[near:], self.z[near:]
        joint = (x / size % 1 < 0.05) | (z / size % 1 < 0.06)
        self.tint[near:][joint & (labels[near:] == ids.SIDEWALK)] -= 16

    def markings(self, road: np.ndarray) -> None:
        """Lane lines, stop lines, zebra crossings, rails and patches."""
        paint = np.zeros(self.x.shape, bool)
        for line, dash in self.street.lines:
            stripe = np.abs(self.x - line) < 0.075
            paint |= stripe & (self.z % dash < dash * 0.5) if dash else stripe
        for near, far in self.street.zebras:
            paint &= ~((self.z >= near - 2) & (self.z < far + 1))
            paint |= (self.z >= near) & (self.z < far) & (self.x % 1.0 < 0.5)
        self.tint[paint & road] += self.street.paint
        for rail in self.street.rails:
            for side in (-0.72, 0.72):
                self.tint[np.abs(self.x - rail - side) < 0.07] -= 44
        for x, z, wide, long, tone in self.street.patches:
            spot = (np.abs(self.x - x) < wide) & (np.abs(self.z - z) < long)
            self.tint[spot & road] += tone

    def grain(self, labels: np.ndarray) -> None:
        """Noise of the material, fixed to the ground; grass is rougher than asphalt."""
        noise = self.dice.noise(128, 128).astype(np.int16) - 128
        x = (self.x * 9 + 1024).astype(np.int32)
        cells = noise[(self.z * 5).astype(np.int32) & 127, x & 127]
        gain = np.zeros(256, np.int16)
        gain[[ids.ROAD, ids.SIDEWALK, ids.TERRAIN, ids.PARKING, ids.GROUND]] = 8, 8, 26, 8, 8
        self.tint += (cells * gain[labels]) >> 7
        smooth = cv2.resize(self.dice.noise(8, 8), (64, 64), interpolation=cv2.INTER_LINEAR_EXACT)
        smooth = np.concatenate([smooth, smooth[::-1]])  # mirrored, so that it repeats without a seam
        smooth = np.concatenate([smooth, smooth[:, ::-1]], axis=1)
        broad = smooth[(self.z * 3).astype(np.int32) & 127, (x >> 1) & 127]
        self.tint += (broad.astype(np.int16) - 128) >> 3

    def shadows(self) -> np.ndarray:
        """Brightness in 256ths: the houses on the side of the sun throw theirs across the street."""
        light = np.full(self.x.shape, self.canvas.light.lit, np.int32)
        sun = self.canvas.light.sun
        if not sun:
            return light - 20
        for z1, z2, x, height in self.street.shadows:
            edge = x - sun * height * self.street.slant
            shaded = (self.x * sun > edge * sun) & (self.z >= z1) & (self.z < z2)
            light[shaded] = self.canvas.light.shade
        return light
