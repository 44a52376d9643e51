"""How many pixels each class has in a training split, for the losses that weigh classes."""

from __future__ import annotations

import dataclasses

import numpy as np

from .labels import LabelError


@dataclasses.dataclass(frozen=True, eq=False)
class LabelStatistics:
    """Counts over the masks of a training split, without ignored pixels.

    pixels         (K,) int64, pixels of each class
    image_pixels   (K,) int64, labelled pixels of all images that contain the class
    images         number of masks
    """

    pixels: np.ndarray
    image_pixels: np.ndarray
    images: int

    @classmethod
    def count(cls, masks, num_classes: int, ignore_label: int = 255) -> LabelStatistics:
        """Count an iterable of (H, W) uint8 masks, read once.

        Raises LabelError for a value that is neither a class nor `ignore_label`, ValueError where there is no mask.
        """
        pixels, image_pixels = np.zeros((2, num_classes), np.int64)
        images = 0
        for images, mask in enumerate(map(np.asarray, masks), 1):
            if mask.dtype != np.uint8:
                raise ValueError(f"mask {images} is {mask.dtype}: wanted uint8 train ids")
            counts = np.bincount(mask.ravel(), minlength=256)
            counts[ignore_label] = 0
            outside = np.flatnonzero(counts[num_classes:])
            if outside.size:
                raise LabelError(
                    f"mask {images} holds {outside[0] + num_classes}, which is no class (0-{num_classes - 1}) and "
                    f"not the ignored {ignore_label}: are these raw ids where train ids are wanted?"
                )
            counts = counts[:num_classes]
            pixels += counts
            image_pixels += np.where(counts > 0, counts.sum(), 0)
        if not images:
            raise ValueError("there is no mask to count: is the training split empty?")
        return cls(pixels, image_pixels, images)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.pixels)

    def record(self) -> dict:
        """The counts in a form that JSON can hold; `from_record` reads it."""
        counts = {"pixels": self.pixels.tolist(), "image_pixels": self.image_pixels.tolist()}
        return {**counts, "images": self.images}

    @classmethod
    def from_record(cls, record: dict) -> LabelStatistics:
        """The statistics from what `record` returned; raises ValueError for anything else."""
        try:
            pixels, image_pixels = (np.array(record[name], np.int64) for name in ("pixels", "image_pixels"))
            images = int(record["images"])
        except (KeyError, TypeError, ValueError) as reason:
            raise ValueError(f"this is no record of label statistics: {reason!r}") from reason
        if pixels.ndim != 1 or pixels.shape != image_pixels.shape or (image_pixels < pixels).any():
            raise ValueError("this is no record of label statistics: its counts do not fit each other")
        return cls(pixels, image_pixels, images)
