from __future__ import annotations

import numpy as np
import pytest

from gluon_confseg import groups, labels
from gluon_confseg.errors import DatasetError

LABEL_SPACES = list(labels.LABEL_SPACES.values())


@pytest.mark.parametrize("space", LABEL_SPACES, ids=lambda space: space.name)
def test_every_class_has_one_name_and_one_colour_of_its_own(space):
    assert len(set(space.classes)) == space.num_classes
    assert space.colors.shape == (space.num_classes, 3) and space.colors.dtype == np.uint8
    assert len({tuple(color) for color in space.colors.tolist()}) == space.num_classes


def test_sizes_of_the_spaces():
    assert [(space.name, space.num_classes) for space in LABEL_SPACES] == [
        ("cityscapes", 19),
        ("voc", 21),
        ("camvid", 11),
    ]


def test_raw_cityscapes_ids_map_to_the_official_train_ids():
    official = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12}
    official.update({26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18})
    raw = np.arange(-1, 34)
    expected = [official.get(int(raw_id), 255) for raw_id in raw]
    assert labels.CITYSCAPES.to_train_ids(raw).tolist() == expected


def test_minus_one_and_its_8_bit_form_are_both_ignored():
    assert labels.CITYSCAPES.to_train_ids(np.array([[-1, 255]])).tolist() == [[255, 255]]


def test_train_ids_and_255_map_to_themselves():
    values = np.array([*range(19), 255], np.uint8)
    assert labels.CITYSCAPES.to_train_ids(values, raw=False).tolist() == values.tolist()


def test_unlabelled_camvid_pixels_are_ignored():
    assert labels.CAMVID.to_train_ids(np.arange(12)).tolist() == [*range(11), 255]


@pytest.mark.parametrize(
    "space, raw, value",
    [
        ("cityscapes", True, 34),
        ("cityscapes", False, 19),
        ("camvid", True, 12),
        ("voc", True, 21),
        ("voc", True, 254),
    ],
)
def test_a_value_outside_the_space_is_an_error_that_names_it(space, raw, value):
    values = np.zeros((3, 4), np.int64)
    values[1, 2] = value
    with pytest.raises(DatasetError, match=rf"value {value} at \(1, 2\)"):
        labels.LABEL_SPACES[space].to_train_ids(values, raw=raw)


@pytest.mark.parametrize("value", [-2, 256, 1000])
def test_values_that_are_no_byte_do_not_wrap_around(value):
    with pytest.raises(DatasetError, match=str(value)):
        labels.CITYSCAPES.to_train_ids(np.array([7, value]))


@pytest.mark.parametrize("space", LABEL_SPACES, ids=lambda space: space.name)
def test_colours_tell_the_classes_back_and_ignored_pixels_are_black(space):
    train_ids = np.array([[*range(space.num_classes), 255]], np.uint8)
    colors = space.colorize(train_ids)
    assert colors.shape == (1, space.num_classes + 1, 3) and colors.dtype == np.uint8
    assert np.array_equal(colors[0, :-1], space.colors)
    assert colors[0, -1].tolist() == [0, 0, 0]


def test_colours_of_pascal_follow_its_colour_map():
    assert labels.VOC.colors[[0, 1, 2, 15, 20]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
    ]


def test_a_label_space_can_not_be_changed():
    with pytest.raises(ValueError):
        labels.CITYSCAPES.colors[0] = 0
    with pytest.raises(AttributeError):
        labels.CITYSCAPES.name = "other"


def test_the_papers_groups_hold_the_classes_that_table_1_names():
    named = [[labels.CITYSCAPES.classes[c] for c in group] for group in groups.PAPER["cityscapes"]]
    assert named == [
        ["building", "wall", "fence", "pole", "traffic light", "traffic sign"],
        ["car", "truck", "bus", "train"],
        ["person", "rider", "motorcycle", "bicycle"],
    ]
    assert [labels.VOC.classes[c] for c in groups.PAPER["voc"][0]] == [
        "background",
        "chair",
        "diningtable",
        "pottedplant",
        "sofa",
    ]
