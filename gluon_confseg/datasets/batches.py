"""Batches in an order, and with draws, that depend on (seed, epoch) alone; prepared ahead by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.colour import MEAN, STD, normalize
from gluon_confseg.datasets.loader import Workers
from gluon_confseg.datasets.memory import Slots
from gluon_confseg.datasets.transforms import ORDER, Augment, rng
from gluon_confseg.errors import DatasetError, RunError


class Batch(NamedTuple):
    """images (N, 3, h, w) float32; labels (N, h, w) uint8 train ids, 255 ignored; names of the N samples.

    The arrays stay as they are for as long as they are held; what is let go is used for a later batch.
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The permutation of `count` samples in one epoch."""
    return np.argsort(rng(seed, epoch, 0, purpose=ORDER).random(count), kind="stable")


class Prepared:
    """Batches that `task` fills, by worker processes or in the caller's thread."""

    def __init__(self, task: Callable, workers: int, prefetch: int):
        self._task, self._count, self._ahead = task, workers, max(workers, prefetch)
        self._slots, self._workers = Slots(), None

    def batches(self, jobs: Iterable) -> Iterator[Batch]:
        """The batch of each job, in order."""
        if self._count and not self.processes:
            self._workers = Workers(self._task, self._count)
        results = self._workers.run(jobs, self._ahead) if self._count else self._own_results(jobs)
        for (images, labels), names in results:
            yield Batch(images, labels, names)
            del images, labels  # or this frame would keep the batch after the caller has let it go

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes; new ones are started when batches are asked for."""
        if self._workers is not None:
            self._workers.close()
        self._workers = None

    @property
    def processes(self) -> list[int]:
        """Ids of the worker processes that run now."""
        return [] if self._workers is None else self._workers.processes

    def _own_results(self, jobs: Iterable) -> Iterator[tuple]:
        for job in jobs:
            memory, lent = self._slots.take(), []
            try:
                names = self._task(
                    job, lambda layout, m=memory, lent=lent: lent.append(layout) or m.arrays(layout)
                )
            except BaseException:
                self._slots.give(memory)
                raise
            yield self._slots.lend(memory, lent[0]), names


class Batches(Prepared):
    """Training batches of a data set, packed or not.

    batch_size      samples per batch; the rest of an epoch is left out, unless the epoch is smaller than a batch
    seed            with the epoch it decides order and draws
    prefetch        batches that are prepared while the caller works on one; at least one per worker
    workers         processes that prepare them, from the first epoch on until `close` or until the object is let go;
                    0: none, all in the caller's thread
    part            number of samples of a batch -> slice of those that are wanted here, where processes share a batch;
                    a `Batch` then has the images and labels of this part, and the names of all its samples
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        augment: Augment,
        batch_size: int,
        seed: int = 0,
        prefetch: int = 2,
        workers: int = 2,
        part: Callable[[int], slice] | None = None,
    ):
        if len(dataset) == 0:
            raise DatasetError("The data set has no images to train on; choose a split that has some.")
        if batch_size < 1:
            raise DatasetError(f"A batch of {batch_size} samples can't be made; choose 1 or more.")
        if workers < 0 or prefetch < 0:
            raise RunError(
                f"{workers} workers and a prefetch of {prefetch} can't be had; choose 0 or more of each."
            )
        rng(seed, 0, 0)  # a seed that can't be used is said here, not in the first epoch
        self.dataset, self.augment, self.batch_size, self.seed = dataset, augment, batch_size, seed
        self._part = part
        super().__init__(Crops(dataset, augment, seed), workers, prefetch)

    def __len__(self) -> int:
        """Batches per epoch."""
        return max(1, len(self.dataset) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from batch `start` on: the same bytes for any `start`, `workers`, `prefetch`.

        Raises the error of a sample that can't be read when its batch is asked for, and RunError where a worker died.
        """
        permutation, size = order(self.seed, epoch, len(self.dataset)).tolist(), self.batch_size
        whole = [permutation[batch * size : (batch + 1) * size] for batch in range(start, len(self))]
        if self._part is None:
            return self.batches((epoch, indices) for indices in whole)
        part = self._part(len(whole[0])) if whole else slice(0)
        parts = self.batches((epoch, indices[part]) for indices in whole)
        return (
            batch._replace(names=tuple(self.dataset.names[index] for index in indices))
            for batch, indices in zip(parts, whole)
        )


def whole_images(
    dataset: SegmentationDataset,
    prefetch: int = 2,
    workers: int = 2,
    indices: Sequence[int] | None = None,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> Iterator[Batch]:
    """Images at their own size as batches of one, for evaluation: all in their order, or those of `indices`."""
    chosen = [int(index) for index in (range(len(dataset)) if indices is None else indices)]
    task = Whole(dataset, tuple(mean), tuple(std))
    with Prepared(task, min(workers, len(chosen)), prefetch) as prepared:
        yield from prepared.batches(chosen)


class Crops:
    """Fills batches of training crops. A job: (epoch, indices of the samples)."""

    def __init__(self, dataset: SegmentationDataset, augment: Augment, seed: int):
        self.dataset, self.augment, self.seed = dataset, augment, seed

    def names(self, job) -> tuple[str, ...]:
        return tuple(self.dataset.names[index] for index in job[1])

    def __call__(self, job, allocate: Callable) -> tuple[str, ...]:
        (epoch, indices), names = job, self.names(job)
        images = None
        for position, index in enumerate(indices):
            image, mask = _read(self.dataset, index)
            place = self.augment.place(mask, rng(self.seed, epoch, index))
            size = self.augment.size(place)
            if images is None:
                images, labels = allocate(_layout(len(indices), size))
            if labels.shape[1:] != size:
                raise DatasetError(
                    f"{names[position]} is {size[1]} x {size[0]} pixels, {names[0]} in the same batch "
                    f"{labels.shape[2]} x {labels.shape[1]}; set a crop, or batches of 1."
                )
            self.augment.write(image, mask, place, images[position], labels[position])
        return names


class Whole:
    """Fills batches of one whole image. A job: its index."""

    def __init__(self, dataset: SegmentationDataset, mean: tuple[float, ...], std: tuple[float, ...]):
        self.dataset, self.mean, self.std = dataset, mean, std

    def names(self, job: int) -> tuple[str, ...]:
        return (self.dataset.names[job],)

    def __call__(self, job: int, allocate: Callable) -> tuple[str, ...]:
        image, mask = _read(self.dataset, job)
        images, labels = allocate(_layout(1, mask.shape))
        normalize(image, self.mean, self.std, out=images[0])
        labels[0] = mask
        return self.names(job)


def _read(dataset: SegmentationDataset, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A sample; of a packed one only what is looked at is read."""
    view = getattr(dataset, "view", None)
    return dataset[index] if view is None else view(index)


def _layout(count: int, size: tuple[int, ...]) -> list:
    return [((count, 3, *size), "float32"), ((count, *size), "uint8")]
