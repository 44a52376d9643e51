"""Instance-weighted IoU (iIoU), as the official Cityscapes scorer defines it.

A pixel of an instance has the weight (average size of its class's instances) / (size of this instance), so that small
and large instances count alike. Pixels that are wrongly predicted as a class have the weight 1.
"""

from __future__ import annotations

import numpy as np

from .labels import CITYSCAPES, IGNORE
from .metrics import ConfusionMatrix

# pixels of an average instance in the training images: the official scorer's numbers
SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
# categories of things only, by raw id; vehicles have caravan (29) and trailer (30), which are not scored as classes
CATEGORIES = {"human": (24, 25), "vehicle": (26, 27, 28, 29, 30, 31, 32, 33)}
_FIRST = 1001  # pixels of an instance hold 1000 times the raw id and a number; those of groups and stuff the raw id


class InstanceIoU:
    """A streaming iIoU of classes and categories, beside the `ConfusionMatrix` of the same images.

    `*_instanceIds.png` holds raw ids and instances. To get the official scorer's value to the last bit, pass the images
    in its order.
    """

    def __init__(self):
        names = list(CITYSCAPES.categories)
        self._train_id = CITYSCAPES.table(raw=True)
        self._category = np.full(256, -1)
        for name, raw_ids in CATEGORIES.items():
            self._category[list(raw_ids)] = names.index(name)
        self._average = {CITYSCAPES.classes.index(name): size for name, size in SIZES.items()}
        # hits and misses, weighted
        self.of_classes = np.zeros((CITYSCAPES.num_classes, 2))
        self.of_categories = np.zeros((len(names), 2))
        # pixels of other categories that were predicted as a category's raw id without a class
        self.strays = np.zeros(len(names), np.int64)

    def update(self, instance_ids: np.ndarray, predictions: np.ndarray) -> None:
        """Count one image. instance_ids: what `*_instanceIds.png` holds; predictions: raw ids, both (H, W) integers.

        Raises ValueError for shapes that differ.
        """
        if instance_ids.shape != predictions.shape:
            raise ValueError(
                f"instances of shape {instance_ids.shape} for predictions of {predictions.shape}"
            )
        ids, predicted = instance_ids.ravel(), predictions.ravel()
        stray = (self._category[predicted] >= 0) & (self._train_id[predicted] == IGNORE)
        if stray.any():
            truth, found = np.where(ids < _FIRST, ids, ids // 1000)[stray], self._category[predicted[stray]]
            wrong = (self._train_id[truth] != IGNORE) & (self._category[truth] != found)
            self.strays += np.bincount(found[wrong], minlength=len(self.strays))
        inside = ids >= _FIRST
        ids, predicted = ids[inside], predicted[inside]
        truth = ids // 1000
        sizes = np.bincount(ids)
        hits = np.bincount(ids[predicted == truth], minlength=len(sizes))
        near = np.bincount(ids[self._category[predicted] == self._category[truth]], minlength=len(sizes))
        for instance in np.flatnonzero(sizes):
            raw_id = instance // 1000
            train_id = self._train_id[raw_id]
            if train_id not in self._average:  # a caravan or trailer, which no class is scored by
                continue
            size, hit, close = int(sizes[instance]), int(hits[instance]), int(near[instance])
            weight = self._average[train_id] / size
            self.of_classes[train_id] += hit * weight, (size - hit) * weight
            self.of_categories[self._category[raw_id]] += close * weight, (size - close) * weight

    def classes(self, matrix: ConfusionMatrix) -> np.ndarray:
        """(K,) iIoU; NaN for a class without instances, and for a class that is neither in the truth nor predicted."""
        false = matrix.counts.sum(0) - np.diag(matrix.counts)
        scores = _ratios(self.of_classes, false)
        scores[[name not in SIZES for name in CITYSCAPES.classes]] = np.nan
        return scores

    def categories(self, matrix: ConfusionMatrix) -> np.ndarray:
        """(7,) iIoU in the order of the categories; NaN for all categories but humans and vehicles."""
        false = self.strays.copy()
        for c, members in enumerate(map(list, CITYSCAPES.categories.values())):
            columns = matrix.counts[:, members]
            false[c] += columns.sum() - columns[members].sum()
        scores = _ratios(self.of_categories, false)
        scores[[name not in CATEGORIES for name in CITYSCAPES.categories]] = np.nan
        return scores


def _ratios(weighted: np.ndarray, false: np.ndarray) -> np.ndarray:
    hits, misses = weighted.T
    union = hits + false + misses
    return np.divide(hits, union, out=np.full(len(union), np.nan), where=union > 0)
