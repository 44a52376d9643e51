"""Laws of the drawn street scenes: the same bytes everywhere, all classes, the Cityscapes layout."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest

from gluon_confseg import scenes
from gluon_confseg.datasets import Cityscapes
from gluon_confseg.errors import DatasetError
from gluon_confseg.scenes import ids
from gluon_confseg.scenes.dice import Dice

IMAGE_SHA256 = "bbe0fc30b688d6e6e769ca9cf721830f52088e53158ad67dde7ac48ae3574736"
LABEL_SHA256 = "8982849672a8c1ffb438a193faa37726d7f158e908d24f70544cdcffce660a7a"
IGNORED = {ids.UNLABELED, ids.EGO_VEHICLE, ids.OUT_OF_ROI, ids.STATIC, ids.DYNAMIC, ids.GUARD_RAIL}
SMALL = (128, 64)


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def draw_small(root, **changes):
    return scenes.draw(root, **{"train": 3, "val": 2, "size": SMALL, "seed": 5, **changes})


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*.png")}


@pytest.fixture(scope="module")
def forty():
    return [scenes.scene(0, index, 256, 128) for index in range(40)]


def test_a_scene_has_the_same_bytes_on_every_machine():
    image, labels = scenes.scene(1, 3, 256, 128)
    assert (sha256(image), sha256(labels)) == (IMAGE_SHA256, LABEL_SHA256)


def test_a_scene_depends_on_nothing_drawn_before_it():
    before = scenes.scene(2, 7, *SMALL)
    scenes.scene(3, 1, *SMALL)
    for one, other in zip(before, scenes.scene(2, 7, *SMALL)):
        np.testing.assert_array_equal(one, other)


def test_seeds_and_indices_give_different_scenes():
    drawn = {sha256(scenes.scene(seed, index, *SMALL)[0]) for seed in (0, 1) for index in (0, 1)}
    assert len(drawn) == 4


@pytest.mark.parametrize("size", [(512, 256), (96, 64), (333, 177)])
def test_a_scene_has_the_size_that_was_asked_for(size):
    image, labels = scenes.scene(0, 0, *size)
    assert image.shape == (size[1], size[0], 3) and labels.shape == (size[1], size[0])
    assert image.dtype == labels.dtype == np.uint8


def test_forty_scenes_hold_every_class_and_nothing_but_raw_cityscapes_ids(forty):
    found = set(np.unique(np.concatenate([labels.ravel() for _, labels in forty])).tolist())
    assert found >= set(ids.TRAINED) | {ids.UNLABELED, ids.EGO_VEHICLE, ids.OUT_OF_ROI}
    assert found <= set(ids.TRAINED) | IGNORED


def test_classes_are_as_unbalanced_as_in_streets(forty):
    counts = sum(np.bincount(labels.ravel(), minlength=256) for _, labels in forty)
    common = [ids.ROAD, ids.BUILDING, ids.VEGETATION, ids.SKY, ids.CAR]
    rare = sorted(set(ids.TRAINED) - set(common) - {ids.SIDEWALK, ids.TERRAIN, ids.PERSON})
    assert counts.argmax() == ids.ROAD
    assert counts[common].min() > 2 * counts[rare].max()
    assert counts[ids.ROAD] > 50 * counts[rare].min()


def test_roads_lie_below_the_sky(forty):
    for _, labels in forty:
        road, sky = np.nonzero(labels == ids.ROAD)[0], np.nonzero(labels == ids.SKY)[0]
        assert sky.size == 0 or sky.mean() < road.mean()


def test_noise_does_not_depend_on_the_byte_order_or_on_the_draws_that_were_stored():
    one, other = Dice(4, 2), Dice(4, 2)
    np.testing.assert_array_equal(one.noise(3, 5), other.noise(15).reshape(3, 5))
    assert [one.whole(0, 9) for _ in range(600)] == [other.whole(0, 9) for _ in range(600)]


def test_dice_stay_within_their_bounds():
    dice = Dice(1)
    assert {dice.whole(-1, 2) for _ in range(200)} == {-1, 0, 1, 2}
    assert all(2.0 <= dice.real(2.0, 3.0) < 3.0 for _ in range(200))
    assert {dice.weighted({"often": 3, "never": 0}) for _ in range(50)} == {"often"}


def test_a_drawn_set_is_read_as_cityscapes_and_says_that_it_was_drawn(tmp_path):
    draw_small(tmp_path)
    for split, count, first in (("train", 3, 0), ("val", 2, 500000)):
        data = Cityscapes(tmp_path, split)
        assert data.drawn and "not Cityscapes" in data.description and len(data) == count
        np.testing.assert_array_equal(data[1][0], scenes.scene(5, first + 1, *SMALL)[0])
        assert set(np.unique(data[1][1]).tolist()) <= set(range(19)) | {255}


def test_label_files_hold_the_raw_ids_of_the_scene(tmp_path):
    draw_small(tmp_path)
    path = tmp_path / "gtFine" / "train" / "drawn" / "drawn_000002_000019_gtFine_labelIds.png"
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, scenes.scene(5, 2, *SMALL)[1])


def test_the_splits_share_no_scene_and_do_not_depend_on_each_other(tmp_path):
    draw_small(tmp_path / "few")
    draw_small(tmp_path / "many", train=5)
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert few.items() <= many.items()
    assert len({hashlib.sha256(content).digest() for content in many.values()}) == len(many)


def test_a_complete_set_is_left_alone(tmp_path, monkeypatch):
    draw_small(tmp_path)
    monkeypatch.setattr("gluon_confseg.scenes.writer.scene", lambda *_: pytest.fail("drawn again"))
    assert draw_small(tmp_path) == tmp_path


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not(tmp_path):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    draw_small(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        draw_small(tmp_path / "stopped", progress=stop)
    assert len(contents(tmp_path / "stopped")) == 4
    calls = []
    draw_small(tmp_path / "stopped", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_other_parameters_replace_what_was_drawn(tmp_path):
    draw_small(tmp_path)
    before = contents(tmp_path)
    draw_small(tmp_path, train=1, seed=6)
    after = contents(tmp_path)
    assert len(after) == 6 and not set(before.values()) & set(after.values())
    assert json.loads((tmp_path / "drawn_scenes.json").read_text())["seed"] == 6


def test_nothing_is_drawn_into_a_data_set_that_was_not_drawn(tmp_path):
    picture = tmp_path / "leftImg8bit" / "train" / "aachen" / "aachen_000000_000019_leftImg8bit.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a photograph")
    with pytest.raises(DatasetError, match="choose an empty folder"):
        draw_small(tmp_path)
    assert list(contents(tmp_path).values()) == [b"a photograph"]


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatasetError, match="file"):
        draw_small(tmp_path / "file")
