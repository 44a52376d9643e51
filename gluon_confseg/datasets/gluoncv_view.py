"""A data set with GluonCV's conventions to the letter: NDArrays, -1 where ignored, names for what has no label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class GluonCVView:
    """`view[i]` -> image, mask as GluonCV's scripts, `SegmentationMetric` and data loaders take them.

    image   (H, W, 3) float32 NDArray of 0 to 255, or whatever `transform` makes of it
    mask    (H, W) int32 NDArray of train ids; -1 is ignored (GluonCV's metrics count 255 as a miss); for a split
            without labels, the item's name instead
    """

    pred_offset = 0  # GluonCV adds it to predictions

    def __init__(self, dataset, transform: Callable | None = None):
        self.dataset, self.transform = dataset, transform
        self.root, self.split, self.mode = dataset.root, dataset.split, dataset.mode
        self.classes = self.CLASSES = dataset.classes
        self.num_class = self.NUM_CLASS = dataset.num_class

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        import mxnet as mx

        image, mask = self.dataset[index]
        image = mx.nd.array(image)
        image = image if self.transform is None else self.transform(image)
        if self.dataset.label_paths[index] is None:
            return image, self.dataset.names[index]
        ignored = mask == self.dataset.labels.ignore_label
        return image, mx.nd.array(np.where(ignored, -1, mask.astype(np.int32)), dtype=np.int32)
