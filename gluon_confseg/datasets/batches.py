"""Batches in an order, and with draws, that depend on (seed, epoch) alone; prepared ahead by threads.

Threads, not processes: OpenCV, zlib and NumPy release the GIL while they decode, resize and normalise, nothing is
copied between processes, no random state is shared, and an error arrives where the batch is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.transforms import ORDER, Augment, normalize, rng
from gluon_confseg.errors import DatasetError


class Batch(NamedTuple):
    """images (N, 3, h, w) float32; labels (N, h, w) uint8 train ids, 255 ignored; names of the N samples."""

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The permutation of `count` samples in one epoch."""
    return np.argsort(rng(seed, epoch, 0, purpose=ORDER).random(count), kind="stable")


class Batches:
    """Training batches of a data set.

    batch_size      samples per batch; the rest of an epoch is left out, unless the epoch is smaller than a batch
    seed            with the epoch it decides order and draws
    prefetch        batches that are prepared while the caller works on one
    workers         threads that prepare them; 0: none, all in the caller's thread
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        augment: Augment,
        batch_size: int,
        seed: int = 0,
        prefetch: int = 2,
        workers: int = 2,
    ):
        if len(dataset) == 0:
            raise DatasetError("The data set has no images to train on; choose a split that has some.")
        if batch_size < 1:
            raise DatasetError(f"A batch of {batch_size} samples can't be made; choose 1 or more.")
        rng(seed, 0, 0)  # a seed that can't be used is said here, not in the first epoch
        self.dataset, self.augment, self.batch_size, self.seed = dataset, augment, batch_size, seed
        self.prefetch, self.workers = prefetch, workers

    def __len__(self) -> int:
        """Batches per epoch."""
        return max(1, len(self.dataset) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from batch `start` on: the same bytes for any `start`, `workers`, `prefetch`.

        Raises the error of a sample that can't be read when its batch is asked for.
        """
        permutation = order(self.seed, epoch, len(self.dataset))
        jobs = (
            partial(self._batch, epoch, self._indices(permutation, batch))
            for batch in range(start, len(self))
        )
        return in_order(jobs, self.workers, self.prefetch)

    def _indices(self, permutation: np.ndarray, batch: int) -> list[int]:
        return [int(i) for i in permutation[batch * self.batch_size : (batch + 1) * self.batch_size]]

    def _batch(self, epoch: int, indices: list[int]) -> Batch:
        samples = [self.augment(*self.dataset[index], rng(self.seed, epoch, index)) for index in indices]
        names = tuple(self.dataset.names[index] for index in indices)
        for name, (_, mask) in zip(names, samples):
            if mask.shape != samples[0][1].shape:
                raise DatasetError(
                    f"{name} is {mask.shape[1]} x {mask.shape[0]} pixels, {names[0]} in the same batch "
                    f"{samples[0][1].shape[1]} x {samples[0][1].shape[0]}; set a crop, or batches of 1."
                )
        images, masks = zip(*samples)
        return Batch(np.stack(images), np.stack(masks), names)


def whole_images(dataset: SegmentationDataset, prefetch: int = 2, workers: int = 2) -> Iterator[Batch]:
    """Every image at its own size and in the data set's order, as batches of one, for evaluation."""

    def read(index: int) -> Batch:
        image, mask = dataset[index]
        return Batch(normalize(image)[None], mask[None], (dataset.names[index],))

    return in_order((partial(read, index) for index in range(len(dataset))), workers, prefetch)


def in_order(jobs: Iterable[Callable], workers: int, prefetch: int) -> Iterator:
    """Results of `jobs` in their order, while threads work on the next `prefetch` (at least one per thread) of them.

    When the caller stops early, or a job fails, the rest is cancelled.
    """
    if workers == 0:
        for job in jobs:
            yield job()
        return
    pool, pending = ThreadPoolExecutor(workers, thread_name_prefix="batches"), deque()
    try:
        for job in jobs:
            pending.append(pool.submit(job))
            if len(pending) > max(prefetch, workers):
                yield pending[0].result()
                pending.popleft()
        while pending:
            yield pending[0].result()
            pending.popleft()
    finally:
        for future in pending:
            future.cancel()
        pool.shutdown(wait=True)
