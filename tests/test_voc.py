"""PASCAL VOC with SBD: which images, whose labels, and strict reading of JPEG and MATLAB files."""

from __future__ import annotations

import io
import pickle
import warnings
import zlib
from collections import deque

import cv2
import numpy as np
import pytest
from layouts import label, make_voc, picture, voc_label, voc_size, write_jpeg, write_list, write_mat
from PIL import ImageFile
from scipy.io import savemat
from test_bad_input import sentence

from gluon_confseg import datasets
from gluon_confseg.datasets import jpeg, mat
from gluon_confseg.datasets.voc import LISTS, VOC


@pytest.fixture
def place(tmp_path):
    make_voc(tmp_path / "VOCdevkit" / "VOC2012", tmp_path / "benchmark_RELEASE" / "dataset")
    return tmp_path


def augmented(root, **options):
    return VOC(root, "train_aug", complete=False, **options)


@pytest.mark.parametrize("root", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize(
    "split, names", [("train", "a0 a1 a2"), ("val", "a3 a4"), ("trainval", "a0 a1 a2 a3 a4")]
)
def test_splits_are_those_of_its_lists_from_any_of_its_folders(place, root, split, names):
    assert datasets.open_dataset("voc", place / root, split).names == names.split()


@pytest.mark.parametrize("root", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_train_aug_is_sbd_and_voc_train_less_voc_val(place, root):
    assert augmented(place / root).names == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_an_item_is_the_photograph_and_the_indices_of_the_palette(place):
    image, mask = VOC(place, "val")[1]
    assert np.array_equal(mask, voc_label(4))
    decoded = cv2.imread(str(place / "VOCdevkit/VOC2012/JPEGImages/a4.jpg"))[:, :, ::-1]
    assert np.array_equal(image, decoded)


def test_voc_own_label_wins_where_sbd_has_one_too(place):
    masks = dict(zip(augmented(place).names, (mask for _, mask in augmented(place))))
    assert np.array_equal(masks["a1"], voc_label(1))
    assert np.array_equal(masks["b1"], label(11, range(21), *voc_size(11)))


def test_sbd_is_found_where_it_is_said_to_be(place, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "benchmark_RELEASE").rename(elsewhere)
    assert "needs SBD" in sentence(lambda: augmented(place))
    for folder in (elsewhere, elsewhere / "dataset"):
        assert len(augmented(place, sbd_root=folder)) == 6
    assert "is not SBD" in sentence(lambda: augmented(place, sbd_root=place / "VOCdevkit"))


def test_photographs_that_only_sbd_has_are_read_from_there(place):
    home, sbd = place / "VOCdevkit" / "VOC2012", place / "benchmark_RELEASE" / "dataset"
    (sbd / "img").mkdir()
    (home / "JPEGImages" / "b0.jpg").rename(sbd / "img" / "b0.jpg")
    assert augmented(place).image_paths[3] == sbd / "img" / "b0.jpg"


def test_a_train_aug_of_another_length_is_told_with_all_counts(place):
    with pytest.warns(RuntimeWarning, match="comes to 6 images, not to the 10582 .*VOC train 3 of 1464"):
        VOC(place, "train_aug")
    assert "SBD val 3 of 2857" in sentence(lambda: VOC(place, "train_aug", complete=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(augmented(place)) == 6


def full_lists(place, overlap):
    """Lists as long as the published ones; `overlap` names of SBD are in VOC train or val too."""
    home, sbd = place / "VOCdevkit" / "VOC2012", place / "benchmark_RELEASE" / "dataset"
    own = [f"v{n}" for n in range(LISTS["VOC train"] + LISTS["VOC val"])]
    other = own[::-1][:overlap] + [f"s{n}" for n in range(LISTS["SBD train"] + LISTS["SBD val"] - overlap)]
    lists = home / "ImageSets" / "Segmentation"
    write_list(lists / "train.txt", own[: LISTS["VOC train"]])
    write_list(lists / "val.txt", own[LISTS["VOC train"] :])
    write_list(sbd / "train.txt", other[: LISTS["SBD train"]])
    write_list(sbd / "val.txt", other[LISTS["SBD train"] :])


@pytest.mark.parametrize("complete", [None, True])
def test_full_lists_must_come_to_the_published_count(place, complete):
    full_lists(place, LISTS["VOC val"] + 700)
    message = sentence(lambda: VOC(place, "train_aug", complete=complete))
    assert "comes to 10670 images" in message and "SBD train 8498 of 8498" in message
    full_lists(place, LISTS["VOC val"] + 788)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # the count is right; now the files: image and label of 10,582 names, less the five that are there
        assert "and 21159 more; add what is missing" in sentence(
            lambda: VOC(place, "train_aug", complete=complete)
        )


def test_a_test_split_without_labels_is_ignored_everywhere(place):
    write_list(place / "VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt", ["b0", "b1"])
    dataset = VOC(place, "test")
    assert dataset.label_paths == [None, None] and (dataset[0][1] == 255).all()


def test_names_without_image_or_label_are_told_at_once(place):
    home, sbd = place / "VOCdevkit" / "VOC2012", place / "benchmark_RELEASE" / "dataset"
    gone = [home / "JPEGImages" / "a0.jpg", home / "SegmentationClass" / "a1.png", sbd / "cls" / "b2.mat"]
    for path in gone:
        path.unlink()
    message = sentence(lambda: augmented(place))
    assert all(path.name in message for path in gone[:2]) and "b2.mat" in message
    assert augmented(place, strict=False).names == ["a2", "b0", "b1"]


@pytest.mark.parametrize("line", ["a0", "../../etc/passwd", "a b"])
def test_a_line_that_is_no_further_name_is_told_with_its_number(place, line):
    path = write_list(place / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt", ["a0", "a1", line])
    assert f"{path}, line 3" in sentence(lambda: VOC(place, "train"))


@pytest.mark.parametrize(
    "content",
    [
        b"a0\ra1\ra2\r",
        b"\xef\xbb\xbfa0\r\na1\r\n\r\na2",
        "a0\r\na1\na2 \n".encode("utf-16"),
        b"\n\n a0\n\ta1\na2",
    ],
)
def test_a_list_has_any_line_ends_and_byte_order_mark(place, content):
    (place / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").write_bytes(content)
    assert VOC(place, "train").names == ["a0", "a1", "a2"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a0\na\x001\n", b"a0\n\x1b[31ma1\n", None])
def test_a_list_that_can_not_be_read(place, content):
    path = place / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert str(path) in sentence(lambda: VOC(place, "train"))


def test_a_folder_of_something_else_says_what_was_looked_for(tmp_path):
    message = sentence(lambda: VOC(tmp_path, "train"))
    assert "ImageSets/Segmentation" in message and "give the folder that holds" in message


def test_it_survives_pickling(place):
    dataset = pickle.loads(pickle.dumps(augmented(place)))
    assert np.array_equal(dataset[4][1], augmented(place)[4][1])


# --- MATLAB files


def test_files_that_scipy_writes_are_read_compressed_and_plain(tmp_path):
    values = label(0, range(21), 7, 9)
    for compress in (False, True):
        assert np.array_equal(mat.read_label(write_mat(tmp_path / "a.mat", values, compress)), values)


def test_no_cut_and_no_flipped_bit_of_a_compressed_file_goes_unnoticed(tmp_path):
    path = write_mat(tmp_path / "a.mat", label(0, range(21), 20, 30))
    whole, random = path.read_bytes(), np.random.RandomState(0)
    for length in random.randint(0, len(whole), 40):
        path.write_bytes(whole[:length])
        assert str(path) in sentence(lambda: mat.read_label(path))
    for bit in random.randint(8 * 128, 8 * len(whole), 60):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        assert str(path) in sentence(lambda: mat.read_label(path))


def test_flipped_bits_of_a_plain_file_are_an_error_or_a_picture_of_bytes(tmp_path):
    path = write_mat(tmp_path / "a.mat", label(0, range(21), 20, 30), compress=False)
    whole, errors = path.read_bytes(), 0
    for bit in np.random.RandomState(1).randint(0, 8 * len(whole), 300):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        try:
            assert mat.read_label(path).dtype == np.uint8
        except datasets.DatasetError as error:
            assert str(path) in str(error)
            errors += 1
    assert errors > 0


HOSTILE = {
    "another variable": {"x": np.zeros((4, 4), np.uint8)},
    "no struct": {"GTcls": np.zeros((4, 4), np.uint8)},
    "the instances": {"GTcls": {"Categories": np.array([[1]])}},
    "a cube": {"GTcls": {"Segmentation": np.zeros((2, 2, 2), np.uint8)}},
    "nothing": {"GTcls": {"Segmentation": np.zeros((0, 4), np.uint8)}},
    "text": {"GTcls": {"Segmentation": "road"}},
    "fractions": {"GTcls": {"Segmentation": np.full((2, 2), 0.5)}},
    "no numbers": {"GTcls": {"Segmentation": np.full((2, 2), np.nan)}},
    "large numbers": {"GTcls": {"Segmentation": np.full((2, 2), 256, np.int32)}},
    "cells": {"GTcls": {"Segmentation": np.array([[[1], "a"]], object)}},
    "two structs": {"GTcls": np.zeros((1, 2), [("Segmentation", object)])},
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_matlab_file_of_anything_else_is_one_error(tmp_path, content):
    path = tmp_path / "a.mat"
    savemat(path, content, do_compression=True)
    assert str(path) in sentence(lambda: mat.read_label(path))


@pytest.mark.slow
def test_a_file_that_would_unpack_to_more_than_it_may_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(mat, "_IDLE", deque())
    monkeypatch.setattr(mat, "MEMORY", 450 << 20)
    path = write_mat(tmp_path / "a.mat", np.zeros((240 << 10, 1 << 10), np.uint8))
    assert "MATLAB" in sentence(lambda: mat.read_label(path))


def test_a_reader_that_does_not_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(mat, "PATIENCE", 0.0)
    path = write_mat(tmp_path / "a.mat", np.zeros((4 << 10, 4 << 10), np.uint8))
    assert "does not end within" in sentence(lambda: mat.read_label(path))
    monkeypatch.undo()
    assert not mat.read_label(path).any()


def test_a_file_that_crashes_scipy_is_one_error_and_the_next_is_read(tmp_path):
    values = label(0, range(21), 20, 30)
    path = write_mat(tmp_path / "a.mat", values)
    mat.read_label(path)
    mat._IDLE[-1].process.kill()
    assert "crashes" in sentence(lambda: mat.read_label(path))
    assert np.array_equal(mat.read_label(path), values)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"MATLAB 7.3 MAT-file, HDF5", zlib.compress(b"MATLAB 5.0")]
)
def test_other_formats_named_mat(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    assert "MATLAB" in sentence(lambda: mat.read_label(tmp_path / "a.mat"))


# --- JPEG files


def variants(image) -> dict[str, bytes]:
    bgr, flags = image[:, :, ::-1], cv2.IMWRITE_JPEG_PROGRESSIVE
    encoded = {
        "baseline": cv2.imencode(".jpg", bgr)[1],
        "progressive": cv2.imencode(".jpg", bgr, [flags, 1])[1],
        "restarts": cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1],
        "gray": cv2.imencode(".jpg", bgr[:, :, 0])[1],
    }
    return {name: content.tobytes() for name, content in encoded.items()}


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts", "gray"])
def test_every_kind_is_read_and_no_cut_goes_unnoticed(tmp_path, capfd, kind):
    path, whole = tmp_path / "photo.jpg", variants(picture(0, 40, 60))[kind]
    path.write_bytes(whole)
    assert jpeg.read_image(path).shape == (40, 60, 3) and jpeg.peek(path)[:2] == (60, 40)
    for length in np.random.RandomState(0).randint(0, len(whole), 60):
        path.write_bytes(whole[:length])
        assert str(path) in sentence(lambda: jpeg.read_image(path))
        assert str(path) in sentence(lambda: jpeg.peek(path))
    assert capfd.readouterr().err == ""


def test_a_cut_is_noticed_where_pillow_is_told_to_load_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # GluonCV does
    path = write_jpeg(tmp_path / "photo.jpg", picture(0, 40, 60))
    path.write_bytes(path.read_bytes()[:-500])
    assert "truncated" in sentence(lambda: jpeg.read_image(path))


def test_bytes_after_the_end_of_a_photograph_do_no_harm(tmp_path):
    path = write_jpeg(tmp_path / "photo.jpg", picture(0))
    before = jpeg.read_image(path)
    path.write_bytes(path.read_bytes() + b"a preview")
    assert np.array_equal(jpeg.read_image(path), before)
    assert jpeg.peek(path)[:2] == (16, 8)


def test_a_photograph_is_not_turned_by_its_exif_orientation(tmp_path):
    from PIL import Image

    picture_file = Image.fromarray(picture(0))
    exif = picture_file.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture_file.save(buffer, "JPEG", exif=exif)
    (tmp_path / "photo.jpg").write_bytes(buffer.getvalue())
    assert jpeg.read_image(tmp_path / "photo.jpg").shape == (8, 16, 3)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"<html>", b"\xff\xd8\xff\xda\x00\x02"]
)
def test_what_is_no_photograph_is_one_error(tmp_path, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert str(path) in sentence(lambda: jpeg.read_image(path))
    assert str(path) in sentence(lambda: jpeg.peek(path))


def test_flipped_bits_of_a_photograph_are_an_error_or_a_picture_of_its_size(tmp_path):
    path, whole, errors = tmp_path / "photo.jpg", variants(picture(0, 40, 60))["baseline"], 0
    for bit in np.random.RandomState(2).randint(0, 8 * len(whole), 300):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        try:
            assert jpeg.read_image(path).ndim == 3
        except datasets.DatasetError as error:
            assert str(path) in str(error)
            errors += 1
    assert errors > 0


def test_table_5_trains_on_train_aug_and_is_scored_on_val(place):
    from gluon_confseg import recipe_files
    from gluon_confseg.cli import train

    with pytest.warns(RuntimeWarning, match="10582"):
        splits = train.open_data(recipe_files.find("table5").profile("full"), place, look=False)
    assert (splits.train.split, splits.val.split) == ("train_aug", "val")
