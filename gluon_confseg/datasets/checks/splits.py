"""Checks of one split: its number of images, its items, and what these show together."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.labels import CITYSCAPES

from .findings import Finding
from .items import Item, examine
from .report import SplitReport

SAMPLE = 50  # items per split that a quick check decodes


def examine_all(
    dataset: SegmentationDataset, deep: bool, threads: int, progress: Callable[[], None]
) -> list[Item]:
    """Every item in order. deep: decode all; else an evenly spaced sample, and look at the others' ends."""
    count = len(dataset)
    decoded = set(range(count) if deep else np.linspace(0, count - 1, min(SAMPLE, count)).round().astype(int))
    items = []
    for item in _in_threads(lambda index: examine(dataset, index, index in decoded), count, threads):
        items.append(item)
        progress()
    return items


def _in_threads(action: Callable[[int], Item], count: int, threads: int) -> Iterator[Item]:
    """Results in order; no more than a few wait, so that Ctrl-C is answered at once."""
    with ThreadPoolExecutor(threads, thread_name_prefix="check") as pool:
        pending: deque = deque()
        for index in range(count):
            pending.append(pool.submit(action, index))
            if len(pending) > 4 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def summarise(dataset: SegmentationDataset, items: list[Item], expected: int | None) -> SplitReport:
    """The findings of a split, most telling first. expected: its number of images; None: any."""
    findings = [*_count(dataset, expected), *_alone(dataset)]
    findings += [finding for item in items for finding in item.findings]
    labelled = [item for item in items if item.classes is not None]
    pixels = sum((item.classes for item in labelled), np.zeros(dataset.num_class + 1, np.int64))
    findings += [*_odd_sizes(dataset, items), *_unlabelled(dataset, items), *_suspect_raw_ids(dataset, items)]
    sizes = Counter(item.size for item in items if item.size)
    return SplitReport(
        split=dataset.split,
        description=dataset.description,
        images=len(dataset),
        expected=expected,
        labels=sum(path is not None for path in dataset.label_paths),
        decoded=sum(item.decoded for item in items),
        sizes=[(f"{width} x {height}", count) for (height, width), count in sizes.most_common()],
        classes=dataset.classes,
        pixels=pixels[:-1].tolist(),
        ignored=int(pixels[-1]),
        findings=findings,
    )


def _count(dataset: SegmentationDataset, expected: int | None) -> Iterator[Finding]:
    if expected is None or len(dataset) == expected:
        return
    yield Finding(
        "count",
        dataset.split,
        f"{dataset.root}: split {dataset.split} has {len(dataset)} images with what belongs to them, {expected} are "
        f"published; unpack the archives again, or say --subset if a part is meant.",
    )


def _alone(dataset: SegmentationDataset) -> Iterator[Finding]:
    for sentence in dataset.alone:
        kind = "listed" if ", line " in sentence else "unpaired"
        remedy = (
            "correct the list" if kind == "listed" else "add what is missing, or remove what is left alone"
        )
        yield Finding(kind, dataset.split, f"{dataset.root}: {sentence}; {remedy}.")


def _odd_sizes(dataset: SegmentationDataset, items: list[Item]) -> Iterator[Finding]:
    sizes = Counter(item.size for item in items if item.size)
    if not dataset.ONE_SIZE or len(sizes) < 2:
        return
    usual, _ = sizes.most_common(1)[0]
    for path, item in zip(dataset.image_paths, items):
        if item.size and item.size != usual:
            yield Finding(
                "odd_size",
                dataset.split,
                f"{path}: is {item.size[1]} x {item.size[0]} pixels, most of {dataset.split} {usual[1]} x {usual[0]}; "
                f"unpack it again, unless it is meant to be here.",
                str(path),
            )


def _unlabelled(dataset: SegmentationDataset, items: list[Item]) -> Iterator[Finding]:
    for path, item in zip(dataset.label_paths, items):
        if item.classes is not None and not item.classes[:-1].any():
            yield Finding(
                "unlabelled",
                dataset.split,
                f"{path}: has no pixel of any class, all are ignored; leave the image out, or use its real label.",
                str(path),
            )


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
