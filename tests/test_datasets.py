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
    make_custom,
    make_voc,
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
    assert png.peek(path)[:2] == (16, 8)


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


# --- Cityscapes in its other forms


def test_coarse_labels_are_read_for_their_images(tmp_path):
    make_cityscapes(tmp_path, "train_extra", labels="gtCoarse")
    make_cityscapes(tmp_path, "train", labels="gtCoarse", seed=50)
    extra = datasets.open_dataset("cityscapes", tmp_path, "train_extra")
    coarse = datasets.open_dataset("cityscapes", tmp_path, "train", annotation="coarse")
    assert (extra.annotation, len(extra), len(coarse)) == ("coarse", 4, 4)
    assert np.array_equal(coarse[0][1], CITYSCAPES.to_train_ids(label(50, RAW_IDS + (0,))))
    assert "coarse" in coarse.description and extra.label_paths[0].name.endswith("_gtCoarse_labelIds.png")


def test_coarse_train_ids_are_read_too(tmp_path):
    image, labels = cityscapes_paths(tmp_path, "train_extra", "ulm", 0, "labelTrainIds", "gtCoarse")
    write_png(image, picture(0))
    write_png(labels, label(0, [3, 255]))
    assert np.array_equal(datasets.Cityscapes(tmp_path, "train_extra")[0][1], label(0, [3, 255]))


def test_blurred_images_are_found_and_can_be_asked_for(tmp_path):
    make_cityscapes(tmp_path, images="leftImg8bit_blurred")
    dataset = datasets.Cityscapes(tmp_path, "val")
    assert dataset.images == "leftImg8bit_blurred" and "blurred" in dataset.description
    assert np.array_equal(dataset[0][0], picture(0)) and dataset.names[0] == "aachen_000000_000019"
    make_cityscapes(tmp_path, seed=70)
    assert datasets.Cityscapes(tmp_path, "val").images == "leftImg8bit"
    assert np.array_equal(
        datasets.Cityscapes(tmp_path, "val", images="leftImg8bit_blurred")[0][0], picture(0)
    )


def test_what_does_not_pair_can_be_left_out_and_is_then_listed(tmp_path):
    root = make_cityscapes(tmp_path)
    cityscapes_paths(root, "val", "aachen", 1)[1].unlink()
    dataset = datasets.Cityscapes(root, "val", strict=False)
    assert len(dataset) == 3 and len(dataset.alone) == 1 and "aachen_000001" in dataset.alone[0]


# --- others' tools


@pytest.fixture(params=["cityscapes", "camvid", "voc", "custom"])
def any_dataset(request, tmp_path):
    make = {"cityscapes": make_cityscapes, "camvid": make_camvid, "voc": make_voc, "custom": make_custom}
    make[request.param](tmp_path)
    split = "val" if request.param == "cityscapes" else "train"
    return datasets.open_dataset(request.param, tmp_path, split)


def test_items_are_uint8_pictures_and_masks_of_one_size(any_dataset):
    for image, mask in any_dataset:
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == (*mask.shape, 3)
        assert set(np.unique(mask)) <= {*range(any_dataset.num_class), 255}


def test_gluoncvs_metric_and_loader_give_what_ours_give(any_dataset):
    import mxnet as mx
    from gluoncv.data.segbase import ms_batchify_fn
    from gluoncv.utils.metrics import SegmentationMetric

    from gluon_confseg.metrics import ConfusionMatrix

    count, view = any_dataset.num_class, any_dataset.for_gluoncv()
    theirs, ours = SegmentationMetric(view.num_class), ConfusionMatrix(count)
    loader = mx.gluon.data.DataLoader(view, 2, batchify_fn=ms_batchify_fn, last_batch="keep")
    seen = 0
    for images, masks in loader:
        for image, mask in zip(images, masks):
            scores = np.random.RandomState(seen).rand(1, count, *mask.shape)
            theirs.update([mask.expand_dims(0)], [mx.nd.array(scores)])
            ours.update(any_dataset[seen][1][None], scores.argmax(1))
            assert image.shape == (*mask.shape, 3) and mask.dtype == np.int32
            seen += 1
    assert seen == len(any_dataset)
    assert theirs.get()[0] == pytest.approx(np.trace(ours.counts) / ours.counts.sum())
    iou = np.nan_to_num(ours.iou())  # theirs counts a class that occurs nowhere as 0
    assert theirs.get()[1] == pytest.approx(iou.mean())


def test_mxnets_loader_takes_the_data_set_as_it_is(tmp_path):
    import mxnet as mx

    loader = mx.gluon.data.DataLoader(datasets.CamVid(make_camvid(tmp_path, count=4)), 2)
    batches = [(images.shape, masks.shape) for images, masks in loader]
    assert batches == [((2, 8, 16, 3), (2, 8, 16))] * 2


def test_gluoncvs_view_transforms_images_and_names_what_has_no_label(tmp_path):
    make_cityscapes(tmp_path, split="test")
    for path in tmp_path.glob("gtFine/test/*/*"):
        path.unlink()
    view = datasets.Cityscapes(tmp_path, "test").for_gluoncv(transform=lambda image: image.shape)
    assert view[0] == ((8, 16, 3), "aachen_000000_000019")
    assert (view.mode, view.NUM_CLASS, view.classes) == ("test", 19, CITYSCAPES.classes)
