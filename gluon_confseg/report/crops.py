"""Which crops of which images show a confusion: chosen by counts alone, and cut from those images afterwards."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg import metrics
from gluon_confseg.report.per_image import PerImage

PAIRS = 120  # of these pairs of classes, those that cost most, crops are sought
ROUNDS = 8  # crops of one pair at most
WORST_IMAGES = 20  # images that are shown as a whole
LARGEST = (270, 360)  # height and width of a crop as it is shown
LEAST = (120, 160)  # of a crop in the image's own pixels
MARGIN = 0.4  # of the size of what it shows, on each side
COVERED = 0.6  # a crop that holds this share of another confusion's largest spot shows that one too
_BLOCK = 8  # spots of a confusion that are so many pixels apart count as one
_IGNORED = 255


class Wanted(NamedTuple):
    """A crop that is to be cut: where pixels of a class are taken for another in this image.

    pair    (truth, prediction), K as prediction is no class; None: the whole image
    """

    image: int
    pair: tuple | None


class Box(NamedTuple):
    """The rows from top to bottom and columns from left to right of an image, of which every `step`-th is shown."""

    top: int
    left: int
    bottom: int
    right: int
    step: int

    def whole(self, array: np.ndarray) -> np.ndarray:
        """The part of an (H, W, ...) array with all its pixels."""
        return array[self.top : self.bottom, self.left : self.right]

    def shown(self, classes: np.ndarray) -> np.ndarray:
        """The part of an (H, W) array of classes as it is shown: one pixel of each step."""
        middle = self.step // 2
        return self.whole(classes)[middle :: self.step, middle :: self.step]


class Crop(NamedTuple):
    """A crop, packed for a page.

    image        index of the image
    box          its part
    size         (height, width) as it is shown
    photograph   JPEG; None where there is none
    truth        `packed` classes, 255 where there is no label
    predictions  the same of each arm, 255 where no class was predicted; None of an arm whose predictions are not there
    confusions   of each arm: [[truth, prediction, pixels], ...], pixels of the image itself, most first
    values       all that the truth and the predictions hold as it is shown, 255 among them, most first
    """

    image: int
    box: Box
    size: tuple
    photograph: bytes | None
    truth: bytes
    predictions: list
    confusions: list
    values: list

    @property
    def bytes(self) -> int:
        """What it takes in a page."""
        parts = [self.photograph or b"", self.truth, *(p or b"" for p in self.predictions)]
        return sum(4 * math.ceil(len(part) / 3) for part in parts) + 12 * sum(map(len, self.confusions))


def wanted(arms: Sequence[PerImage], costs: Sequence[np.ndarray], images: Sequence[int]) -> list:
    """Which crops show the most, the most telling first.

    arms     per-image counts of each arm
    costs    (K, K + 1) of each arm, the mIoU that each confusion costs: `costs.pair_costs`
    images   those that can be shown
    returns  list of `Wanted`, up to ROUNDS for each pair of classes

    Pairs are ranked by what they cost in the arm where they cost most. Each gets the image where it is worst in any
    arm, the one where most of it was mended from the first arm to the last, the one where it grew most, and then the
    next worst. All pairs get their first image, then the worst images come as a whole, then all get their second.
    """
    images = np.asarray(sorted(images), np.int64)
    if not len(images):
        return []
    worst = np.max(costs, axis=0)
    ranked = np.argsort(-worst, axis=None, kind="stable")[:PAIRS]
    rounds = [[] for _ in range(ROUNDS)]
    for truth, prediction in zip(*np.unravel_index(ranked, worst.shape)):
        if worst[truth, prediction] > 0:
            pixels = np.array([arm.pixels(truth, prediction)[images] for arm in arms])
            for place, index in enumerate(_telling(pixels)[:ROUNDS]):
                rounds[place].append(Wanted(int(images[index]), (int(truth), int(prediction))))
    loss = np.max([arm.costs[images] for arm in arms], axis=0)
    whole = [
        Wanted(int(images[index]), None) for index in np.argsort(-loss, kind="stable") if loss[index] > 0
    ]
    first, *others = rounds
    return [*first, *whole[:WORST_IMAGES], *(one for each in others for one in each)]


def _telling(pixels: np.ndarray) -> list:
    """Places of images, the most telling first. pixels: (arms, images) of one confusion."""
    most, change = pixels.max(0), pixels[-1] - pixels[0]
    ranked = [int(place) for place in np.argsort(-most, kind="stable") if most[place] > 0]
    mended, grown = int(change.argmin()), int(change.argmax())
    chosen = ranked[:1]
    chosen += [mended] if change[mended] < 0 else []
    chosen += [grown] if change[grown] > 0 else []
    return list(dict.fromkeys([*chosen, *ranked]))


def by_image(chosen: Sequence[Wanted]) -> dict:
    """Image -> its places in `chosen`, images in the order in which they are first wanted."""
    found = {}
    for place, one in enumerate(chosen):
        found.setdefault(one.image, []).append(place)
    return found


def cut(
    chosen: Sequence[Wanted],
    places: Sequence[int],
    photograph: np.ndarray | None,
    truth: np.ndarray,
    predictions: Sequence[np.ndarray | None],
    num_classes: int,
) -> Iterator[tuple]:
    """The crops of one image; yields (place in `chosen`, Crop). What a crop before it shows as well is left out.

    places        of this image's in `chosen`
    photograph    (H, W, 3) uint8 RGB, or None
    truth         (H, W) uint8 classes, 255 where there is no label
    predictions   the same of each arm, or None
    """
    boxes = []
    for place in places:
        pair = chosen[place].pair
        if pair is None:
            box = _fitted((0, 0, *truth.shape), truth.shape)
        else:
            spot = _largest_spot(truth, predictions, pair, num_classes)
            if spot is None:
                continue
            pixels, extent = spot
            box = _fitted(extent, truth.shape)
            if any(_covers(other, box, pixels) for other in boxes):
                continue
        if box not in boxes:
            boxes.append(box)
            yield place, _crop(chosen[place].image, box, photograph, truth, predictions, num_classes)


def _largest_spot(truth, predictions, pair: tuple, num_classes: int) -> tuple | None:
    """A confusion's largest spot, in the arm with most of it: (n, 2) rows and columns; (top, left, bottom, right)."""
    labelled = truth == pair[0]
    value = _IGNORED if pair[1] == num_classes else pair[1]
    masks = [labelled & (prediction == value) for prediction in predictions if prediction is not None]
    mask = max(masks, key=np.count_nonzero, default=None)
    if mask is None or not mask.any():
        return None
    rows, columns = np.nonzero(mask)
    blocks = np.zeros([-(-side // _BLOCK) for side in mask.shape], np.uint8)
    blocks[rows // _BLOCK, columns // _BLOCK] = 1
    spots = cv2.connectedComponents(blocks, connectivity=8)[1][rows // _BLOCK, columns // _BLOCK]
    largest = spots == np.bincount(spots).argmax()
    rows, columns = rows[largest], columns[largest]
    return np.column_stack([rows, columns]), (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def _fitted(extent: tuple, shape: tuple) -> Box:
    """A box about an extent, with some margin, in the form of what is shown, inside the image."""
    top, left, bottom, right = map(int, extent)
    height, width = bottom - top, right - left
    height, width = max(height * (1 + 2 * MARGIN), LEAST[0]), max(width * (1 + 2 * MARGIN), LEAST[1])
    width = max(width, height * LARGEST[1] / LARGEST[0])
    height = max(height, width * LARGEST[0] / LARGEST[1])
    sides = []
    for start, end, wished, limit, largest in (
        (top, bottom, height, shape[0], LARGEST[0]),
        (left, right, width, shape[1], LARGEST[1]),
    ):
        # a picture that is hardly larger than a crop is shown as it is
        size = limit if limit <= largest else min(round(wished), limit)
        first = min(max((start + end - size) // 2, 0), limit - size)
        sides.append((first, first + size))
    (top, bottom), (left, right) = sides
    step = max(1, math.ceil((bottom - top) / LARGEST[0]), math.ceil((right - left) / LARGEST[1]))
    return Box(top, left, bottom, right, step)


def _covers(box: Box, other: Box, pixels: np.ndarray) -> bool:
    """Whether a box shows a spot's pixels, in as much detail as another box would."""
    if box.step > other.step:
        return False
    inside = ((pixels >= box[:2]) & (pixels < box[2:4])).all(1)
    return bool(inside.mean() >= COVERED)


def _crop(image: int, box: Box, photograph, truth, predictions, num_classes: int) -> Crop:
    shown = box.shown(truth)
    picture = None
    if photograph is not None:
        small = cv2.resize(box.whole(photograph), shown.shape[::-1], interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        picture = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 75, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[
            1
        ].tobytes()
    there = [prediction is not None for prediction in predictions]
    answers = [packed(box.shown(p)) if known else None for p, known in zip(predictions, there)]
    counts = [
        _confusions(box.whole(truth), box.whole(p), num_classes) if known else []
        for p, known in zip(predictions, there)
    ]
    every = [shown, *(box.shown(p) for p in predictions if p is not None)]
    seen = sum(np.bincount(values.ravel(), minlength=256) for values in every)
    values = np.argsort(-seen, kind="stable")[: np.count_nonzero(seen)].tolist()
    return Crop(image, box, shown.shape, picture, packed(shown), answers, counts, values)


def _confusions(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> list:
    counts = metrics.count_pairs(np.ascontiguousarray(truth), np.ascontiguousarray(prediction))
    counts = np.column_stack([counts[:num_classes, :num_classes], counts[:num_classes, _IGNORED]])
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[: np.count_nonzero(counts)]
    rows, columns = np.unravel_index(order, counts.shape)
    return np.column_stack([rows, columns, counts[rows, columns]]).tolist()


def packed(classes: np.ndarray) -> bytes:
    """(H, W) uint8 classes as few bytes: zlib over the changes from each row to the next (exclusive or)."""
    changes = classes.copy()
    changes[1:] ^= classes[:-1]
    return zlib.compress(changes.tobytes(), 6)
