"""Training transforms: scale, crop, flip, mean subtraction, the same geometry for image and mask: Section 4.

Each draw is a pure function of (seed, epoch, index), so neither workers nor a resumed run can change it.
OpenCV's thread pool is one per process and belongs to the program, not to this module: with several workers,
`cv2.setNumThreads(1)` in the program avoids threads times threads. The results are the same either way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from gluon_confseg.errors import RunError
from gluon_confseg.labels import IGNORE

# ImageNet, RGB, shares of 255: what GluonCV's encoders were trained with
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

SAMPLES, ORDER = 0, 1  # purposes: no stream is drawn from twice


def rng(seed: int, epoch: int, index: int, purpose: int = SAMPLES) -> np.random.Generator:
    """The random numbers of one sample in one epoch.

    Philox is a keyed counter: the seed is the key, and (index, epoch, purpose) the upper three quarters of the
    counter, so streams never overlap. Draw with `.random()` only: NumPy may change its other distributions.
    """
    for name, value in (("seed", seed), ("epoch", epoch), ("index", index)):
        if not 0 <= value < 2**63:
            raise RunError(f"The {name} is {value}; choose one from 0 to 2^63 - 1.")
    counter = np.array([0, index, epoch, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=int(seed), counter=counter))


def normalize(
    image: np.ndarray,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (3, H, W) float32, (value / 255 - mean) / std; written to `out` where given."""
    if out is None:
        out = np.empty((3,) + image.shape[:2], np.float32)
    for channel in range(3):
        factor = np.float32(1 / (255 * std[channel]))
        np.multiply(image[:, :, channel], factor, out=out[channel], dtype=np.float32)
        out[channel] -= np.float32(mean[channel] / std[channel])
    return out


@dataclasses.dataclass(frozen=True)
class Augment:
    """Scale, then crop, then flip, then normalise.

    crop        (height, width) of the result; None keeps each image's own (scaled) size
    scale       smallest and largest factor, drawn evenly
    flip        mirror every other sample, left to right
    mean, std   as in `normalize`

    What lies right of or below a scaled image that is smaller than the crop is the mean colour (0 after
    normalisation) and 255 in the mask. Every sample draws four numbers - scale, top, left, flip - whatever is
    switched on, so that switching one off leaves the others.
    """

    crop: tuple[int, int] | None
    scale: tuple[float, float] = (0.7, 1.3)
    flip: bool = True
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, draws: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """image (H, W, 3) uint8, mask (H, W) uint8, draws = rng(seed, epoch, index)

        returns (3, h, w) float32 and (h, w) uint8
        """
        scale, top, left, flip = (float(draws.random()) for _ in range(4))
        image, mask = resize(image, mask, self.scale[0] + scale * (self.scale[1] - self.scale[0]))
        height, width = self.crop or mask.shape
        rows = _window(top, mask.shape[0], height)
        columns = _window(left, mask.shape[1], width)
        image, mask = image[rows, columns], mask[rows, columns]
        return self._place(image, mask, (height, width), mirrored=self.flip and flip < 0.5)

    def _place(self, image, mask, size: tuple[int, int], mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
        """The window at the top left of an empty result of `size`, normalised and, where asked, mirrored as a whole."""
        images, masks = np.zeros((3, *size), np.float32), np.full(size, IGNORE, np.uint8)
        height, width = mask.shape
        columns = slice(0, width)
        if mirrored:
            image, mask = image[:, ::-1], mask[:, ::-1]
            columns = slice(size[1] - width, size[1])
        normalize(image, self.mean, self.std, out=images[:, :height, columns])
        masks[:height, columns] = mask
        return images, masks


def resize(image: np.ndarray, mask: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Image by bilinear interpolation, mask by nearest neighbour, pixel centres at the same places in both."""
    height, width = (max(1, round(side * factor)) for side in mask.shape)
    if (height, width) == mask.shape:
        return image, mask
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    # plain INTER_NEAREST takes the upper left corner of a pixel for its centre: up to half a pixel beside the image
    return image, cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _window(draw: float, have: int, want: int) -> slice:
    """`want` of `have` pixels at a drawn place; all of them where there are fewer."""
    start = int(draw * (max(0, have - want) + 1))
    return slice(start, start + min(have, want))
