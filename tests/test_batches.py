from __future__ import annotations

import numpy as np
import pytest
from layouts import camvid_root, make_camvid

from gluon_confseg import datasets
from gluon_confseg.datasets import Augment, Batches, batches, normalize, whole_images
from gluon_confseg.errors import DatasetError, RunError

CROP = Augment((6, 10))


@pytest.fixture
def dataset(tmp_path):
    return datasets.CamVid(make_camvid(tmp_path, count=11))


def same(left, right):
    left, right = list(left), list(right)
    return len(left) == len(right) and all(
        a.names == b.names and np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
        for a, b in zip(left, right)
    )


def test_a_batch_is_images_labels_and_names(dataset):
    images, labels, names = next(Batches(dataset, CROP, 4, workers=0).epoch(0))
    assert images.shape == (4, 3, 6, 10) and images.dtype == np.float32
    assert labels.shape == (4, 6, 10) and labels.dtype == np.uint8
    assert len(names) == 4 and set(names) <= set(dataset.names)


@pytest.mark.parametrize(
    "size, count, samples", [(4, 2, 8), (11, 1, 11), (1, 11, 11), (12, 1, 11), (100, 1, 11)]
)
def test_the_rest_of_an_epoch_is_left_out_unless_it_is_all_there_is(dataset, size, count, samples):
    loader = Batches(dataset, CROP, size, workers=0)
    found = list(loader.epoch(0))
    names = [name for batch in found for name in batch.names]
    assert len(loader) == len(found) == count
    assert len(names) == len(set(names)) == samples


def test_every_epoch_has_an_order_of_its_own_and_every_sample_once():
    orders = [batches.order(0, epoch, 50) for epoch in range(5)] + [batches.order(1, 0, 50)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6


def test_the_order_is_this_one_on_every_machine():
    assert batches.order(0, 0, 8).tolist() == [7, 4, 2, 6, 5, 0, 1, 3]


@pytest.mark.parametrize("workers, prefetch", [(1, 0), (2, 50), (4, 1)])
def test_neither_workers_nor_prefetch_change_a_byte(dataset, workers, prefetch):
    plain = Batches(dataset, CROP, 2, seed=3, workers=0)
    prepared = Batches(dataset, CROP, 2, seed=3, workers=workers, prefetch=prefetch)
    assert same(plain.epoch(4), prepared.epoch(4))


@pytest.mark.parametrize("start", range(7))
def test_an_epoch_from_the_middle_is_the_rest_of_the_epoch(dataset, start):
    loader = Batches(dataset, CROP, 2, seed=1, workers=int(start == 3))
    assert same(list(loader.epoch(2))[start:], loader.epoch(2, start=start))


def test_earlier_epochs_leave_no_trace_in_later_ones(dataset):
    used, fresh = (Batches(dataset, CROP, 2, workers=workers) for workers in (1, 0))
    for epoch in range(3):
        list(used.epoch(epoch))
    assert same(used.epoch(3), fresh.epoch(3))


def test_a_sample_is_drawn_anew_in_each_epoch(dataset):
    loader = Batches(dataset, CROP, 1, workers=0)
    first, second = ({batch.names[0]: batch.images for batch in loader.epoch(epoch)} for epoch in (0, 1))
    assert not any(np.array_equal(first[name], second[name]) for name in dataset.names)


def test_a_sample_does_not_depend_on_its_batch(dataset):
    single = {batch.names[0]: batch.images[0] for batch in Batches(dataset, CROP, 1, workers=0).epoch(0)}
    for batch in Batches(dataset, CROP, 5, workers=0).epoch(0):
        assert all(np.array_equal(single[name], image) for name, image in zip(batch.names, batch.images))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_sample_arrives_with_its_batch(dataset, workers):
    loader = Batches(dataset, CROP, 2, workers=workers)
    bad = dataset.names.index(list(loader.epoch(0))[2].names[1])
    dataset.image_paths[bad].write_bytes(b"")
    found = loader.epoch(0)
    next(found), next(found)
    with pytest.raises(DatasetError, match=dataset.names[bad]):
        next(found)


def test_images_of_different_sizes_need_a_crop(tmp_path):
    root = make_camvid(tmp_path, count=1)
    make_camvid(tmp_path / "other", count=2, height=9)
    for folder in ("train", "trainannot"):
        (tmp_path / "other" / folder / "frame_001.png").rename(root / folder / "frame_001.png")
    dataset = datasets.CamVid(root)
    with pytest.raises(DatasetError, match=r"frame_00.*16 x.*set a crop"):
        list(Batches(dataset, Augment(None, scale=(1, 1)), 2, workers=0).epoch(0))
    assert len(list(Batches(dataset, CROP, 2, workers=0).epoch(0))) == 1


def test_what_can_not_be_batched_is_said_at_once(dataset):
    with pytest.raises(DatasetError, match="batch of 0"):
        Batches(dataset, CROP, 0)
    with pytest.raises(RunError, match="-3"):
        Batches(dataset, CROP, 2, seed=-3)
    with pytest.raises(RunError, match="-1 workers"):
        Batches(dataset, CROP, 2, workers=-1)
    dataset.names.clear()
    with pytest.raises(DatasetError, match="no images"):
        Batches(dataset, CROP, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_whole_images_come_in_order_untouched(dataset, workers):
    found = list(whole_images(dataset, workers=workers))
    assert [batch.names[0] for batch in found] == dataset.names
    for batch, (image, mask) in zip(found, dataset):
        assert np.array_equal(batch.images[0], normalize(image)) and np.array_equal(batch.labels[0], mask)


def test_some_whole_images_are_those_asked_for_in_that_order(dataset):
    found = list(whole_images(dataset, workers=1, indices=np.array([4, 1, 4])))
    assert [batch.names[0] for batch in found] == [dataset.names[index] for index in (4, 1, 4)]
    assert np.array_equal(found[0].images, found[2].images)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_stays_as_it_is_while_it_is_held(dataset, workers):
    loader = Batches(dataset, CROP, 2, workers=workers)
    held = list(loader.epoch(0))
    copies = [batch.images.copy() for batch in held]
    view = held[0].labels[1, 2:]
    del held[0]
    list(loader.epoch(1)), list(loader.epoch(2))
    assert all(np.array_equal(batch.images, copy) for batch, copy in zip(held, copies[1:]))
    assert np.array_equal(view, next(loader.epoch(0)).labels[1, 2:])


@pytest.mark.parametrize("workers, most", [(0, 2), (1, 4)])
def test_the_memory_of_a_batch_that_is_let_go_is_used_again(dataset, workers, most):
    loader = Batches(dataset, CROP, 2, workers=workers, prefetch=2)
    places = {batch.images.ctypes.data for epoch in range(6) for batch in loader.epoch(epoch)}
    assert len(places) <= most


def test_two_epochs_at_once_do_not_mix(dataset):
    loader, plain = (Batches(dataset, CROP, 2, workers=workers) for workers in (2, 0))
    both = list(zip(loader.epoch(0), loader.epoch(1)))
    assert same([first for first, _ in both], plain.epoch(0))
    assert same([second for _, second in both], plain.epoch(1))


def test_photographs_are_the_same_for_any_number_of_workers():
    dataset = datasets.CamVid(camvid_root(), "val")
    plain, prepared = (
        Batches(dataset, Augment((240, 240)), 4, seed=7, workers=workers) for workers in (0, 1)
    )
    assert same(plain.epoch(1, start=22), prepared.epoch(1, start=22))
