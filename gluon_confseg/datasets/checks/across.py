"""Checks across splits: the same image in two of them, labels of two meanings, and classes that occur in none."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from gluon_confseg.datasets import class_list, contents, own_labels
from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.errors import DatasetError

from .report import Finding, SplitReport
from .splits import Item


def same_images(datasets: list[SegmentationDataset], items: list[list[Item]]) -> Iterator[Finding]:
    """Images with the same bytes, or where they were decoded the same pixels, in splits that should share none."""
    pixels = (
        (item.pixels, dataset, path)
        for dataset, examined in zip(datasets, items)
        for path, item in zip(dataset.image_paths, examined)
    )
    found = {}
    for group in (*_same_bytes(datasets), *_grouped(pixels)):
        for first, second in zip(group, group[1:]):
            found.setdefault((first[1], second[1]), (first[0], second[0]))
    for (path, other), (dataset, beside) in found.items():
        if dataset.split == beside.split:
            where, kind = f"and twice in split {dataset.split}", "twice"
            remedy = "remove one of them, or leave both if it is to count twice"
        elif frozenset((dataset.split, beside.split)) in dataset.NESTED:
            continue
        else:
            where, kind = f"in split {dataset.split}, and in split {beside.split}", "shared"
            remedy = "remove it from one of them, or scores will be of images that were trained on"
        message = f"{other}: is the same image as {path}, {where}; {remedy}."
        yield Finding(kind, beside.split, message, str(other))


def _same_bytes(datasets: list[SegmentationDataset]) -> Iterator[list]:
    """Files with the same content. Only those of one length are read, which are few."""
    by_length = defaultdict(list)
    for dataset in datasets:
        for path in dataset.image_paths:
            try:
                by_length[path.stat().st_size].append((dataset, path))
            except OSError:
                continue  # told where the item was looked at
    digested = []
    for dataset, path in (each for group in by_length.values() if len(group) > 1 for each in group):
        try:
            data = contents.read(path)
        except DatasetError:
            continue  # told too
        if data:
            digested.append((hashlib.sha256(data).digest(), dataset, path))
    yield from _grouped(digested)


def _grouped(digested) -> Iterator[list]:
    groups = defaultdict(list)
    for digest, dataset, path in digested:
        if digest is not None:
            groups[digest].append((dataset, path))
    yield from (group for group in groups.values() if len(group) > 1)


def mixed_labels(datasets: list[SegmentationDataset], items: list[list[Item]]) -> Iterator[Finding]:
    """Labels of one channel, some told by their numbers and others by the colours that they show."""
    told = [
        (item.read_as, dataset.split, path)
        for dataset, examined in zip(datasets, items)
        for path, item in zip(dataset.label_paths, examined)
    ]
    numbers = [each for each in told if each[0] == own_labels.INDICES]
    colors = [each for each in told if each[0] in (own_labels.PALETTE, own_labels.GRAY)]
    if numbers and colors:
        splits = ", ".join(dict.fromkeys(split for _, split, _ in [*numbers, *colors]))
        message = (
            f"{len(numbers)} labels are read by the numbers in them, such as {numbers[0][2]}, and {len(colors)} by the "
            f"colours that they show, such as {colors[0][2]}; compare these two, and if one is read wrongly, give "
            f"every class its value in the list of classes, or save all labels in one form."
        )
        yield Finding("mixed", splits, message)


def names_of_no_class(datasets: list[SegmentationDataset]) -> Iterator[Finding]:
    """Classes of own data that are called void or the like, and count nevertheless."""
    for name in (
        class_list.uncounted(datasets[0].classes) if datasets and datasets[0].labels.name == "custom" else ()
    ):
        message = (
            f"class {name} counts like any other, in the loss and in the mean IoU; if its pixels are to be left out, "
            f"name its row {class_list.IGNORED} in the list of classes."
        )
        yield Finding("named", "", message)


def unused_classes(splits: list[SplitReport]) -> Iterator[Finding]:
    """Classes without a pixel in any split, judged where all labels were decoded."""
    labelled = [split for split in splits if split.labels]
    if not labelled or any(split.decoded < split.images for split in labelled):
        return
    totals = np.sum([split.pixels for split in labelled], axis=0)
    names = ", ".join(split.split for split in labelled)
    for name in (name for name, pixels in zip(labelled[0].classes, totals) if pixels == 0):
        message = (
            f"class {name} has no pixel in {names}: no network can learn it, and its IoU is not defined; check "
            f"the values of the labels, or expect no score for it."
        )
        yield Finding("unused", names, message)
