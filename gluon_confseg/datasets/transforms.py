"""Training transforms: scale, crop, flip, colours, the same geometry for image and mask: Section 4.

Each draw is a pure function of (seed, epoch, index), so neither workers nor a resumed run can change it.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg.datasets.colour import MEAN, MEAN_ONLY, STD, Jitter, normalize
from gluon_confseg.errors import RunError
from gluon_confseg.labels import IGNORE

__all__ = ["MEAN", "MEAN_ONLY", "STD", "Augment", "Jitter", "Place", "normalize", "resize", "rng"]

SAMPLES, ORDER = 0, 1  # purposes: no stream is drawn from twice
CHOICES = 10  # places of a crop that are tried for one with enough classes
MEETING = 0.01  # share of a crop that each of two classes of a group must have for these to meet in it
LOOKED_AT = (
    64  # a mask is searched for classes that meet at every n-th pixel, so many or more in each direction
)


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


class Place(NamedTuple):
    """Where a crop comes from, and what it becomes.

    rows, columns   the window of the picture that is read
    size            (height, width) that the window is resized to
    mirrored        left to right
    colours         four numbers from 0 to 1, for Jitter
    """

    rows: slice
    columns: slice
    size: tuple[int, int]
    mirrored: bool
    colours: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Augment:
    """Scale and crop at once, then flip, then vary the colours, then normalise.

    crop        (height, width) of the result; None keeps each image's own (scaled) size
    scale       smallest and largest factor, drawn evenly
    flip        mirror every other sample, left to right
    mean, std   as in `normalize`; `std=MEAN_ONLY` subtracts the mean and leaves values on their scale of 0..255
    max_share   1, or the largest share that one class may have of a crop's labelled pixels: up to CHOICES places are
                tried, and the one with the smallest such share is taken where none is below it
    groups      tuples of classes, such as confusing groups, of which two should meet in a crop: each of the two has
                MEETING of its pixels or more, as far as every n-th pixel of the image shows (`thinned`). The group is
                drawn for each sample, among those of which the image has two classes. Of up to CHOICES places the first
                is taken where they meet (and which has `max_share`), or else that where the group's second largest
                class has most pixels
    jitter      None, or how far brightness, contrast, saturation and hue are varied

    A crop of h x w at factor f is a window of round(h / f) x round(w / f) pixels, resized to h x w. So only the
    window is ever read, and a crop is the same whether it comes from a decoded file or from a pack.
    What lies right of or below an image that is smaller than its window is the mean colour (0 after normalisation) and
    255 in the mask. Every sample draws eight numbers - scale, top, left, flip, four colours - whatever is switched on,
    so that switching one off leaves the others; the draw of the group and further places come after these.
    """

    crop: tuple[int, int] | None
    scale: tuple[float, float] = (0.7, 1.3)
    flip: bool = True
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    max_share: float = 1.0
    groups: tuple = ()
    jitter: Jitter | None = None

    def __post_init__(self):
        if self.crop is not None and min(self.crop) < 1:
            raise RunError(
                f"A crop of {self.crop} pixels can't be cut; choose a height and width of 1 or more."
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise RunError(
                f"The scale range {self.scale} can't be drawn from; give its smaller factor first, above 0."
            )
        if not 0 < self.max_share <= 1:
            raise RunError(
                f"One class can't have at most {self.max_share} of a crop; choose a share above 0, up to 1."
            )
        for group in self.groups:
            if len(set(group)) < 2 or not 0 <= min(group) <= max(group) < IGNORE:
                raise RunError(
                    f"The classes {tuple(group)} can't meet in a crop; give two or more, from 0 to {IGNORE - 1}."
                )

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, draws: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """image (H, W, 3) uint8, mask (H, W) uint8, draws = rng(seed, epoch, index)

        returns (3, h, w) float32 and (h, w) uint8
        """
        place = self.place(mask, draws)
        size = self.size(place)
        return self.write(image, mask, place, np.empty((3, *size), np.float32), np.empty(size, np.uint8))

    def place(self, mask: np.ndarray, draws: np.random.Generator) -> Place:
        """Draw where the crop of a (H, W) mask and its image lies; `draws` as in a call."""
        scale, top, left, flip, *colours = (float(number) for number in draws.random(8))
        factor = self.scale[0] + scale * (self.scale[1] - self.scale[0])
        mirrored = self.flip and flip < 0.5
        if self.crop is None:
            rows, columns = (slice(0, side) for side in mask.shape)
            return Place(rows, columns, _scaled(mask.shape, factor), mirrored, tuple(colours))
        wanted = [max(1, round(side / factor)) for side in self.crop]
        rows, columns = self._window(mask, wanted, (top, left), draws)
        read = (rows.stop - rows.start, columns.stop - columns.start)
        size = tuple(
            side if have == want else max(1, min(side, round(have * side / want)))
            for side, have, want in zip(self.crop, read, wanted)
        )
        return Place(rows, columns, size, mirrored, tuple(colours))

    def _window(self, mask, wanted, first: tuple[float, float], draws) -> tuple[slice, slice]:
        """The first drawn window in which no class has more than `max_share`, or else the best of CHOICES.

        With `groups`, two classes of the sample's group must meet in it too.
        """
        looked_at, steps = thinned(mask) if self.groups else (mask, (1, 1))
        group = self._group(looked_at, draws)
        everything = wanted[0] >= mask.shape[0] and wanted[1] >= mask.shape[1]
        best, least = None, (2.0, 2.0)
        for choice in range(CHOICES):
            place = draws.random(2) if choice else first
            rows, columns = (_span(draw, *sides) for draw, *sides in zip(place, mask.shape, wanted))
            lacking = 0.0
            if group:
                seen = looked_at[_thinned(rows, steps[0]), _thinned(columns, steps[1])]
                lacking = max(0.0, MEETING - second_share(seen, group))
            share = largest_share(mask[rows, columns]) if self.max_share < 1 else 0.0
            if (lacking, share) < least:
                best, least = (rows, columns), (lacking, share)
            if everything or (not lacking and share <= self.max_share):
                return rows, columns
        return best

    def _group(self, mask, draws) -> tuple:
        """The classes of a group of which the image has two or more, drawn among such groups; () without one."""
        if not self.groups:
            return ()
        draw, content = float(draws.random()), mask.tobytes()
        found = [group for group in self.groups if sum(k in content for k in group) > 1]
        return found[int(draw * len(found))] if found else ()

    def size(self, place: Place) -> tuple[int, int]:
        """(height, width) of the result."""
        return place.size if self.crop is None else self.crop

    def write(
        self, image: np.ndarray, mask: np.ndarray, place: Place, images: np.ndarray, masks: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Write the crop at `place` to images (3, h, w) float32 and masks (h, w) uint8; returns the two."""
        image, mask = _resized(image[place.rows, place.columns], mask[place.rows, place.columns], place.size)
        if place.mirrored:
            image, mask = cv2.flip(image, 1), cv2.flip(mask, 1)
        if self.jitter is not None:
            image = self.jitter(image, place.colours)
        height, width = place.size
        if masks.shape != place.size:
            images.fill(0)
            masks.fill(IGNORE)
        # mirrored as a whole, so that what is outside is then on the left
        columns = slice(masks.shape[1] - width, None) if place.mirrored else slice(0, width)
        normalize(image, self.mean, self.std, out=images[:, :height, columns])
        masks[:height, columns] = mask
        return images, masks


def resize(image: np.ndarray, mask: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Image by bilinear interpolation, mask by nearest neighbour, pixel centres at the same places in both."""
    return _resized(image, mask, _scaled(mask.shape, factor))


def largest_share(mask: np.ndarray) -> float:
    """The largest share that one class has of a mask's labelled pixels; 1 where none is labelled."""
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()[:IGNORE]
    labelled = counts.sum()
    return float(counts.max() / labelled) if labelled else 1.0


def second_share(mask: np.ndarray, classes: tuple) -> float:
    """The share of a mask's pixels that the second largest of these classes has."""
    # several times faster than a histogram for the few pixels of a thinned mask
    content = np.ascontiguousarray(mask).tobytes()
    return sorted(content.count(k) for k in classes)[-2] / mask.size


def thinned(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """(every n-th row and m-th column of a mask, (n, m)), so that LOOKED_AT or more are left in each direction."""
    steps = tuple(max(1, side // LOOKED_AT) for side in mask.shape)
    return np.ascontiguousarray(mask[:: steps[0], :: steps[1]]), steps


def _thinned(span: slice, step: int) -> slice:
    """The thinned rows or columns of a window; one or more."""
    start = span.start // step
    return slice(start, max(start + 1, span.stop // step))


def _scaled(shape: tuple[int, ...], factor: float) -> tuple[int, int]:
    height, width = (max(1, round(side * factor)) for side in shape)
    return height, width


def _resized(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    if size == mask.shape:
        return image, mask
    image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    # plain INTER_NEAREST takes the upper left corner of a pixel for its centre: up to half a pixel beside the image
    return image, cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _span(draw: float, have: int, want: int) -> slice:
    """`want` of `have` pixels at a drawn place; all of them where there are fewer."""
    start = int(draw * (max(0, have - want) + 1))
    return slice(start, start + min(have, want))
