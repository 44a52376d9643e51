"""Crops: which are chosen, that they show what they are for, and that they hold the image's own classes."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest

from gluon_confseg.report import crops, examples
from gluon_confseg.report.crops import Box, Wanted
from gluon_confseg.report.per_image import PerImage

K = 4


def scene(seed: int, height: int = 400, width: int = 600) -> tuple:
    """(truth, prediction) of large patches; some are predicted as others, some as none, some are not labelled."""
    draws = np.random.default_rng(seed)
    patches = draws.integers(0, K, (4, 6)).astype(np.uint8)
    truth = cv2.resize(patches, (width, height), interpolation=cv2.INTER_NEAREST)
    answer = truth.copy()
    for _ in range(12):
        top, left = draws.integers(0, height - 20), draws.integers(0, width - 20)
        answer[top : top + 20, left : left + 30] = draws.integers(0, K + 1)
    answer[answer == K] = 255
    truth[:10] = 255
    return truth, answer


def unpacked(content: bytes, size: tuple) -> np.ndarray:
    """What the page's script does."""
    values = np.frombuffer(zlib.decompress(content), np.uint8).reshape(size).copy()
    for row in range(1, len(values)):
        values[row] ^= values[row - 1]
    return values


def counts_of(pairs) -> PerImage:
    found = []
    for truth, answer in pairs:
        dense = np.zeros((K, K + 1), np.int64)
        labelled = truth != 255
        np.add.at(dense, (truth[labelled], np.minimum(answer[labelled], K)), 1)
        found.append(dense)
    dense = np.array(found)
    images, rows, columns = np.nonzero(dense)
    return PerImage(len(dense), K, images, rows * (K + 1) + columns, dense[images, rows, columns])


def test_packing_gives_back_the_same_classes():
    classes = np.random.default_rng(0).integers(0, 256, (13, 17)).astype(np.uint8)
    assert np.array_equal(unpacked(crops.packed(classes), classes.shape), classes)


@pytest.mark.parametrize("seed", range(6))
def test_a_crop_holds_the_images_classes_and_counts_all_its_confusions(seed):
    truth, answer = scene(seed)
    photograph = np.random.default_rng(seed).integers(0, 256, (*truth.shape, 3)).astype(np.uint8)
    arm = counts_of([(truth, answer)])
    chosen = crops.wanted([arm], examples.pair_costs([arm]), [0])
    found = dict(crops.cut(chosen, range(len(chosen)), photograph, truth, [answer, None], K))
    assert found
    for place, crop in found.items():
        box = crop.box
        part, other = box.whole(truth), box.whole(answer)
        middle = box.step // 2
        assert np.array_equal(unpacked(crop.truth, crop.size), part[middle :: box.step, middle :: box.step])
        assert np.array_equal(
            unpacked(crop.predictions[0], crop.size), other[middle :: box.step, middle :: box.step]
        )
        assert crop.predictions[1] is None and crop.confusions[1] == []
        assert cv2.imdecode(np.frombuffer(crop.photograph, np.uint8), 1).shape[:2] == crop.size
        assert crop.size[0] <= crops.LARGEST[0] and crop.size[1] <= crops.LARGEST[1]
        brute = {
            (i, j): int(((part == i) & (other == (255 if j == K else j))).sum())
            for i in range(K)
            for j in range(K + 1)
            if i != j
        }
        assert {(i, j): n for i, j, n in crop.confusions[0]} == {pair: n for pair, n in brute.items() if n}
        pair = chosen[place].pair
        assert pair is None or brute[pair] > 0


def test_every_confusion_that_is_wanted_is_in_a_crop_of_its_image():
    truth, answer = scene(3)
    arm = counts_of([(truth, answer)])
    chosen = crops.wanted([arm], examples.pair_costs([arm]), [0])
    found = list(crops.cut(chosen, range(len(chosen)), None, truth, [answer], K))
    shown = {(i, j) for _, crop in found for i, j, _ in crop.confusions[0]}
    assert {one.pair for one in chosen if one.pair} <= shown
    assert all(crop.photograph is None for _, crop in found)


def test_the_costliest_confusion_comes_first_where_it_is_worst_then_where_it_changed():
    def of(*values) -> PerImage:
        dense = np.zeros((len(values), K, K))
        dense[:, range(K), range(K)] = 1000
        dense[:, 1, 2] = values
        dense[:, 3, 0] = 1
        return PerImage.from_matrices(dense.astype(np.int64))

    before, after = of(90, 80, 10, 0, 60), of(90, 5, 40, 0, 60)
    arms = [before, after]
    chosen = crops.wanted(arms, examples.pair_costs(arms), range(5))
    of_pair = [one.image for one in chosen if one.pair == (1, 2)]
    assert chosen[0] == Wanted(0, (1, 2)) and of_pair == [0, 1, 2, 4]
    assert [
        one.image for one in crops.wanted(arms, examples.pair_costs(arms), [2, 3]) if one.pair == (1, 2)
    ] == [2]
    assert crops.wanted(arms, examples.pair_costs(arms), []) == []


def test_nothing_is_wanted_where_nothing_is_confused():
    arm = PerImage.from_matrices(np.eye(K, dtype=np.int64)[None] * 9)
    assert crops.wanted([arm], examples.pair_costs([arm]), [0]) == []


def test_a_small_image_is_shown_whole_and_once():
    truth, answer = scene(1, 200, 300)
    arm = counts_of([(truth, answer)])
    chosen = crops.wanted([arm], examples.pair_costs([arm]), [0])
    ((_, crop),) = crops.cut(chosen, range(len(chosen)), None, truth, [answer], K)
    assert crop.box == Box(0, 0, 200, 300, 1)


def test_a_large_spot_is_shown_in_steps_and_counted_in_full():
    truth, answer = np.zeros((1024, 2048), np.uint8), np.zeros((1024, 2048), np.uint8)
    truth[100:900, 200:1800] = 1
    ((_, crop),) = crops.cut([Wanted(0, (1, 0))], [0], None, truth, [answer], K)
    assert crop.box.step > 1 and crop.confusions[0] == [[1, 0, 800 * 1600]]
    assert max(crop.size[0] / crops.LARGEST[0], crop.size[1] / crops.LARGEST[1]) <= 1


def test_the_images_that_a_run_keeps_are_those_that_show_most(monkeypatch):
    monkeypatch.setattr(examples, "MOST", 20)
    draws = np.random.default_rng(0)
    before = draws.integers(0, 9, (100, K, K)) + 500 * np.eye(K, dtype=np.int64)
    before[37, 1, 2] = 4000
    after = before.copy()
    after[37, 1, 2], after[61, 1, 2] = 0, 3000
    chosen = examples.choose([before, after], [[1, 2]], range(100))
    assert len(chosen) == 20 and chosen == sorted(set(chosen)) and {37, 61} <= set(chosen)
    assert set(examples.choose([before, after], [[1, 2]], [3, 5])) == {3, 5}
    assert examples.choose([before, after], [[1, 2]], []) == []
