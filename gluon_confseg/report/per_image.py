"""The confusion matrices of single images, most of whose entries are 0: which images a confusion is in."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from gluon_confseg import metrics


class PerImage:
    """The confusion matrices of N images of K classes, with a column more for pixels that were taken for no class.

    Only entries above 0 are held. The three arrays of entries may come in any order.

    images, cells, counts    (E,) of each entry: its image, its place in the (K, K + 1) matrix, its pixels
    """

    def __init__(self, num_images: int, num_classes: int, images, cells, counts):
        self.num_images, self.num_classes = num_images, num_classes
        images, cells, counts = (np.asarray(values, np.int64) for values in (images, cells, counts))
        by_cell, by_image = np.lexsort((images, cells)), np.lexsort((cells, images))
        self._cells, self._images_of, self._counts_of = cells[by_cell], images[by_cell], counts[by_cell]
        self._images, self._cells_in, self._counts_in = images[by_image], cells[by_image], counts[by_image]

    @classmethod
    def from_matrices(cls, matrices: np.ndarray) -> PerImage:
        """matrices    (N, K, K) counts without pixels that were taken for no class"""
        images, rows, columns = np.nonzero(matrices)
        size = matrices.shape[1]
        return cls(len(matrices), size, images, rows * (size + 1) + columns, matrices[images, rows, columns])

    def pixels(self, truth: int, prediction: int) -> np.ndarray:
        """(N,) pixels of class `truth` that were taken for `prediction` in each image; K stands for no class."""
        cell = truth * (self.num_classes + 1) + prediction
        first, end = np.searchsorted(self._cells, [cell, cell + 1])
        found = np.zeros(self.num_images, np.int64)
        found[self._images_of[first:end]] = self._counts_of[first:end]
        return found

    def matrix(self, image: int) -> np.ndarray:
        """(K, K + 1) counts of one image."""
        first, end = np.searchsorted(self._images, [image, image + 1])
        found = np.zeros(self.num_classes * (self.num_classes + 1), np.int64)
        found[self._cells_in[first:end]] = self._counts_in[first:end]
        return found.reshape(self.num_classes, self.num_classes + 1)

    def total(self) -> np.ndarray:
        """(K, K + 1) counts of all images together."""
        cells = self.num_classes * (self.num_classes + 1)
        found = np.zeros(cells, np.int64)
        np.add.at(found, self._cells, self._counts_of)
        return found.reshape(self.num_classes, self.num_classes + 1)

    @cached_property
    def losses(self) -> np.ndarray:
        """(N, K) IoU that each class would gain if one image were segmented without a mistake; NaN for absent classes.

        A class that was predicted in that image alone, and wrongly, gains 0 here, though it would leave the mean.
        """
        total = self.total()
        hits, misses = np.diag(total).astype(np.float64), total[:, -1]
        union = total[:, :-1].sum(0) + total[:, :-1].sum(1) + misses - hits
        before = metrics.iou(total[:, :-1], misses)
        found = np.empty((self.num_images, self.num_classes))
        for image in range(self.num_images):
            counts = self.matrix(image)
            right = np.diag(counts)
            missed, added = counts.sum(1) - right, counts[:, :-1].sum(0) - right
            # its pixels become hits of their class, whose union holds them already, and leave the unions of others
            left = union - added
            after = np.divide(hits + missed, left, out=np.zeros_like(hits), where=left > 0)
            found[image] = np.where(np.isnan(before), np.nan, after - before)
        return found

    @cached_property
    def costs(self) -> np.ndarray:
        """(N,) mIoU that would be gained if one image were segmented without a mistake: the mean of its `losses`."""
        losses = self.losses
        defined = np.count_nonzero(~np.isnan(losses), axis=1)
        return np.nansum(losses, axis=1) / np.maximum(defined, 1)

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) wrong pixels of each image."""
        is_wrong = self._cells % (self.num_classes + 1) != self._cells // (self.num_classes + 1)
        found = np.bincount(self._images_of[is_wrong], self._counts_of[is_wrong], self.num_images)
        return found.astype(np.int64)

    def truth(self, klass: int) -> np.ndarray:
        """(N,) labelled pixels of a class in each image."""
        return sum(self.pixels(klass, prediction) for prediction in range(self.num_classes + 1))
