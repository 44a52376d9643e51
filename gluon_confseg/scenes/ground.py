"""Sky and ground: road, markings, kerbs, slabs, grass, rails and the shadows that fall on them."""

from __future__ import annotations

import cv2
import numpy as np

from . import ids
from .canvas import Canvas
from .dice import Dice
from .layout import Street


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


def draw_ground(canvas: Canvas, street: Street, dice: Dice) -> None:
    """The street's zones, what lies on them, their grain, then light, shadows and haze."""
    camera, light = canvas.camera, canvas.light
    first = max(0, min(camera.height - 1, int(camera.horizon) + 2))
    rows = np.arange(first, camera.height) + 0.5 - camera.horizon
    z = (camera.focal * camera.eye / rows).astype(np.float32)[:, None]
    columns = (np.arange(camera.width) + 0.5 - camera.center).astype(np.float32)[None, :]
    x = columns * (z / np.float32(camera.focal))

    zones = np.zeros(x.shape, np.uint8)
    for start, _, _ in street.zones[1:-1]:
        zones += x >= start
    for near, far in street.crossings:  # a side street is a zone of its own, the last
        zones[np.broadcast_to((z >= near) & (z < far), zones.shape)] = len(street.zones) - 1
    labels = np.array([zone[2] for zone in street.zones], np.uint8)[zones]
    colors = np.array([zone[1] for zone in street.zones], np.uint8)[zones]
    canvas.labels[first:] = labels

    brightness = np.full(x.shape, light.lit if light.sun else light.lit - 20, np.int32)  # in 256ths
    for z1, z2, front, height in street.shadows:  # of the houses on the side of the sun
        edge = front - light.sun * height * street.slant
        brightness[(x * light.sun > edge * light.sun) & (z >= z1) & (z < z2)] = light.shade
    tint = markings(street, x, z, labels) + grain(dice, x, z, labels)
    fade = (z * 256 / (z + np.float32(light.haze))).astype(np.int32)
    for channel in range(3):
        level = np.clip(tint + colors[:, :, channel], 0, 255).astype(np.int32)
        level = np.minimum((level * brightness) >> 8, 255)
        canvas.image[first:, :, channel] = (level * (256 - fade) + light.sky[channel] * fade) >> 8


def markings(street: Street, x: np.ndarray, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int16, how much lighter or darker: kerbs, joints of slabs, lane lines, zebra crossings, rails, patches."""
    tint, road = np.zeros(x.shape, np.int16), labels == ids.ROAD
    for kerb in street.kerbs:
        tint[np.abs(x - kerb) < 0.09] += 26
        tint[(x - kerb > -0.2) & (x - kerb < -0.09)] -= 14
    near = int(np.searchsorted(-z[:, 0], -22.0))  # no joints are seen beyond
    joint = (x[near:] / street.slab % 1 < 0.05) | (z[near:] / street.slab % 1 < 0.06)
    tint[near:][joint & (labels[near:] == ids.SIDEWALK)] -= 16

    paint = np.zeros(x.shape, bool)
    for line, dash in street.lines:
        stripe = np.abs(x - line) < 0.075
        paint |= stripe & (z % dash < dash * 0.5) if dash else stripe
    for near, far in street.zebras:
        paint &= ~((z >= near - 2) & (z < far + 1))
        paint |= (z >= near) & (z < far) & (x % 1.0 < 0.5)
    tint[paint & road] += street.paint
    for rail in street.rails:
        for side in (-0.72, 0.72):
            tint[np.abs(x - rail - side) < 0.07] -= 44
    for middle, ahead, wide, long, tone in street.patches:
        tint[(np.abs(x - middle) < wide) & (np.abs(z - ahead) < long) & road] += tone
    return tint


def grain(dice: Dice, x: np.ndarray, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int16, noise of the material, fixed to the ground; grass is rougher than asphalt."""
    noise = dice.noise(128, 128).astype(np.int16) - 128
    across = (x * 9 + 1024).astype(np.int32)
    cells = noise[(z * 5).astype(np.int32) & 127, across & 127]
    gain = np.zeros(256, np.int16)
    gain[[ids.ROAD, ids.SIDEWALK, ids.TERRAIN, ids.PARKING, ids.GROUND]] = 8, 8, 26, 8, 8
    smooth = cv2.resize(dice.noise(8, 8), (64, 64), interpolation=cv2.INTER_LINEAR_EXACT)
    smooth = np.concatenate([smooth, smooth[::-1]])  # mirrored, so that it repeats without a seam
    smooth = np.concatenate([smooth, smooth[:, ::-1]], axis=1)
    broad = smooth[(z * 3).astype(np.int32) & 127, (across >> 1) & 127]
    return ((cells * gain[labels]) >> 7) + ((broad.astype(np.int16) - 128) >> 3)
