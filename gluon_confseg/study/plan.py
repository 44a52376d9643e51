"""How a study trains on a data set: crops, scales and epochs, by a rule from the number and the sizes of its images.

**Crop.** 160 x 224 pixels (height x width), upright where most images are higher than wide. A side is no longer than
the images' median side, and then a multiple of 32 all the same: the encoder's features are then whole at every
dilation. **Scale.** The smallest is that at which a crop shows 83 % of an image (of median area), and the largest is
2.2 times as large; but images are never shrunk below half their size or enlarged above 1.3 times, and full size, at
which images are scored, is always in the range. Steps of 0.05. CamVid (480 x 360) gets 0.5 to 1.1, and images of
320 x 213 get 0.8 to 1.3. **Epochs.** As many as give 1,092 updates of 4 images to the first network, 364 to what goes
on from it and 455 to heads, which is what CamVid's 367 images give in 12, 4 and 5 epochs; and at least 8, 3 and 4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets import pictures

SIDE = 32
SHARE, RANGE = 0.83, 2.2
LEAST_SCALE, MOST_SCALE, STEP = 0.5, 1.3, 0.05


class Epochs(NamedTuple):
    """Passes over the training images: of `base`, of arms that train subnet 0, of heads, of a learned fusion."""

    base: int
    subnet0: int
    subnets: int
    fusion: int = 1


class Profile(NamedTuple):
    """What a study takes time for.

    crop      (height, width) where the images allow it
    updates   SGD steps of `base`, of arms from it and of heads, at least
    epochs    the same in epochs, at least
    seeds     those that are trained unless others are named
    tries     learning rates of each arm
    """

    crop: tuple
    updates: tuple
    epochs: tuple
    seeds: tuple
    tries: int
    batch_size: int = 4
    matrix_images: int | None = None


PROFILES = {
    "full": Profile((160, 224), (1092, 364, 455), (8, 3, 4), seeds=(0, 1, 2), tries=3),
    "quick": Profile((96, 128), (1092, 182, 182), (4, 1, 1), seeds=(0,), tries=1, matrix_images=60),
    "smoke": Profile((64, 64), (1, 1, 1), (1, 1, 1), seeds=(0,), tries=1, batch_size=16, matrix_images=4),
}


class Plan(NamedTuple):
    """The settings of training that depend on a profile and a data set."""

    profile: str
    crop: tuple
    scale: tuple
    epochs: Epochs
    batch_size: int
    matrix_images: int | None


def make(profile: str, dataset) -> Plan:
    """The plan of a profile for a training split; only the headers of its images are read."""
    chosen = PROFILES[profile]
    headers = [pictures.peek(path) for path in dataset.image_paths]
    sizes = np.array([(header.height, header.width) for header in headers])
    steps = max(1, len(dataset) // chosen.batch_size)
    epochs = [max(least, math.ceil(updates / steps)) for updates, least in zip(chosen.updates, chosen.epochs)]
    crop = crop_for(sizes, chosen.crop)
    return Plan(
        profile, crop, scale_for(sizes, crop), Epochs(*epochs), chosen.batch_size, chosen.matrix_images
    )


def crop_for(sizes: np.ndarray, crop: tuple) -> tuple:
    """(height, width) of crops for images of these (N, 2) heights and widths; `crop` is that for wide images."""
    height, width = np.median(sizes, axis=0)
    wanted = crop[::-1] if height > width else crop
    return tuple(
        max(SIDE, SIDE * int(min(side, have) // SIDE)) for side, have in zip(wanted, (height, width))
    )


def scale_for(sizes: np.ndarray, crop: tuple) -> tuple:
    """(smallest, largest) random scale of these images, for crops of (height, width)."""
    area = float(np.median(sizes[:, 0] * sizes[:, 1]))
    covering = math.sqrt(crop[0] * crop[1] / (SHARE * area))
    low = min(max(covering, LEAST_SCALE), 1.0)
    high = min(max(RANGE * low, 1.0), MOST_SCALE)
    return tuple(round(STEP * round(value / STEP), 2) for value in (low, high))
