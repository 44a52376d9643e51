"""Textured planes in perspective: fronts along the street, and fronts that face the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import ids
from .canvas import NEAR, Canvas


@dataclass(frozen=True)
class Skin:
    """What a plane looks like: texture (h, w, 3) uint8, row 0 lowest, and what it is."""

    texture: np.ndarray
    density: float  # pixels of the texture per metre
    label: int
    mask: np.ndarray | None = None  # (h, w): where it can't be seen through
    base: float = 0.0  # metres above the ground


def seen_from(canvas: Canvas, x: float, z: float) -> float:
    """From where on a plane along the street that begins at z is within the picture."""
    room = canvas.camera.width - canvas.camera.center if x > 0 else canvas.camera.center
    return max(z, NEAR, canvas.camera.focal * abs(x) / max(room, 1.0) - 0.5)


def density_for(canvas: Canvas, z: float) -> float:
    """Texture pixels per metre that suit the distance, so that far textures do not shimmer."""
    return min(canvas.camera.scale(max(z, 9.0)), 26.0 * canvas.camera.width / 512) * 0.8


def along_street(canvas: Canvas, x: float, z1: float, z2: float, skin: Skin) -> None:
    """Draw a vertical plane at x from z1 to z2 metres."""
    camera, z1 = canvas.camera, max(z1, NEAR)
    ends = sorted((camera.project(x, 0, z1)[0], camera.project(x, 0, z2)[0]))
    left, right = max(0, int(ends[0] // 1)), min(camera.width, int(ends[1] // 1) + 1)
    if x == 0 or left >= right:
        return
    columns = np.arange(left, right)
    depth = camera.focal * x / (columns + 0.5 - camera.center)
    keep = (depth >= z1) & (depth < z2)
    if keep.any():
        columns, depth = columns[keep], depth[keep]
        across = np.minimum(((depth - z1) * skin.density).astype(np.int32), skin.texture.shape[1] - 1)
        paint(canvas, int(columns[0]), depth, across, skin, -1 if x > 0 else 1)


def facing_us(canvas: Canvas, x1: float, x2: float, z: float, skin: Skin) -> None:
    """Draw a vertical plane at z from x1 to x2 metres."""
    camera = canvas.camera
    left = max(0, int(camera.project(x1, 0, z)[0] // 1))
    right = min(camera.width, int(camera.project(x2, 0, z)[0] // 1) + 1)
    if z < NEAR or left >= right:
        return
    depth = np.full(right - left, float(z))
    place = (np.arange(left, right) + 0.5 - camera.center) * (z / camera.focal) - x1
    across = np.clip((place * skin.density).astype(np.int32), 0, skin.texture.shape[1] - 1)
    paint(canvas, left, depth, across, skin, 0)


def paint(canvas: Canvas, left: int, depth: np.ndarray, across: np.ndarray, skin: Skin, side: int) -> None:
    """Fill columns from `left` on, of these depths and texture columns, where the plane is seen."""
    camera, light, right = canvas.camera, canvas.light, left + depth.size
    near, far, tall = float(depth.min()), float(depth.max()), skin.texture.shape[0]
    below, above = camera.eye - skin.base, camera.eye - (skin.base + tall / skin.density)
    first = max(0, int(min(camera.horizon + above * camera.focal / z for z in (near, far))))
    last = min(camera.height, int(max(camera.horizon + below * camera.focal / z for z in (near, far))) + 1)
    if first >= last:
        return
    rows = ((camera.horizon - 0.5 - np.arange(first, last)) * skin.density).astype(np.float32)[:, None]
    up = rows * (depth / camera.focal).astype(np.float32)[None, :]
    up += np.float32((camera.eye - skin.base) * skin.density)
    inside = (up >= 0) & (up < tall)
    index = np.minimum(np.maximum(up, 0), tall - 1).astype(np.int32)
    seen = inside if skin.mask is None else inside & skin.mask[index, across[None, :]]
    # Cityscapes labels a fence together with what is seen through it
    canvas.labels[first:last, left:right][inside if skin.label == ids.FENCE else seen] = skin.label

    middle = (near + far) / 2
    fade = int(256 * middle / (middle + light.haze))
    lit = np.minimum(255, (np.arange(256) * light.factor(side)) >> 8)
    table = (lit[:, None] * (256 - fade) + np.asarray(light.sky) * fade) >> 8
    faded = cv2.LUT(skin.texture, table.astype(np.uint8)[None])
    colors = faded.reshape(-1, 3).take(index * faded.shape[1] + across[None, :], axis=0)
    np.copyto(canvas.image[first:last, left:right], colors, where=seen[:, :, None])
