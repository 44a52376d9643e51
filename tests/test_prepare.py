"""`confseg check`: every kind of fault planted in a good data set is found, all at once; a good one has none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from layouts import (
    CUSTOM_COLORS,
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
    voc_size,
    write_list,
    write_png,
    write_turned,
)

from gluon_confseg import cli
from gluon_confseg.datasets import DATASETS, Cityscapes, checks, packing, png
from gluon_confseg.datasets.checks import splits
from gluon_confseg.datasets.faults import KINDS
from gluon_confseg.labels import CITYSCAPES

PROJECT = Path(__file__).resolve().parent.parent


def good(name: str, root: Path) -> Path:
    if name == "voc":
        make_voc(root / "VOCdevkit" / "VOC2012", root / "benchmark_RELEASE" / "dataset")
    for number, split in enumerate(("train", "val")):
        if name == "cityscapes":
            make_cityscapes(root, split, seed=100 * number)
        elif name == "camvid":
            make_camvid(root, split, seed=100 * number)
        elif name == "custom":
            make_custom(root, split, seed=100 * number, colors=bool(number))
    return root


def found(name: str, root: Path, **options) -> list[tuple[str, str]]:
    """(kind, file) of every finding."""
    report = checks.check(name, root, **{"subset": True, **options})
    return [(finding.kind, finding.file) for finding in report.findings]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ["cityscapes", "camvid", "voc", "custom"])
def test_a_good_data_set_has_no_finding(tmp_path, name, deep):
    report = checks.check(name, good(name, tmp_path), subset=True, deep=deep)
    assert report.findings == [] and report.ok and "Nothing is wrong." in report.text()


# --- faults: (data set, kind, what is planted -> the file to be named, or None for a split)


def city(root, split="val", town="ulm", kind="labelIds"):
    """The image and the label of one more item, good so far."""
    image, labels = cityscapes_paths(root, split, town, 7, kind)
    write_png(image, picture(900))
    write_png(labels, label(900, RAW_IDS))
    return image, labels


def label_of_another_size(root):
    return write_png(city(root)[1], label(0, RAW_IDS, 8, 15))


def colours_in_a_label(root):
    return write_png(city(root)[1], picture(3))


def instance_ids(root):
    path = city(root)[1]
    assert cv2.imwrite(str(path), np.full((8, 16), 26001, np.uint16))
    return path


def meaningless_value(root):
    return write_png(city(root)[1], np.full((8, 16), 99, np.uint8))


def train_ids_as_raw_ids(root):
    return write_png(city(root)[1], label(0, [*range(19), 255]))


def raw_ids_as_train_ids(root):
    for path in sorted((root / "gtFine" / "val").rglob("*.png")):
        train_ids = CITYSCAPES.to_train_ids(png.read_label(path))
        write_png(path.with_name(path.name.replace("labelIds", "labelTrainIds")), train_ids)
        path.unlink()
    path = city(root, kind="labelTrainIds")[1]
    return path


def only_small_raw_ids(root):
    for path in sorted((root / "gtFine" / "val").rglob("*.png")):
        write_png(path, label(0, range(19)))


def label_lost(root):
    city(root)[1].unlink()


def image_lost(root):
    city(root)[0].unlink()


def truncated_image(root):
    path = city(root)[0]
    path.write_bytes(path.read_bytes()[:-20])
    return path


def empty_label(root):
    path = city(root)[1]
    path.write_bytes(b"")
    return path


def folder_as_image(root):
    path = city(root)[0]
    path.unlink()
    path.mkdir()
    return path


def loop_of_links(root):
    path = city(root)[0]
    path.unlink()
    path.symlink_to(path)
    return path


def pipe(root):
    path = city(root)[1]
    path.unlink()
    os.mkfifo(path)
    return path


def in_two_splits(root):
    path = city(root)[0]
    shutil.copy(sorted((root / "leftImg8bit/train").rglob("*.png"))[0], path)
    return path


def in_two_splits_encoded_anew(root):
    path = city(root)[0]
    pixels = cv2.imread(str(sorted((root / "leftImg8bit/train").rglob("*.png"))[0]))
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    return path


def twice_in_a_split(root):
    path = city(root)[0]
    shutil.copy(sorted((root / "leftImg8bit/val").rglob("*.png"))[0], path)
    return path


def another_size_than_the_rest(root):
    image, labels = city(root)
    write_png(labels, label(0, RAW_IDS, 9, 9))
    return write_png(image, picture(0, 9, 9))


def nothing_labelled(root):
    return write_png(city(root)[1], np.zeros((8, 16), np.uint8))


def a_class_nowhere(root):
    for path in (root / "gtFine").rglob("*.png"):
        values = png.read_label(path)
        values[values == 31] = 0
        write_png(path, values)


def no_validation_split(root):
    shutil.rmtree(root / "leftImg8bit" / "val")


def listed_twice(root):
    write_list(root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", ["a3", "a4", "a3"])


def listed_without_image(root):
    (root / "VOCdevkit/VOC2012/JPEGImages/b2.jpg").unlink()


def damaged_matlab_label(root):
    path = root / "benchmark_RELEASE/dataset/cls/b1.mat"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(bytes(data))
    return path


def truncated_photograph(root):
    path = root / "VOCdevkit/VOC2012/JPEGImages/a3.jpg"
    path.write_bytes(path.read_bytes()[:-9])
    return path


def raw_city_ids_in_camvid(root):
    return write_png(root / "valannot" / "frame_001.png", label(0, [23, 26]))


def a_colour_of_no_class(root):
    colors = CUSTOM_COLORS[label(0, range(4))]
    colors[2, 3] = (9, 9, 9)
    return write_png(root / "labels/val/photo 1.png", colors)


def a_palette_of_two_meanings(root):
    path = root / "labels/val/photo 1.png"
    path.write_bytes(raw_png(label(0, range(3)), 8, 3, bytes([9, 9, 9, *CUSTOM_COLORS[0], 8, 8, 8])))
    return path


def a_palette_that_speaks_against_the_values(root):
    rows = (root / "classes.csv").read_text().splitlines()
    (root / "classes.csv").write_text(
        "\n".join(f"{row},{end}" for row, end in zip(rows, ("value", 0, 1, 2, 3)))
    )
    path = root / "labels/train/photo 1.png"
    path.write_bytes(raw_png(label(0, range(3)), 8, 3, CUSTOM_COLORS[[2, 0, 1]].tobytes()))
    return path


def a_palette_read_by_colour_beside_indices(root):
    palette = CUSTOM_COLORS[[2, 0, 1]].tobytes()
    (root / "labels/train/photo 1.png").write_bytes(raw_png(label(0, range(3)), 8, 3, palette))


def a_class_called_void(root):
    (root / "classes.csv").write_text((root / "classes.csv").read_text().replace("ignore", "void"))


def a_faulty_list_of_classes(root):
    (root / "classes.csv").write_text("road,128,64,128\n")


def a_photograph_that_viewers_turn(root):
    path = root / "VOCdevkit/VOC2012/JPEGImages/a3.jpg"
    return write_turned(path, picture(3, *voc_size(3)), 3)


def an_image_of_16_bits(root):
    path = city(root)[0]
    assert cv2.imwrite(str(path), np.full((8, 16, 3), 4095, np.uint16))
    return path


FAULTS = [
    ("cityscapes", "size", label_of_another_size),
    ("cityscapes", "rgb", colours_in_a_label),
    ("cityscapes", "mode", instance_ids),
    ("cityscapes", "value", meaningless_value),
    ("cityscapes", "raw_ids", train_ids_as_raw_ids),
    ("cityscapes", "raw_ids", raw_ids_as_train_ids),
    ("cityscapes", "raw_ids", only_small_raw_ids),
    ("cityscapes", "unpaired", label_lost),
    ("cityscapes", "unpaired", image_lost),
    ("cityscapes", "unreadable", truncated_image),
    ("cityscapes", "unreadable", empty_label),
    ("cityscapes", "unreadable", folder_as_image),
    ("cityscapes", "unreadable", loop_of_links),
    ("cityscapes", "unreadable", pipe),
    ("cityscapes", "shared", in_two_splits),
    ("cityscapes", "shared", in_two_splits_encoded_anew),
    ("cityscapes", "twice", twice_in_a_split),
    ("cityscapes", "odd_size", another_size_than_the_rest),
    ("cityscapes", "unlabelled", nothing_labelled),
    ("cityscapes", "unused", a_class_nowhere),
    ("cityscapes", "layout", no_validation_split),
    ("voc", "listed", listed_twice),
    ("voc", "unpaired", listed_without_image),
    ("voc", "unreadable", damaged_matlab_label),
    ("voc", "unreadable", truncated_photograph),
    ("voc", "orientation", a_photograph_that_viewers_turn),
    ("cityscapes", "depth", an_image_of_16_bits),
    ("camvid", "raw_ids", raw_city_ids_in_camvid),
    ("custom", "value", a_colour_of_no_class),
    ("custom", "meaning", a_palette_of_two_meanings),
    ("custom", "against", a_palette_that_speaks_against_the_values),
    ("custom", "mixed", a_palette_read_by_colour_beside_indices),
    ("custom", "named", a_class_called_void),
    ("custom", "layout", a_faulty_list_of_classes),
]


@pytest.mark.parametrize("name, kind, plant", FAULTS, ids=[plant.__name__ for _, _, plant in FAULTS])
def test_a_planted_fault_is_found_and_nothing_else(tmp_path, name, kind, plant):
    root = good(name, tmp_path)
    path = plant(root)
    findings = found(name, root, deep=True)
    # a class that occurs nowhere may follow from a fault that leaves few labels
    others = [finding for finding in findings if finding[0] not in (kind, "unused")]
    assert others == [] and (kind, str(path or "")) in findings


def test_every_kind_of_fault_is_planted_here():
    assert {kind for _, kind, _ in FAULTS} | {"count"} == set(KINDS)


PLANTED_TOGETHER = {
    "size": label_of_another_size,
    "rgb": colours_in_a_label,
    "mode": instance_ids,
    "value": meaningless_value,
    "raw_ids": train_ids_as_raw_ids,
    "unpaired": label_lost,
    "unreadable": truncated_image,
    "shared": in_two_splits,
    "twice": twice_in_a_split,
    "odd_size": another_size_than_the_rest,
    "unlabelled": nothing_labelled,
}


def test_faults_of_all_kinds_at_once_are_all_listed(tmp_path, monkeypatch):
    root = good("cityscapes", tmp_path)
    for number, plant in enumerate(PLANTED_TOGETHER.values()):
        paths = cityscapes_paths(root, "val", f"town{number}", 7)
        monkeypatch.setattr(sys.modules[__name__], "city", lambda *_, paths=paths, n=number: fresh(paths, n))
        plant(root)
    a_class_nowhere_of_readable(root)
    kinds = {kind for kind, _ in found("cityscapes", root, subset=False)}
    assert kinds == {*PLANTED_TOGETHER, "count", "unused"}
    assert len(kinds) >= 12


def fresh(paths, number):
    write_png(paths[0], picture(500 + number))
    write_png(paths[1], label(500 + number, RAW_IDS))
    return paths


def a_class_nowhere_of_readable(root):
    for path in (root / "gtFine").rglob("*.png"):
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is not None and values.dtype == np.uint8 and values.ndim == 2 and values.max() < 34:
            values[values == 31] = 0
            write_png(path, values)


def test_counts_are_compared_with_the_published_ones(tmp_path, monkeypatch):
    root = good("cityscapes", tmp_path)
    report = checks.check("cityscapes", root)
    assert [finding.kind for finding in report.findings] == ["count", "count"] and not report.ok
    assert "2975 are published" in report.findings[0].message
    monkeypatch.setattr(Cityscapes, "COUNTS", {"train": 4, "val": 4})
    assert checks.check("cityscapes", root).findings == []


def test_an_image_and_its_label_are_judged_each_for_itself(tmp_path):
    root = good("camvid", tmp_path)
    (root / "val" / "frame_001.png").write_bytes(b"")
    write_png(root / "valannot" / "frame_001.png", np.full((8, 16), 99, np.uint8))
    assert [kind for kind, _ in found("camvid", root)] == ["unreadable", "value"]


def test_a_class_that_occurs_nowhere_is_found_beside_files_that_can_not_be_read(tmp_path):
    root = good("cityscapes", tmp_path)
    a_class_nowhere(root)
    image, labels = city(root)
    image.write_bytes(b"")
    write_png(labels, picture(1))
    assert [kind for kind, _ in found("cityscapes", root)] == ["unreadable", "rgb", "unused"]


@pytest.mark.parametrize("deep", [False, True])
def test_a_quick_check_reads_ends_of_all_and_pixels_of_some(tmp_path, monkeypatch, deep):
    monkeypatch.setattr(splits, "SAMPLE", 2)
    root = good("camvid", tmp_path)
    middle, last = root / "train" / "frame_002.png", root / "train" / "frame_003.png"
    data = bytearray(middle.read_bytes())
    data[len(data) // 2] ^= 4
    middle.write_bytes(bytes(data))
    last.write_bytes(last.read_bytes()[:-3])
    expected = [str(middle)] * deep + [str(last)]
    assert [file for kind, file in found("camvid", root, deep=deep)] == expected


def test_the_answer_does_not_depend_on_the_number_of_threads(tmp_path):
    root = good("cityscapes", tmp_path)
    for number in range(4):
        path = cityscapes_paths(root, "train", ("aachen", "bochum")[number // 2], number % 2)[0]
        path.write_bytes(path.read_bytes()[: -number - 1])
    one, many = (checks.check("cityscapes", root, subset=True, threads=threads) for threads in (1, 7))
    assert one == many and len(one.errors) == 4


def test_splits_that_contain_each_other_by_definition_share_images(tmp_path):
    root = good("voc", tmp_path)
    assert found("voc", root, splits=["train", "trainval", "train_aug", "val"]) == []


# --- the command


def run(capsys, *words):
    status = cli.main(["check", *map(str, words)])
    return status, *capsys.readouterr()


def test_exit_status_and_text(tmp_path, capsys):
    root = good("camvid", tmp_path)
    status, out, err = run(capsys, "camvid", root, "--subset")
    assert status == 0 and "Nothing is wrong." in out and "checking train: 5/5 items" in err
    path = root / "train" / "frame_001.png"
    path.write_bytes(b"")
    status, out, _ = run(capsys, "camvid", root, "--subset", "--split", "train")
    assert status == 1 and str(path) in out and "1 error, 0 warnings." in out


def test_warnings_alone_are_no_failure(tmp_path, capsys):
    root = good("cityscapes", tmp_path)
    twice_in_a_split(root)
    status, out, _ = run(capsys, "cityscapes", root, "--subset")
    assert status == 0 and "Warning: the same image twice in a split (1)" in out


def test_json_is_one_object_with_all_findings(tmp_path, capsys):
    root = good("custom", tmp_path)
    a_colour_of_no_class(root)
    status, out, _ = run(capsys, "custom", root, "--json", "--deep")
    answer = json.loads(out)
    assert status == 1 and not answer["ok"] and answer["deep"]
    assert [split["images"] for split in answer["splits"]] == [3, 3]
    assert [(found["kind"], found["severity"]) for found in answer["findings"]] == [("value", "error")]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path, capsys):
    status, out, err = run(capsys, "voc", tmp_path / "none")
    assert (status, out) == (1, "") and err.startswith("confseg: ") and err.count("\n") == 1
    status, _, err = run(capsys, "camvid", tmp_path, "--sbd-root", tmp_path)
    assert status == 1 and "--sbd-root is for voc" in err


def test_it_packs_what_is_good_and_nothing_else(tmp_path, capsys):
    root, folder = good("custom", tmp_path / "data"), tmp_path / "packed"
    status, out, _ = run(capsys, "custom", root, "--pack", folder)
    assert status == 0 and out.count("Packed: ") == 2
    packed, source = packing.load(folder / "val"), DATASETS["custom"](root, "val")
    assert all(np.array_equal(packed[i][1], source[i][1]) for i in range(3))
    shutil.rmtree(folder)
    a_colour_of_no_class(root)
    status, _, err = run(capsys, "custom", root, "--pack", folder)
    assert status == 1 and not folder.exists() and "nothing was packed" in err


def prepare(python, cwd: Path, *words) -> subprocess.CompletedProcess:
    """What data/prepare.py gives, called by another Python from another folder."""
    command = [*python, PROJECT / "data" / "prepare.py", *words]
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)


def test_the_script_runs_from_anywhere(tmp_path):
    done = prepare([sys.executable], tmp_path, "camvid", good("camvid", tmp_path), "--subset")
    assert done.returncode == 0 and "Nothing is wrong." in done.stdout


def test_a_python_without_packages_is_told_which_one_has_them(tmp_path):
    done = prepare([sys.executable, "-I", "-S"], tmp_path, "camvid", tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    for words in ("no numpy and no cv2", ".venv/bin/python", "make check-data", "confseg check"):
        assert words in done.stderr


def test_the_folder_may_come_from_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OWN_ROOT", str(good("custom", tmp_path)))
    assert run(capsys, "own", "--subset")[0] == 0
    monkeypatch.delenv("OWN_ROOT")
    assert "name it as ROOT, or set OWN_ROOT" in run(capsys, "own")[2]


def test_camvid_photographs_have_no_fault():
    report = checks.check("camvid", camvid_root(), ["train", "val"])
    assert report.findings == [] and [split.images for split in report.splits] == [367, 101]
