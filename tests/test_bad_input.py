"""Each fault of a data set is one DatasetError: a sentence that names the file and says what to do."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import layouts
import numpy as np
import pytest
from layouts import cityscapes_paths, label, make_camvid, make_cityscapes, picture, raw_png, write_png

from gluon_confseg import datasets
from gluon_confseg.datasets import mat, png
from gluon_confseg.errors import ConfSegError, DatasetError


def sentence(action) -> str:
    """The message of the DatasetError that `action` raises: no other type, one line, a full sentence."""
    with pytest.raises(DatasetError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message and message[-1] in ".?" and len(message.split()) > 8
    return message


def test_errors_of_data_sets_are_errors_of_the_package():
    assert issubclass(DatasetError, ConfSegError)


# --- folders


@pytest.mark.parametrize(
    "name, wanted",
    [("cityscapes", "the folder that holds leftImg8bit/"), ("camvid", "the folder that holds train/")],
)
@pytest.mark.parametrize("split", ["train", "val", "test"])
class TestFolders:
    def test_no_such_folder(self, tmp_path, name, wanted, split):
        message = sentence(lambda: datasets.open_dataset(name, tmp_path / "nowhere", split))
        assert str(tmp_path / "nowhere") in message and "no such folder" in message and wanted in message

    def test_no_folder_given(self, name, wanted, split):
        for nothing in (None, ""):
            assert wanted in sentence(lambda nothing=nothing: datasets.open_dataset(name, nothing, split))

    def test_an_archive_instead_of_a_folder(self, tmp_path, name, wanted, split):
        archive = tmp_path / "data.zip"
        archive.write_bytes(b"PK")
        message = sentence(lambda: datasets.open_dataset(name, archive, split))
        assert str(archive) in message and "unpack" in message and wanted in message

    def test_a_folder_of_something_else(self, tmp_path, name, wanted, split):
        write_png(tmp_path / "holiday.png", picture(0))
        message = sentence(lambda: datasets.open_dataset(name, tmp_path, split))
        assert (
            str(tmp_path) in message
            and "is not the" in message
            and "looked for" in message
            and wanted in message
        )

    def test_folders_of_the_layout_without_files(self, tmp_path, name, wanted, split):
        for folder in (f"leftImg8bit/{split}", f"gtFine/{split}", split, f"{split}annot"):
            (tmp_path / folder).mkdir(parents=True)
        message = sentence(lambda: datasets.open_dataset(name, tmp_path, split))
        assert str(tmp_path) in message and "holds no" in message and wanted in message


def test_an_unknown_data_set_and_an_unknown_split_are_answered_with_the_known_ones(tmp_path):
    assert "cityscapes, camvid" in sentence(lambda: datasets.open_dataset("ade20k", tmp_path, "train"))
    assert "train, val, test" in sentence(lambda: datasets.open_dataset("cityscapes", tmp_path, "trainval"))
    assert "train, val, test" in sentence(lambda: datasets.open_dataset("camvid", tmp_path, "trainval"))
    assert "labelIds" in sentence(lambda: datasets.Cityscapes(tmp_path, "val", label_kind="color"))


def test_what_was_looked_for_is_said(tmp_path):
    message = sentence(lambda: datasets.Cityscapes(tmp_path, "val"))
    assert "there is no folder leftImg8bit/val" in message
    assert (
        "leftImg8bit/val/CITY/*_leftImg8bit.png" in message
        and "gtFine/val/CITY/*_gtFine_labelIds.png" in message
    )


@pytest.mark.parametrize("wrong", ["..", "leftImg8bit", "leftImg8bit/val"])
def test_a_root_one_step_too_high_or_too_low_is_answered_with_the_right_one(tmp_path, wrong):
    root = make_cityscapes(tmp_path / "here" / "data")
    assert f"Did you mean {root.resolve()}?" in sentence(lambda: datasets.Cityscapes(root / wrong, "val"))


def test_a_missing_split_of_camvid_names_those_that_are_there(tmp_path):
    make_camvid(tmp_path, "train", 1)
    make_camvid(tmp_path, "val", 1)
    message = sentence(lambda: datasets.CamVid(tmp_path, "test"))
    assert "no CamVid split test" in message and "train, val" in message and "Did you mean" not in message


def test_images_whose_labels_are_not_unpacked(tmp_path):
    shutil.rmtree(make_cityscapes(tmp_path) / "gtFine")
    assert "there is no folder gtFine/val" in sentence(lambda: datasets.Cityscapes(tmp_path, "val"))


# --- pairs


def test_an_image_without_label_and_a_label_without_image_are_named_at_once(tmp_path):
    root = make_cityscapes(tmp_path)
    image, lost_label = cityscapes_paths(root, "val", "aachen", 1)
    lost_image, lonely_label = cityscapes_paths(root, "val", "bochum", 0)
    lost_label.unlink()
    lost_image.unlink()
    message = sentence(lambda: datasets.Cityscapes(root, "val"))
    for path in (image, lost_label, lost_image, lonely_label):
        assert str(path.relative_to(root)) in message
    assert str(root) in message and "add what is missing" in message


@pytest.mark.parametrize("folder, kind", [("trainannot", "image"), ("train", "label")])
def test_camvid_names_what_is_alone(tmp_path, folder, kind):
    root = make_camvid(tmp_path, count=4)
    (root / folder / "frame_002.png").unlink()
    message = sentence(lambda: datasets.CamVid(root))
    assert f"{kind} train" in message and f"{folder}/frame_002.png" in message and "frame_001" not in message


def test_five_faults_are_named_and_the_others_counted(tmp_path):
    root = make_camvid(tmp_path, count=12)
    for number in range(8):
        (root / "trainannot" / f"frame_{number:03d}.png").unlink()
    message = sentence(lambda: datasets.CamVid(root))
    assert message.count(" has no label ") == 5 and "and 3 more" in message


def test_a_missing_label_does_not_shift_the_later_pairs(tmp_path):
    """Two folders of the same length, one file of each without partner: pairing by position would be silent."""
    root = make_camvid(tmp_path, count=3)
    (root / "train" / "frame_000.png").unlink()
    (root / "trainannot" / "frame_002.png").unlink()
    message = sentence(lambda: datasets.CamVid(root))
    assert (
        "label trainannot/frame_000.png has no image" in message
        and "image train/frame_002.png has no label" in message
    )


# --- files: name of the fault -> (what is done to the label or the image, words that its sentence must have)


def keep(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * share)])


def without_end(path):
    path.write_bytes(path.read_bytes()[:-12])


def flip_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def as_jpeg(path):
    path.write_bytes(cv2.imencode(".jpg", picture(0))[1].tobytes())


def as_folder(path):
    path.unlink()
    path.mkdir()


def sound_chunks_around_half_a_picture(path):
    body = zlib.compress(b"".join(b"\0" + bytes(16) for _ in range(4)))
    whole = raw_png(np.zeros((8, 16), np.uint8), 8, 0)
    idat = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    path.write_bytes(whole[:33] + idat + whole[-12:])


def sixteen_bits(path):
    assert cv2.imwrite(str(path), np.full((8, 16), 26001, np.uint16))


FILE_FAULTS = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "only a signature": (lambda path: path.write_bytes(path.read_bytes()[:8]), "is truncated"),
    "truncated in the header": (lambda path: path.write_bytes(path.read_bytes()[:20]), "is truncated"),
    "truncated in the middle": (keep(0.5), "is truncated"),
    "truncated near the end": (keep(0.9), "is truncated"),
    "truncated by its last chunk": (without_end, "is truncated"),
    "truncated by a byte": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is truncated"),
    "a flipped bit": (flip_bit, "is damaged"),
    "half a picture": (sound_chunks_around_half_a_picture, "can't be decoded"),
    "another format": (as_jpeg, "is no PNG file"),
    "text": (lambda path: path.write_text("<html>not found</html>"), "is no PNG file"),
    "a folder": (as_folder, "can't be read"),
    "deleted meanwhile": (lambda path: path.unlink(), "can't be read"),
}
LABEL_FAULTS = {
    "another size": (
        lambda path: write_png(path, label(0, [7], 8, 15)),
        "the label is 15 x 8 pixels, its image 16 x 8",
    ),
    "turned": (
        lambda path: write_png(path, label(0, [7], 16, 8)),
        "the label is 8 x 16 pixels, its image 16 x 8",
    ),
    "colours": (lambda path: write_png(path, picture(0)), "its pixels are RGB colours"),
    "16 bits": (sixteen_bits, "16-bit"),
}
SEEN_BY_PEEK = [
    fault for fault in (*FILE_FAULTS, *LABEL_FAULTS) if fault not in ("a flipped bit", "half a picture")
]


@pytest.mark.parametrize("fault", FILE_FAULTS)
@pytest.mark.parametrize("which", ["image", "label"])
def test_a_faulty_file_is_named_with_a_remedy(tmp_path, capfd, fault, which):
    root = make_camvid(tmp_path, count=2)
    path = root / ("train" if which == "image" else "trainannot") / "frame_001.png"
    dataset = datasets.CamVid(root)
    damage, words = FILE_FAULTS[fault]
    damage(path)
    message = sentence(lambda: dataset[1])
    assert message.startswith(f"{path}: ") and words in message
    assert "again" in message or "permissions" in message
    assert dataset[0][0].shape == (8, 16, 3)
    if fault != "half a picture":  # OpenCV's decoder has its say on what is not told from the chunks
        assert capfd.readouterr().err == ""


@pytest.mark.parametrize("fault", LABEL_FAULTS)
@pytest.mark.parametrize("name", ["cityscapes", "camvid"])
def test_a_label_of_the_wrong_kind_is_named_with_a_remedy(tmp_path, fault, name):
    root = (
        make_camvid(tmp_path, "val", 1) if name == "camvid" else make_cityscapes(tmp_path, "val", ("ulm",), 1)
    )
    path = (
        root / "valannot" / "frame_000.png"
        if name == "camvid"
        else cityscapes_paths(root, "val", "ulm", 0)[1]
    )
    dataset = datasets.open_dataset(name, root, "val")
    damage, words = LABEL_FAULTS[fault]
    damage(path)
    message = sentence(lambda: dataset[0])
    assert message.startswith(f"{path}: ") and words in message


@pytest.mark.parametrize("fault", SEEN_BY_PEEK)
def test_the_quick_check_says_what_reading_would_say(tmp_path, fault):
    root = make_camvid(tmp_path, count=2)
    dataset = datasets.CamVid(root)
    {**FILE_FAULTS, **LABEL_FAULTS}[fault][0](root / "trainannot" / "frame_001.png")
    assert sentence(dataset.check) == sentence(lambda: dataset[1])


@pytest.mark.parametrize("seed", range(5))
def test_no_cut_of_a_photograph_goes_unnoticed(tmp_path, seed):
    path = write_png(tmp_path / "photo.png", picture(seed, 40, 60))
    whole = path.read_bytes()
    for length in np.random.RandomState(seed).randint(0, len(whole), 20):
        path.write_bytes(whole[:length])
        assert str(path) in sentence(lambda: png.read_image(path))
        assert str(path) in sentence(lambda: png.peek(path))


@pytest.mark.parametrize("seed", range(5))
def test_no_flipped_bit_goes_unnoticed(tmp_path, seed):
    path = write_png(tmp_path / "photo.png", picture(seed, 10, 12))
    whole = path.read_bytes()
    for bit in np.random.RandomState(seed).randint(0, 8 * len(whole), 50):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        assert str(path) in sentence(lambda: png.read_image(path))


def test_the_checks_name_all_faulty_files_at_once(tmp_path):
    root = make_camvid(tmp_path, count=9)
    dataset = datasets.CamVid(root)
    for number in range(7):
        keep(0.5)(root / "train" / f"frame_{number:03d}.png")
    for thorough in (False, True):
        message = sentence(lambda thorough=thorough: dataset.check(thorough))
        assert message.startswith("7 of 9 items are faulty") and "and 2 more" in message
        assert all(str(root / "train" / f"frame_{number:03d}.png") in message for number in range(5))


# --- values


def set_value(path: Path, value: int) -> None:
    values = np.full((8, 16), 7, np.uint8)
    values[3:, 5:] = value
    write_png(path, values)


@pytest.mark.parametrize("value", [12, 37, 254])
def test_a_value_that_is_no_camvid_class(tmp_path, value):
    root = make_camvid(tmp_path, count=1)
    path = root / "trainannot" / "frame_000.png"
    set_value(path, value)
    message = sentence(lambda: datasets.CamVid(root)[0])
    assert message.startswith(f"{path}: value {value} at row 3, column 5 is no CamVid class (0-11)")
    assert sentence(lambda: datasets.CamVid(root).check(thorough=True)) == message


@pytest.mark.parametrize("value", [34, 100, 254])
def test_a_value_that_is_no_raw_cityscapes_id(tmp_path, value):
    root = make_cityscapes(tmp_path)
    path = cityscapes_paths(root, "val", "aachen", 0)[1]
    set_value(path, value)
    message = sentence(lambda: datasets.Cityscapes(root, "val")[0])
    assert message.startswith(f"{path}: value {value} at row 3, column 5 is no raw Cityscapes id (0-33)")


def test_raw_ids_where_train_ids_are_expected(tmp_path):
    root = make_cityscapes(tmp_path, cities=("ulm",), per_city=1)
    raw, train_ids = (
        cityscapes_paths(root, "val", "ulm", 0, kind)[1] for kind in ("labelIds", "labelTrainIds")
    )
    raw.rename(train_ids)
    set_value(train_ids, 26)
    message = sentence(lambda: datasets.Cityscapes(root, "val")[0])
    assert message.startswith(f"{train_ids}: value 26 at row 3, column 5 is no Cityscapes train id (0-18)")
    assert "raw ids" in message and "_gtFine_labelIds.png" in message


def test_raw_cityscapes_ids_in_another_data_set(tmp_path):
    root = make_camvid(tmp_path, count=1)
    set_value(root / "trainannot" / "frame_000.png", 26)
    assert sentence(lambda: datasets.CamVid(root)[0]).endswith("is this a raw Cityscapes label?")


def test_train_ids_where_raw_ids_are_expected(tmp_path):
    root = make_cityscapes(tmp_path, cities=("ulm",), per_city=1)
    path = write_png(cityscapes_paths(root, "val", "ulm", 0)[1], label(0, [*range(19), 255]))
    message = sentence(lambda: datasets.Cityscapes(root, "val")[0])
    assert message.startswith(f"{path}: holds 255") and "_gtFine_labelTrainIds.png" in message


@pytest.mark.parametrize("values", [[255], [0, 26, 255]], ids=["nothing but 255", "ids above 18"])
def test_255_alone_does_not_make_a_raw_label_suspect(tmp_path, values):
    root = make_cityscapes(tmp_path, cities=("ulm",), per_city=1)
    write_png(cityscapes_paths(root, "val", "ulm", 0)[1], label(0, values))
    assert set(np.unique(datasets.Cityscapes(root, "val")[0][1])) <= {13, 255}


# --- two hundred damaged inputs: 50 of each data set, drawn from a seed


def cut(path, random):
    path.write_bytes(path.read_bytes()[: random.randint(len(path.read_bytes()))])


def flip_any_bit(path, random):
    data = bytearray(path.read_bytes())
    start = 130 if path.suffix == ".mat" else 0  # a MATLAB file begins with 124 bytes of free text
    bit = random.randint(8 * start, 8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))


def noise(path, random):
    path.write_bytes(random.bytes(random.randint(1, 400)))


def link_to_itself(path, random):
    path.unlink()
    path.symlink_to(path)


def link_to_nowhere(path, random):
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def pipe(path, random):
    path.unlink()
    os.mkfifo(path)


def write_label(path, values):
    layouts.write_mat(path, values) if path.suffix == ".mat" else write_png(path, values)


def wrong_size(path, random):
    write_label(path, label(0, [1], 3 + random.randint(5), 5))


def value_out_of_range(path, random):
    old = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.suffix == ".png" else mat.read_label(path)
    values = np.ones(old.shape, np.uint8)
    values[random.randint(len(values)), random.randint(5)] = random.randint(34, 255)
    write_label(path, values)


def wrong_mode(path, random):
    if path.suffix == ".mat":
        path.write_bytes(layouts.raw_png(np.zeros((8, 16), np.uint8), 8, 0))
    else:
        assert cv2.imwrite(str(path), random.randint(300, 900, (8, 16)).astype(np.uint16))


ANY_FILE = [
    cut,
    flip_any_bit,
    noise,
    link_to_itself,
    link_to_nowhere,
    pipe,
    lambda path, random: as_folder(path),
    lambda path, random: path.write_bytes(b""),
    lambda path, random: path.unlink(),
]
LABELS_ONLY = [wrong_size, value_out_of_range, wrong_mode]
MAKE = {
    "cityscapes": lambda root: make_cityscapes(root, "train"),
    "camvid": make_camvid,
    "voc": lambda root: layouts.make_voc(root / "VOC2012", root / "benchmark_RELEASE" / "dataset"),
    "custom": lambda root: layouts.make_custom(root, colors=True),
}


@pytest.mark.parametrize("name", MAKE)
def test_fifty_damaged_inputs_are_fifty_errors_that_name_the_file(tmp_path, name, capfd):
    random, options = np.random.RandomState(list(MAKE).index(name)), {}
    MAKE[name](tmp_path / "good")
    for number in range(50):
        root = tmp_path / str(number)
        shutil.copytree(tmp_path / "good", root)
        if name == "voc":
            options = {"complete": False}
        split = "train_aug" if name == "voc" else "train"
        dataset = datasets.open_dataset(name, root, split, **options)
        index, of_label = random.randint(len(dataset)), random.randint(2)
        path = (dataset.label_paths if of_label else dataset.image_paths)[index]
        damages = [*ANY_FILE, *LABELS_ONLY] if of_label else ANY_FILE
        # JPEG has no checksums: a flipped bit may be another picture
        damages = [damage for damage in damages if damage is not flip_any_bit or path.suffix != ".jpg"]
        damages[random.randint(len(damages))](path, random)
        assert str(path) in sentence(lambda i=index, d=dataset: d[i])
        assert str(path) in sentence(lambda d=dataset: d.check(thorough=True))
        shutil.rmtree(root)
    assert "Corrupt" not in capfd.readouterr().err
