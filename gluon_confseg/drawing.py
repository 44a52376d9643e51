"""Pictures of what a network says of a picture: class ids, colours, and where classes are confused.

Each function draws the rows of a slice, so that a large picture never needs to be drawn as a whole.
"""

from __future__ import annotations

import cv2
import numpy as np

from gluon_confseg.labels import IGNORE, LabelSpace
from gluon_confseg.segmenter import Planes

OPACITY = 0.6  # of the colours over the picture
_STRIPE, _DIMMED = 6, 0.4  # pixels of a stripe of a confusion map; how bright the gray picture under it is


def _ids(pixels, planes: Planes, labels: LabelSpace, rows: slice) -> np.ndarray:
    return planes.classes[rows]


def _raw(pixels, planes: Planes, labels: LabelSpace, rows: slice) -> np.ndarray:
    return labels.to_stored(planes.classes[rows])


def _colours(pixels, planes: Planes, labels: LabelSpace, rows: slice) -> np.ndarray:
    return labels.colorize(planes.classes[rows])


def overlay(pixels, planes: Planes, labels: LabelSpace, rows: slice) -> np.ndarray:
    """The classes' colours over the picture."""
    return cv2.addWeighted(pixels[rows], 1 - OPACITY, labels.colorize(planes.classes[rows]), OPACITY, 0)


def _panels(pixels, planes: Planes, labels: LabelSpace, rows: slice) -> np.ndarray:
    return np.concatenate([pixels[rows], labels.colorize(planes.classes[rows])], axis=1)


def confusion(pixels, planes: Planes, labels: LabelSpace, rows: slice) -> np.ndarray:
    """The picture in dark gray; where two classes are confused, stripes of the colours of both."""
    gray = cv2.cvtColor(np.ascontiguousarray(pixels[rows]), cv2.COLOR_RGB2GRAY)
    drawn = np.repeat((gray * np.float32(_DIMMED)).astype(np.uint8)[:, :, None], 3, axis=2)
    rivals = planes.rivals[rows]
    height, width = rivals.shape
    stripes = np.add.outer(np.arange(rows.start, rows.start + height), np.arange(width)) // _STRIPE % 2
    shown = np.where(stripes == 0, planes.classes[rows], rivals)
    close = rivals != IGNORE
    drawn[close] = labels.colorize(shown)[close]
    return drawn


# kind -> (what draws some rows of it, channels, how many times as wide as the picture)
DRAWN = {
    "ids": (_ids, 1, 1),
    "raw": (_raw, 1, 1),
    "colours": (_colours, 3, 1),
    "overlay": (overlay, 3, 1),
    "panels": (_panels, 3, 2),
    "confusion": (confusion, 3, 1),
}
