"""Checks of one split: its items, image and label each, its number of images, and what these show together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets import pictures
from gluon_confseg.datasets.base import SegmentationDataset, in_threads
from gluon_confseg.datasets.photograph import UPRIGHT, scaled
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import CITYSCAPES

from .report import Finding, SplitReport

SAMPLE = 50  # items per split that a quick check decodes


class Item(NamedTuple):
    """What one item showed.

    header      of the image; None where it can't be read
    size        (height, width) of the image; None where it can't be read
    values      least and greatest in an image of 16 bits; None where it has 8, or was not decoded
    stored      (256,) bool: values in the label file; None where not decoded, or it holds colours
    classes     (K + 1,) int64: pixels of each train id, and last those ignored; None where not decoded
    pixels      digest of the decoded image; None where not decoded
    decoded     whether every pixel was looked at, or would have been if the files could be read
    read_as     how the label was told, one of the names in `own_labels`; None where there is but one way
    """

    findings: tuple[Finding, ...]
    header: NamedTuple | None = None
    size: tuple[int, int] | None = None
    values: tuple[int, int] | None = None
    stored: np.ndarray | None = None
    classes: np.ndarray | None = None
    pixels: bytes | None = None
    decoded: bool = False
    read_as: str | None = None


def examine_all(
    dataset: SegmentationDataset, deep: bool, threads: int, progress: Callable[[str, int, int], None]
) -> list[Item]:
    """Every item in order. deep: decode all; else an evenly spaced sample, and look at the others' ends."""
    count = len(dataset)
    decoded = set(range(count) if deep else np.linspace(0, count - 1, min(SAMPLE, count)).round().astype(int))
    items = []
    for item in in_threads(lambda index: examine(dataset, index, index in decoded), count, threads):
        items.append(item)
        progress(dataset.split, len(items), count)
    return items


def examine(dataset: SegmentationDataset, index: int, decode: bool) -> Item:
    """Look at one item. decode: at every pixel; else at what headers and file ends tell.

    Image and label are looked at each for itself, so that a fault of one hides none of the other.
    """
    findings, photograph, label = [], dataset.image_paths[index], dataset.label_paths[index]

    def tried(path: Path | None, action: Callable, *arguments):
        """What `action` gives; None where it raised, which is then among the findings."""
        try:
            return action(*arguments)
        except DatasetError as error:
            kind = getattr(error, "kind", "unreadable")
            findings.append(Finding(kind, dataset.split, str(error), str(path)))
            return None

    header = tried(photograph, pictures.peek, photograph)
    size = header and (header.height, header.width)
    if not decode:
        shape = None if label is None else tried(label, dataset.peek_label, index)
        if size and shape:
            tried(label, dataset.check_size, index, shape, size)
        return Item(tuple(findings), header, size)

    image = header and tried(photograph, pictures.read, photograph)
    values = tried(label, dataset.read_values, index)
    stored = classes = pixels = reading = None
    if image is not None:
        content = image.pixels
        pixels = hashlib.sha256(f"{content.shape}".encode() + content.tobytes()).digest()
    if values is not None:
        before = len(findings)
        if size:
            tried(label, dataset.check_size, index, values.shape, size)
        mask = tried(label, dataset.train_ids, index, values) if len(findings) == before else None
        if mask is not None:
            wanted = [*range(dataset.num_class), dataset.labels.ignore_label]
            classes = np.bincount(mask.ravel(), minlength=256)[wanted]
            reading = dataset.reading(index, values)
        if isinstance(values, np.ndarray):
            stored = np.bincount(values.ravel(), minlength=256) > 0
    if reading and reading.doubt:
        message = (
            f"{reading.doubt}; it is read by its number, which the list gives: look whether that is right."
        )
        findings.append(Finding("against", dataset.split, message, str(label)))
    how = reading and reading.how
    seen = image.values if image else None
    return Item(tuple(findings), header, size, seen, stored, classes, pixels, decoded=True, read_as=how)


def summarise(dataset: SegmentationDataset, items: list[Item], expected: int | None) -> SplitReport:
    """The findings of a split, most telling first. expected: its number of images; None: any."""
    split, findings = dataset.split, []
    if expected not in (None, len(dataset)):
        message = (
            f"{dataset.root}: split {split} has {len(dataset)} images with what belongs to them, {expected} are "
            f"published; unpack the archives again, or say --subset if a part is meant."
        )
        findings.append(Finding("count", split, message))
    for sentence in dataset.alone:
        kind, remedy = "unpaired", "add what is missing, or remove what is left alone"
        if ", line " in sentence:
            kind, remedy = "listed", "correct the list"
        findings.append(Finding(kind, split, f"{dataset.root}: {sentence}; {remedy}."))
    findings += [finding for item in items for finding in item.findings]
    sizes = Counter(item.size for item in items if item.size)
    findings += [
        *_turned(dataset, items),
        *_deep(dataset, items),
        *_odd_sizes(dataset, items, sizes),
        *_without_classes(dataset, items),
        *_suspect_raw_ids(dataset, items),
    ]
    counted = [item.classes for item in items if item.classes is not None]
    pixels = sum(counted, np.zeros(dataset.num_class + 1, np.int64))
    return SplitReport(
        split=split,
        description=dataset.description,
        images=len(dataset),
        expected=expected,
        labels=sum(path is not None for path in dataset.label_paths),
        decoded=sum(item.decoded for item in items),
        read_as=Counter(item.read_as for item in items if item.read_as).most_common(),
        sizes=[(f"{width} x {height}", count) for (height, width), count in sizes.most_common()],
        classes=dataset.classes,
        pixels=pixels[:-1].tolist(),
        ignored=int(pixels[-1]),
        findings=findings,
    )


def _turned(dataset: SegmentationDataset, items: list[Item]) -> Iterator[Finding]:
    """Images with an EXIF orientation, unless their labels' sizes told already that they are of the turned image."""
    for path, item in zip(dataset.image_paths, items):
        told = any(finding.kind == "size" for finding in item.findings)
        if item.header and item.header.orientation != 1 and not told:
            message = (
                f"{path}: has EXIF orientation {item.header.orientation}, by which viewers turn or mirror it, and is "
                f"read as it is stored; if its label was drawn on the turned image, {UPRIGHT}."
            )
            yield Finding("orientation", dataset.split, message, str(path))


def _deep(dataset: SegmentationDataset, items: list[Item]) -> Iterator[Finding]:
    """Images of 16 bits, once for the split: those of a sensor of 12 bits would be almost black."""
    deep = [path for path, item in zip(dataset.image_paths, items) if item.header and item.header.depth > 8]
    if deep:
        seen = [item.values for item in items if item.values]
        told = "their values are divided by 256; --deep tells the range of them"
        if seen:
            told = scaled((min(low for low, _ in seen), max(high for _, high in seen)))
        many = f"{len(deep)} images of {dataset.split} have 16 bits a channel, {deep[0]} is the first"
        message = f"{dataset.root}: {many}; {told}."
        yield Finding("depth", dataset.split, message, str(deep[0]))


def _odd_sizes(dataset: SegmentationDataset, items: list[Item], sizes: Counter) -> Iterator[Finding]:
    if not dataset.ONE_SIZE or len(sizes) < 2:
        return
    split, (height, width) = dataset.split, sizes.most_common(1)[0][0]
    for path, item in zip(dataset.image_paths, items):
        if item.size and item.size != (height, width):
            message = (
                f"{path}: is {item.size[1]} x {item.size[0]} pixels, most of {split} {width} x {height}; "
                f"unpack it again, unless it is meant to be here."
            )
            yield Finding("odd_size", split, message, str(path))


def _without_classes(dataset: SegmentationDataset, items: list[Item]) -> Iterator[Finding]:
    for path, item in zip(dataset.label_paths, items):
        if item.classes is not None and not item.classes[:-1].any():
            message = f"{path}: has no pixel of any class, all are ignored; leave the image out, or use its real label."
            yield Finding("unlabelled", dataset.split, message, str(path))


def _suspect_raw_ids(dataset: SegmentationDataset, items: list[Item]) -> Iterator[Finding]:
    """Train ids in files named as raw ids, where no 255 gives them away: all values of the split are small."""
    stored = [item.stored for item in items if item.stored is not None]
    if dataset.labels.classes != CITYSCAPES.classes or not dataset.raw or not stored:
        return
    values = np.flatnonzero(np.any(stored, axis=0))
    if values.max() < CITYSCAPES.num_classes and len(values) > 1 and values.min() < 7:
        yield Finding(
            "raw_ids",
            dataset.split,
            f"{dataset.root}: all {len(stored)} raw labels read of {dataset.split} hold values from {values.min()} to "
            f"{values.max()} only, as train ids do (raw ids of sky, persons and cars are 23 to 26); name train-id "
            f"labels *_labelTrainIds.png, or use the raw ones.",
        )
