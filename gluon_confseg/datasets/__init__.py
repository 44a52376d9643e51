"""Data sets that yield (image, mask) pairs of uint8 NumPy arrays; random transforms; prefetched batches.

Needs NumPy, OpenCV, Pillow and SciPy, not MXNet.
"""

from __future__ import annotations

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.batches import Batches, whole_images
from gluon_confseg.datasets.camvid import CamVid
from gluon_confseg.datasets.cityscapes import Cityscapes
from gluon_confseg.datasets.custom import Custom
from gluon_confseg.datasets.packing import Packed, pack
from gluon_confseg.datasets.transforms import Augment, Jitter, normalize
from gluon_confseg.datasets.voc import VOC
from gluon_confseg.errors import DatasetError

DATASETS = {"cityscapes": Cityscapes, "camvid": CamVid, "voc": VOC, "custom": Custom}

__all__ = [
    "DATASETS",
    "VOC",
    "Augment",
    "Batches",
    "CamVid",
    "Cityscapes",
    "Custom",
    "Jitter",
    "Packed",
    "SegmentationDataset",
    "normalize",
    "open_dataset",
    "pack",
    "whole_images",
]


def open_dataset(name: str, root, split: str, **options) -> SegmentationDataset:
    """A data set by name ("cityscapes", "camvid", "voc", "custom").

    options     of the class of that name: `annotation="coarse"`, `sbd_root=...`
    Raises DatasetError for an unknown name or a faulty folder.
    """
    if name not in DATASETS:
        raise DatasetError(f"There is no data set {name!r} here; choose one of {', '.join(DATASETS)}.")
    return DATASETS[name](root, split, **options)
