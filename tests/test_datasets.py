from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from layouts import (
    RAW_IDS,
    camvid_root,
    cityscapes_paths,
    label,
    make_camvid,
    make_cityscapes,
    picture,
    raw_png,
    write_png,
)

from gluon_confseg import datasets
from gluon_confseg.datasets import png
from gluon_confseg.labels import CITYSCAPES


def test_cityscapes_reads_all_cities_in_order_of_their_names(tmp_path):
    dataset = datasets.Cityscapes(make_cityscapes(tmp_path, cities=("bochum", "aachen")), "val")
    assert dataset.names == [
        f"{city}_{number:06d}_000019" for city in ("aachen", "bochum") for number in (0, 1)
    ]
    assert len(dataset) == len(dataset.image_paths) == len(dataset.label_paths) == 4


def test_an_item_is_the_rgb_picture_and_its_train_ids(tmp_path):
    root = make_cityscapes(tmp_path, cities=("aachen",), per_city=1)
    image, mask = datasets.Cityscapes(root, "val")[0]
    assert image.dtype == mask.dtype == np.uint8
    assert np.array_equal(image, picture(0))
    assert np.array_equal(mask, CITYSCAPES.to_train_ids(label(0, RAW_IDS + (0,))))


def test_gluoncv_names_say_the_same_as_ours(tmp_path):
    dataset = datasets.Cityscapes(make_cityscapes(tmp_path), "val")
    assert (dataset.classes, dataset.num_class, dataset.mode) == (CITYSCAPES.classes, 19, "val")
    assert (dataset.labels, dataset.num_classes, dataset.split) == (CITYSCAPES, 19, "val")


def test_iteration_ends_after_the_last_item(tmp_path):
    assert len(list(datasets.CamVid(make_camvid(tmp_path, count=3)))) == 3


def test_raw_ids_and_train_ids_give_the_same_masks(tmp_path):
    raw = datasets.Cityscapes(make_cityscapes(tmp_path / "raw"), "val")
    make_cityscapes(tmp_path / "train_ids")
    for path in sorted((tmp_path / "train_ids").glob("gtFine/*/*/*.png")):
        train_ids = CITYSCAPES.to_train_ids(png.read_label(path))
        write_png(path.with_name(path.name.replace("labelIds", "labelTrainIds")), train_ids)
        path.unlink()
    train_ids = datasets.Cityscapes(tmp_path / "train_ids", "val")
    assert (raw.label_kind, train_ids.label_kind) == ("labelIds", "labelTrainIds")
    assert all(np.array_equal(raw[i][1], train_ids[i][1]) for i in range(len(raw)))


def test_raw_ids_are_preferred_where_both_kinds_are_there_and_either_can_be_asked_for(tmp_path):
    root = make_cityscapes(tmp_path, cities=("aachen",), per_city=1)
    write_png(cityscapes_paths(root, "val", "aachen", 0, "labelTrainIds")[1], label(0, [3]))
    assert datasets.Cityscapes(root, "val").label_kind == "labelIds"
    assert (datasets.Cityscapes(root, "val", label_kind="labelTrainIds")[0][1] == 3).all()


def test_a_test_split_without_labels_is_ignored_everywhere(tmp_path):
    make_cityscapes(tmp_path, split="test")
    for path in tmp_path.glob("gtFine/test/*/*"):
        path.unlink()
    dataset = datasets.Cityscapes(tmp_path, "test")
    dataset.check()
    assert dataset.label_paths == [None] * 4
    assert dataset[0][1].shape == (8, 16) and (dataset[0][1] == 255).all()


def test_other_files_of_the_layout_and_hidden_ones_are_passed_over(tmp_path):
    root = make_cityscapes(tmp_path)
    folder = root / "gtFine" / "val" / "aachen"
    (folder / "aachen_000000_000019_gtFine_polygons.json").write_text("{}")
    write_png(folder / "aachen_000000_000019_gtFine_color.png", picture(0))
    (folder / "._aachen_000000_000019_gtFine_labelIds.png").write_bytes(b"macOS")
    (root / "leftImg8bit" / "val" / "license.txt").write_text("")
    assert len(datasets.Cityscapes(root, "val")) == 4


def test_drawn_scenes_announce_themselves_and_others_do_not(tmp_path):
    dataset = datasets.Cityscapes(make_cityscapes(tmp_path), "val")
    assert not dataset.drawn and "drawn" not in dataset.description
    (tmp_path / "drawn_scenes.json").write_text(json.dumps({"version": 1}))
    dataset = datasets.Cityscapes(tmp_path, "val")
    assert dataset.drawn
    assert dataset.description == "street scenes drawn by gluon-confseg (not Cityscapes), val: 4 images."


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_camvid_finds_any_of_its_splits_alone(tmp_path, split):
    dataset = datasets.open_dataset("camvid", make_camvid(tmp_path, split, count=2), split)
    image, mask = dataset[1]
    assert dataset.names == ["frame_000", "frame_001"]
    assert np.array_equal(image, picture(1))
    values = label(1, range(12))
    assert np.array_equal(mask, np.where(values == 11, 255, values))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("color_type", [0, 3], ids=["gray", "palette"])
def test_labels_of_few_bits_and_with_palettes_are_read_as_indices(tmp_path, depth, color_type):
    values = label(depth, range(min(2**depth, 12)), 5, 7)
    palette = np.random.RandomState(0).bytes(3 * 2**depth) if color_type == 3 else b""
    path = tmp_path / "label.png"
    path.write_bytes(raw_png(values, depth, color_type, palette))
    assert np.array_equal(png.read_label(path), values)


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_photographs_and_transparent_ones_are_read_as_rgb(tmp_path, channels):
    rgb = picture(0) if channels == 4 else np.repeat(picture(0)[:, :, :1], 3, axis=2)
    alpha = np.full(rgb.shape[:2] + (1,), 7, np.uint8)
    stored = (
        np.concatenate([alpha, rgb], axis=2) if channels == 4 else rgb[:, :, 0]
    )  # write_png reverses to BGRA
    assert np.array_equal(png.read_image(write_png(tmp_path / "image.png", stored)), rgb)


def test_bytes_after_the_end_of_a_picture_do_no_harm(tmp_path):
    path = write_png(tmp_path / "image.png", picture(0))
    path.write_bytes(path.read_bytes() + b"a note by some tool")
    assert np.array_equal(png.read_image(path), picture(0))
    assert png.peek(path).size == "16 x 8"


def test_a_sound_data_set_passes_both_checks_and_reports_progress(tmp_path):
    dataset, seen = datasets.CamVid(make_camvid(tmp_path, count=3)), []
    dataset.check(progress=seen.append)
    dataset.check(thorough=True, progress=seen.append)
    assert seen == [1, 2, 3, 1, 2, 3]


def test_reading_data_needs_no_mxnet():
    code = "import sys, gluon_confseg.datasets; sys.exit('mxnet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_camvid_photographs_are_complete_and_sound():
    root = camvid_root()
    train, val = (datasets.open_dataset("camvid", root, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (367, 101)
    train.check()
    image, mask = val[50]
    assert image.shape == (360, 480, 3) and mask.shape == (360, 480)
    assert set(np.unique(mask)) <= {*range(11), 255}
