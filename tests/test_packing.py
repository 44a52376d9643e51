"""A pack holds what its data set holds, or is noticed: nothing damaged or out of date is ever read from it."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil

import numpy as np
import pytest
from layouts import make_camvid, make_cityscapes, picture, write_png

from gluon_confseg import datasets
from gluon_confseg.datasets import Augment, Batches, Packed, packing, whole_images
from gluon_confseg.datasets.packing import filling, index
from gluon_confseg.errors import DatasetError

COUNT = 5


@pytest.fixture
def dataset(tmp_path):
    """Five samples, the last of another size."""
    root = make_camvid(tmp_path / "camvid", count=COUNT - 1, height=40, width=60)
    write_png(root / "train" / "frame_900.png", picture(9, 120, 96))
    write_png(root / "trainannot" / "frame_900.png", picture(8, 120, 96)[:, :, 0] % 12)
    return datasets.CamVid(root)


@pytest.fixture
def packed(dataset, tmp_path):
    return packing.pack(dataset, tmp_path / "pack")


def same(left, right) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(a, b) for one, other in zip(left, right) for a, b in zip(one, other)
    )


def content(folder) -> dict:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != filling.LOCK}


def flip_bit(path, position: int) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 16
    path.write_bytes(damaged)


# ---- what a pack is


def test_a_pack_is_the_data_set(dataset, packed):
    assert same(packed, dataset)
    for name in (
        "classes",
        "num_class",
        "mode",
        "split",
        "names",
        "image_paths",
        "label_paths",
        "description",
        "drawn",
    ):
        assert getattr(packed, name) == getattr(dataset, name), name
    assert packed.labels is dataset.labels
    packed.check(thorough=True)


def test_a_pack_of_drawn_scenes_says_so_and_one_without_labels_is_ignored_everywhere(tmp_path):
    root = make_cityscapes(tmp_path / "city", "test")
    shutil.rmtree(root / "gtFine")
    (root / "drawn_scenes.json").write_text("{}")
    packed = packing.pack(datasets.Cityscapes(root, "test"), tmp_path / "pack")
    assert packed.drawn and "not Cityscapes" in packed.description
    assert packed.label_paths == [None] * 4 and all((mask == 255).all() for _, mask in packed)


def test_a_crop_of_a_pack_is_that_of_the_whole(dataset, packed):
    for number in range(COUNT):
        image, mask = dataset[number]
        assert packed.shape(number) == mask.shape
        window = slice(2, 7), slice(3, 11)
        found = packed.crop(number, *window)
        assert np.array_equal(found[0], image[window]) and np.array_equal(found[1], mask[window])


@pytest.mark.parametrize("workers", [0, 2])
def test_packed_batches_are_unpacked_batches(dataset, packed, workers):
    augment = Augment((30, 36), max_share=0.75, jitter=datasets.Jitter())
    sides = [
        list(Batches(dataset, augment, 2, seed=3, workers=0).epoch(1)),
        list(Batches(packed, augment, 2, seed=3, workers=workers).epoch(1)),
    ]
    assert same(*([batch[:2] for batch in side] for side in sides))
    assert [batch.names for batch in sides[0]] == [batch.names for batch in sides[1]]


def test_whole_images_of_a_pack_are_those_of_the_data_set(dataset, packed):
    sides = [[batch[:2] for batch in whole_images(side, workers=0)] for side in (dataset, packed)]
    assert same(*sides)


def test_what_a_pack_gives_may_be_written_to_and_the_pack_stays(dataset, packed):
    image, mask = packed[0]
    image[:], mask[:] = 0, 0
    assert same(packed, dataset)
    with pytest.raises(ValueError, match="read-only"):
        packed.view(0)[0][:] = 0


def test_a_pack_needs_no_source_to_be_read(dataset, packed):
    pixels = [dataset[number] for number in range(COUNT)]
    shutil.rmtree(dataset.root)
    assert same(packing.load(packed.folder), pixels)
    assert same(pickle.loads(pickle.dumps(packed)), pixels)


def test_a_finished_pack_is_opened_and_not_made_again(dataset, packed, monkeypatch):
    before = content(packed.folder)
    times = {path: path.stat().st_mtime_ns for path in packed.folder.iterdir()}
    monkeypatch.setattr(type(dataset), "__getitem__", lambda *_: pytest.fail("read a sample"))
    packing.pack(dataset, packed.folder, thorough=True)
    assert content(packed.folder) == before
    assert {path: path.stat().st_mtime_ns for path in packed.folder.iterdir()} == times


def test_moving_the_data_set_is_no_reason_to_pack_again(dataset, packed, tmp_path, monkeypatch):
    moved = datasets.CamVid(shutil.move(dataset.root, tmp_path / "elsewhere"))
    monkeypatch.setattr(type(dataset), "__getitem__", lambda *_: pytest.fail("read a sample"))
    found = packing.pack(moved, packed.folder)
    assert found.image_paths == moved.image_paths


def test_progress_and_disk_need_are_told(dataset, tmp_path):
    done, said = [], []
    packing.pack(dataset, tmp_path / "pack", progress=done.append, say=said.append)
    assert done == list(range(1, COUNT + 1))
    assert len(said) == 1 and "takes" in said[0] and "free" in said[0]
    assert (tmp_path / "pack" / "samples.bin").stat().st_size == packing.needed(dataset)


# ---- damage


def offset_of(packed, number: int) -> int:
    return packed.index.entries[number].offset


def damage_pixels(packed):
    flip_bit(packed.folder / "samples.bin", offset_of(packed, 2) + 100)
    return [2]


def damage_label(packed):
    entry = packed.index.entries[1]
    flip_bit(packed.folder / "samples.bin", entry.offset + entry.size - 1)
    return [1]


def truncate(packed):
    os.truncate(packed.folder / "samples.bin", offset_of(packed, 3) + 50)
    return [3, 4]


def empty(packed):
    (packed.folder / "samples.bin").write_bytes(b"")
    return list(range(COUNT))


def swap(packed):
    path = packed.folder / "samples.bin"
    first, second = packed.index.entries[:2]
    data = bytearray(path.read_bytes())
    one, other = (slice(entry.offset, entry.offset + entry.size) for entry in (first, second))
    data[one], data[other] = data[other], data[one]
    path.write_bytes(data)
    return [0, 1]


DAMAGES = [damage_pixels, damage_label, truncate, empty, swap]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_sample_is_an_error_that_names_it(packed, damage):
    bad = damage(packed)
    alone = packing.load(packed.folder)
    for number in range(COUNT):
        if number not in bad:
            alone.view(number)
            continue
        with pytest.raises(
            DatasetError, match=f"samples.bin: sample {packed.names[number]}.*pack the data set again"
        ):
            alone.view(number)
    with pytest.raises(DatasetError, match=packed.names[bad[0]]):
        alone.check(thorough=True)


@pytest.mark.parametrize("damage", DAMAGES)
def test_packing_again_makes_a_damaged_pack_anew_and_says_so(dataset, packed, damage):
    whole, said = content(packed.folder), []
    bad = damage(packed)
    packing.pack(dataset, packed.folder, thorough=True, say=said.append)
    assert content(packed.folder) == whole
    assert packed.names[bad[0]] in said[0] and said[0].endswith("pack the data set again. This is done now.")


def test_a_pack_that_is_too_short_is_made_anew_without_a_look_at_every_sample(dataset, packed):
    whole = content(packed.folder)
    truncate(packed)
    packing.pack(dataset, packed.folder)
    assert content(packed.folder) == whole


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_after_a_sample_was_verified_is_noticed_too(dataset, packed, workers):
    loader = Batches(Packed(packed.folder, packed.index), Augment((20, 20)), COUNT, workers=workers)
    list(loader.epoch(0))
    flip_bit(packed.folder / "samples.bin", 100)
    with pytest.raises(DatasetError, match=dataset.names[0]):
        list(loader.epoch(1))
    loader.close()


@pytest.mark.parametrize("position", [0, 20, 150, 700, -40])
def test_a_damaged_index_is_noticed_and_made_anew(dataset, packed, position):
    whole = content(packed.folder)
    path = packed.folder / "index.json"
    flip_bit(path, position)
    with pytest.raises(DatasetError, match=r"index\.json: is .*pack the data set again"):
        packing.load(packed.folder)
    packing.pack(dataset, packed.folder)
    assert content(packed.folder) == whole


@pytest.mark.parametrize("length", [0, 1, 500])
def test_a_truncated_index_is_noticed_and_made_anew(dataset, packed, length):
    whole = content(packed.folder)
    os.truncate(packed.folder / "index.json", length)
    with pytest.raises(DatasetError, match=r"index\.json: is damaged"):
        packing.load(packed.folder)
    packing.pack(dataset, packed.folder)
    assert content(packed.folder) == whole


@pytest.mark.parametrize("name", ["index.json", "samples.bin"])
def test_a_missing_file_is_noticed_and_made_anew(dataset, packed, name):
    whole = content(packed.folder)
    (packed.folder / name).unlink()
    with pytest.raises(DatasetError, match=name.replace(".", r"\.")):
        packing.load(packed.folder).view(0)
    packing.pack(dataset, packed.folder)
    assert content(packed.folder) == whole


def test_an_index_of_another_version_is_refused_and_made_anew(dataset, packed):
    whole = content(packed.folder)
    stored = json.loads(whole["index.json"])
    (packed.folder / "index.json").write_text(json.dumps({**stored, "version": 99}))
    with pytest.raises(DatasetError, match=r"version 99, not 1; pack"):
        packing.load(packed.folder)
    packing.pack(dataset, packed.folder)
    assert content(packed.folder) == whole


# ---- change


def test_a_changed_source_is_noticed_and_packed_again(dataset, packed):
    write_png(dataset.image_paths[1], picture(55, 40, 60))
    write_png(dataset.image_paths[4], picture(56, 40, 60))  # of another size now, and so is its label
    write_png(dataset.label_paths[4], picture(57, 40, 60)[:, :, 0] % 12)
    said = []
    assert same(packing.pack(dataset, packed.folder, say=said.append), dataset)
    assert "was packed from other files" in said[0]


def test_more_and_fewer_samples_are_noticed(dataset, packed):
    for path in (dataset.image_paths[0], dataset.label_paths[0]):
        path.unlink()
    fewer = datasets.CamVid(dataset.root)
    assert same(packing.pack(fewer, packed.folder), fewer) and len(fewer) == COUNT - 1


def test_labels_that_are_read_by_other_rules_are_packed_again(tmp_path):
    raw = datasets.Cityscapes(make_cityscapes(tmp_path / "city"), "val")
    packing.pack(raw, tmp_path / "pack")
    for path in raw.label_paths:
        train_ids = path.with_name(path.name.replace("labelIds", "labelTrainIds"))
        shutil.copy2(path, train_ids)
        write_png(train_ids, np.full((8, 16), 3, np.uint8))
    trained = datasets.Cityscapes(raw.root, "val", "labelTrainIds")
    assert all((mask == 3).all() for _, mask in packing.pack(trained, tmp_path / "pack"))


# ---- interruption


class Kill(BaseException):
    """What nothing catches."""


@pytest.mark.parametrize("sync", [1, 2, 3])  # of the data, of the index, of its folder
def test_packing_that_was_killed_is_begun_anew_and_ends_with_the_same_bytes(
    monkeypatch, dataset, packed, tmp_path, sync
):
    folder, own, left = tmp_path / "again", os.fsync, [sync]

    def killing(descriptor):
        left[0] -= 1
        if left[0] == 0:
            raise Kill
        return own(descriptor)

    with monkeypatch.context() as patched, pytest.raises(Kill):
        patched.setattr(os, "fsync", killing)
        packing.pack(dataset, folder)
    if sync < 3:  # the index has its name by then, only its folder is not synced
        with pytest.raises(DatasetError, match="no finished pack"):
            packing.load(folder)
    said = []
    packing.pack(dataset, folder, say=said.append)
    assert content(folder) == content(packed.folder)
    assert ("no finished pack" in " ".join(said)) == (sync < 3)


def test_a_pack_that_is_made_anew_has_no_index_before_it_is_whole(dataset, packed, monkeypatch):
    def stop(*_):
        raise Kill

    write_png(dataset.image_paths[1], picture(55, 40, 60))
    with monkeypatch.context() as patched, pytest.raises(Kill):
        patched.setattr(type(dataset), "__getitem__", stop)
        packing.pack(dataset, packed.folder)
    with pytest.raises(DatasetError, match="no finished pack"):
        packing.load(packed.folder)


def test_a_damaged_image_ends_packing(dataset, packed, tmp_path):
    good = dataset.image_paths[3].read_bytes()
    times = dataset.image_paths[3].stat()
    flip_bit(dataset.image_paths[3], 60)
    with pytest.raises(DatasetError, match="frame_003"):
        packing.pack(dataset, tmp_path / "again")
    dataset.image_paths[3].write_bytes(good)
    os.utime(dataset.image_paths[3], ns=(times.st_atime_ns, times.st_mtime_ns))
    packing.pack(dataset, tmp_path / "again")
    assert content(tmp_path / "again") == content(packed.folder)


# ---- room


def test_too_little_disk_is_an_error_before_the_first_byte(monkeypatch, dataset, tmp_path):
    monkeypatch.setattr(filling.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 900, 100))
    with pytest.raises(
        DatasetError, match=r"packing takes .* MiB of disk, and only 0\.0 MiB are free; make room"
    ):
        packing.pack(dataset, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_a_disk_that_runs_full_all_the_same_is_one_sentence(monkeypatch, dataset, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(filling.os, "posix_fallocate", full)
    with pytest.raises(DatasetError, match="No space left"):
        packing.pack(dataset, tmp_path / "pack")


def test_a_folder_that_another_process_packs_is_left_alone(dataset, tmp_path):
    (tmp_path / "pack").mkdir()
    with open(tmp_path / "pack" / filling.LOCK, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="is being packed by another process"):
            packing.pack(dataset, tmp_path / "pack")
    assert same(packing.pack(dataset, tmp_path / "pack"), dataset)


def test_the_index_says_what_it_was_made_from(dataset, packed):
    entry = index.load(packed.folder).entries[0]
    status = dataset.image_paths[0].stat()
    assert entry.sources[0] == (str(dataset.image_paths[0]), status.st_size, status.st_mtime_ns)


def test_nothing_of_a_pack_stays_mapped_or_open(packed):
    def mapped():
        with open("/proc/self/maps") as maps:
            return sum("samples.bin" in line for line in maps)

    views = [packed.view(number) for number in range(COUNT)]
    assert mapped() == COUNT
    del views
    assert mapped() == 0
