"""Checks of single items: image, label, and whether they go together."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets import pictures
from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.faults import kind_of
from gluon_confseg.errors import DatasetError

from .findings import Finding


class Item(NamedTuple):
    """What one item showed.

    size        (height, width) of the image; None where it can't be read
    stored      (256,) bool: values in the label file; None where not decoded, or it holds colours
    classes     (K + 1,) int64: pixels of each train id, and last those ignored; None where not decoded
    pixels      digest of the decoded image; None where not decoded
    decoded     whether every pixel was looked at, or would have been if the files could be read
    """

    findings: tuple[Finding, ...]
    size: tuple[int, int] | None = None
    stored: np.ndarray | None = None
    classes: np.ndarray | None = None
    pixels: bytes | None = None
    decoded: bool = False


def examine(dataset: SegmentationDataset, index: int, decode: bool) -> Item:
    """Look at one item. decode: at every pixel; else at what headers and file ends tell.

    Image and label are looked at each for itself, so that a fault of one hides none of the other.
    """
    return _decoded(dataset, index) if decode else _peeked(dataset, index)


def _peeked(dataset: SegmentationDataset, index: int) -> Item:
    findings = []
    size = _tried(dataset, index, "image", findings, lambda: pictures.peek(dataset.image_paths[index]))
    size = None if size is None else (size.height, size.width)
    if dataset.label_paths[index] is not None:
        label = _tried(dataset, index, "label", findings, lambda: dataset.peek_label(index))
        if size and label:
            _tried(dataset, index, "label", findings, lambda: dataset.check_size(index, label, size))
    return Item(tuple(findings), size)


def _decoded(dataset: SegmentationDataset, index: int) -> Item:
    findings = []
    image = _tried(dataset, index, "image", findings, lambda: dataset.read_image(index))
    values = _tried(dataset, index, "label", findings, lambda: dataset.read_values(index))
    if image is not None and values is not None:
        _tried(
            dataset, index, "label", findings, lambda: dataset.check_size(index, values.shape, image.shape)
        )
    mask = None
    if values is not None:
        mask = _tried(dataset, index, "label", findings, lambda: dataset.train_ids(index, values))
    return Item(
        tuple(findings),
        None if image is None else image.shape[:2],
        _counted(values) > 0 if values is not None and values.ndim == 2 else None,
        None if mask is None else _counted(mask)[[*range(dataset.num_class), dataset.labels.ignore_label]],
        None if image is None else hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest(),
        decoded=True,
    )


def _counted(values: np.ndarray) -> np.ndarray:
    return np.bincount(values.ravel(), minlength=256)


def _tried(dataset: SegmentationDataset, index: int, which: str, findings: list, action):
    """What `action` gives; None where it raised, which is then among the findings."""
    try:
        return action()
    except DatasetError as error:
        paths = dataset.image_paths if which == "image" else dataset.label_paths
        findings.append(Finding(kind_of(error), dataset.split, str(error), str(paths[index])))
        return None
