"""The sides of bench_data: each is a function that goes through so many samples, and is timed."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets import Augment, Batches
from gluon_confseg.datasets.batches import Crops
from gluon_confseg.datasets.transforms import rng
from gluon_confseg.progress import Progress

MEAN_OF_GLUONCV_SCALES = 1.25  # it draws the longer side from 0.5 to 2.0 times `base_size`, evenly


class Setting(NamedTuple):
    """What is measured. epochs: of packed data, and for the memory; indexed: samples of the long index."""

    images: int
    size: tuple
    crop: tuple
    batch_size: int
    workers: int
    rounds: int
    epochs: int
    indexed: int


def measure(setting: Setting, dataset, packed) -> dict:
    """Samples per second of each side, round by round, the sides taking turns; a first pass of each warms up."""
    with contextlib.ExitStack() as stack:
        sides = {
            "gluoncv": (gluoncv(setting, dataset.root), 1),
            "unpacked": (ours(stack, setting, dataset), 1),
            "packed": (ours(stack, setting, packed), setting.epochs),
            "packed_threads": (threads(stack, setting, packed), setting.epochs),
            "copy_read": (copy_read(stack, setting, packed), setting.epochs),
            "copy_written": (copy_written(stack, setting), setting.epochs),
        }
        rates: dict = {name: [] for name in sides}
        with Progress("timing", (setting.rounds + 1) * len(sides), "pass") as bar:
            for number in range(setting.rounds + 1):
                for name, (side, epochs) in sides.items():
                    rate = timed(side, epochs if number else 1)
                    if number:
                        rates[name].append(rate)
                    bar.update(1)
    return rates


def timed(side: Callable[[int], int], epochs: int) -> float:
    """Samples per second over so many epochs."""
    began = time.perf_counter()
    samples = sum(side(epoch) for epoch in range(epochs))
    return samples / (time.perf_counter() - began)


def gluoncv(setting: Setting, root) -> Callable[[int], int]:
    """GluonCV's data set with its own augmentation, ToTensor and Normalize as in its training script."""
    from gluoncv.data import CitySegmentation
    from mxnet import gluon
    from mxnet.gluon.data.vision import transforms

    steps = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    # so that its mean factor is 1, as ours: with 2048 it would be 1.25, and slower
    base = round(max(setting.size) / MEAN_OF_GLUONCV_SCALES)
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = CitySegmentation(
            str(root),
            split="train",
            transform=transforms.Compose(steps),
            base_size=base,
            crop_size=setting.crop[0],
        )
    loader = gluon.data.DataLoader(
        dataset, setting.batch_size, shuffle=True, last_batch="discard", num_workers=setting.workers
    )
    return lambda epoch: sum(len(images) for images, _ in loader)


def augment(setting: Setting) -> Augment:
    """Factors from 0.7 to 1.3, flip, mean and deviation."""
    return Augment(setting.crop)


def ours(stack, setting: Setting, dataset) -> Callable[[int], int]:
    """Our data set, packed or not, by worker processes."""
    batches = stack.enter_context(
        Batches(
            dataset,
            augment(setting),
            setting.batch_size,
            prefetch=2 * setting.workers,
            workers=setting.workers,
        )
    )
    return lambda epoch: sum(len(batch.names) for batch in batches.epoch(epoch))


def threads(stack, setting: Setting, dataset) -> Callable[[int], int]:
    """The same by threads, each into a buffer of its own: what processes are chosen over."""
    pool = stack.enter_context(ThreadPoolExecutor(setting.workers))
    crops, buffers = Crops(dataset, augment(setting), 0), {}

    def prepare(number: int, epoch: int, indices: list) -> int:
        def allocate(layout):
            if number not in buffers:
                buffers[number] = [np.empty(*one) for one in layout]
            return buffers[number]

        return len(crops((epoch, indices), allocate))

    def side(epoch: int) -> int:
        jobs = [pool.submit(prepare, n, epoch, indices) for n, indices in enumerate(_batches(setting))]
        return sum(job.result() for job in jobs)

    return side


def copy_read(stack, setting: Setting, packed) -> Callable[[int], int]:
    """The same windows copied, as uint8, from a map of the pack to buffers that are there: nothing else is done."""
    pool, largest = stack.enter_context(ThreadPoolExecutor(setting.workers)), augment(setting)
    views = [packed.view(index) for index in range(len(packed))]
    spans = [round(side / largest.scale[0]) for side in setting.crop]
    targets = [
        (np.zeros((*spans, 3), np.uint8), np.zeros(spans, np.uint8)) for _ in range(setting.batch_size)
    ]

    def one(epoch: int, position: int, index: int) -> int:
        place = largest.place(views[index][1], rng(0, epoch, index))
        for source, target in zip(views[index], targets[position]):
            window = source[place.rows, place.columns]
            np.copyto(target[: window.shape[0], : window.shape[1]], window)
        return 1

    return _in_threads(pool, one, setting)


def copy_written(stack, setting: Setting) -> Callable[[int], int]:
    """As many bytes as the finished crops have, float32 and labels, copied from warm memory to warm memory."""
    pool, shape = stack.enter_context(ThreadPoolExecutor(setting.workers)), setting.crop
    source = np.ones((3, *shape), np.float32), np.ones(shape, np.uint8)
    targets = [
        (np.zeros((3, *shape), np.float32), np.zeros(shape, np.uint8)) for _ in range(setting.batch_size)
    ]

    def one(epoch: int, position: int, index: int) -> int:
        for whole, target in zip(source, targets[position]):
            np.copyto(target, whole)
        return 1

    return _in_threads(pool, one, setting)


def _in_threads(pool, one: Callable, setting: Setting) -> Callable[[int], int]:
    """A side that calls one(epoch, position, index) for every sample, each batch shared out between the threads."""

    def side(epoch: int) -> int:
        jobs = [
            pool.submit(_each, one, epoch, part)
            for batch in _batches(setting)
            for part in _halves(setting, batch)
        ]
        return sum(job.result() for job in jobs)

    return side


def _batches(setting: Setting) -> list:
    """Indices of the samples, a batch each."""
    starts = range(0, setting.images - setting.batch_size + 1, setting.batch_size)
    return [list(range(start, start + setting.batch_size)) for start in starts]


def _halves(setting: Setting, batch: list) -> list:
    """A batch's (position, index), a part for each thread."""
    return [list(enumerate(batch))[worker :: setting.workers] for worker in range(setting.workers)]


def _each(function: Callable, epoch: int, part: list) -> int:
    return sum(function(epoch, position, index) for position, index in part)
