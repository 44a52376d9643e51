"""What networks predicted on validation images, kept beside their scores, so that a report can show it.

A prediction is stored as a PNG of class ids, which takes some thousand bytes. Needs no MXNet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np

MOST = 2000  # images of a data set whose predictions are kept
_ENDS, _IMAGES = ".ends", "images"


class Predictions:
    """The predictions of one network, by fusion rule.

    images   indices of the images in their data set, ascending: all rules have these
    """

    def __init__(self, images: Iterable[int], files: Mapping[str, list]):
        self.images = list(images)
        self._files = {rule: list(pngs) for rule, pngs in files.items()}
        self._place = {index: place for place, index in enumerate(self.images)}

    @property
    def rules(self) -> list:
        """The fusion rules."""
        return list(self._files)

    def read(self, rule: str, index: int) -> np.ndarray:
        """(H, W) uint8 classes of an image. Raises KeyError where its prediction by this rule was not kept."""
        return cv2.imdecode(self._files[rule][self._place[index]], cv2.IMREAD_GRAYSCALE)

    def joined(self, other: Predictions | None) -> Predictions:
        """These, and those of the other's rules that these lack, if both are of the same images."""
        if other is None or other.images != self.images:
            return self
        return Predictions(self.images, {**other._files, **self._files})

    def arrays(self) -> dict:
        """Arrays by name, as a checkpoint holds them: of each rule the bytes of all PNGs, and where each ends."""
        arrays = {_IMAGES: np.array(self.images, np.int64)}
        for rule, pngs in self._files.items():
            arrays[rule] = np.concatenate(pngs) if pngs else np.zeros(0, np.uint8)
            arrays[rule + _ENDS] = np.cumsum([len(png) for png in pngs], dtype=np.int64)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Predictions:
        """What `arrays` gave. Raises ValueError for other arrays."""
        rules = [name for name in arrays if name + _ENDS in arrays]
        ends = {rule: arrays[rule + _ENDS] for rule in rules}
        fits = _IMAGES in arrays and all(
            len(ends[rule]) == len(arrays[_IMAGES])
            and (np.diff(ends[rule], prepend=0) > 0).all()
            and (not len(ends[rule]) or ends[rule][-1] == len(arrays[rule]))
            for rule in rules
        )
        if not fits:
            raise ValueError("they are no predictions of images")
        return cls(
            arrays[_IMAGES].tolist(), {rule: np.split(arrays[rule], ends[rule])[:-1] for rule in rules}
        )


class Keeper:
    """Collects the predictions of an evaluation.

    rules    those that are kept, of all that are evaluated
    images   indices of the images that are kept
    """

    def __init__(self, rules: Iterable[str], images: Iterable[int]):
        self.rules, self.images = list(rules), sorted(images)
        self._wanted, self._files = set(self.images), {rule: [] for rule in self.rules}
        self._added = []

    def add(self, index: int, predictions: Mapping[str, np.ndarray]) -> None:
        """Keep an image's (H, W) uint8 predictions, by rule. The images come in ascending order."""
        if index in self._wanted:
            self._added.append(index)
            for rule, pngs in self._files.items():
                pngs.append(cv2.imencode(".png", predictions[rule])[1].ravel())

    @property
    def collected(self) -> dict:
        """What was kept so far, for the `join` of another process: rule -> {index: PNG}."""
        return {rule: dict(zip(self._added, pngs)) for rule, pngs in self._files.items()}

    def join(self, collected: Iterable[dict]) -> None:
        """Keep what processes collected that shared the images, in place of what this one did."""
        for rule in self._files:
            pngs = {index: png for each in collected for index, png in each[rule].items()}
            self._files[rule] = [pngs[index] for index in sorted(pngs)]

    def kept(self) -> Predictions:
        """What was collected."""
        return Predictions(self.images, self._files)
