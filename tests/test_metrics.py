"""The confusion matrix against counting by hand, and the official scorer's rules."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import metrics


def draw(classes: int = 6, shape=(5, 9, 7), seed: int = 0, misses: bool = False):
    draws = np.random.RandomState(seed)
    labels, predictions = draws.randint(0, classes, (2, *shape))
    labels[draws.rand(*shape) < 0.2] = 255
    predictions[(draws.rand(*shape) < 0.1) & misses] = 255
    return labels, predictions


def matrix(labels, predictions, classes: int = 6, batch: int = 100) -> metrics.ConfusionMatrix:
    counted = metrics.ConfusionMatrix(num_classes=classes, ignore_label=255)
    for start in range(0, len(labels), batch):
        counted.update(labels[start : start + batch], predictions[start : start + batch])
    return counted


def by_hand(labels, predictions, classes: int = 6):
    """Pixel by pixel: counts, intersection over union."""
    pairs = [(int(t), int(p)) for t, p in zip(labels.ravel(), predictions.ravel()) if t != 255]
    counts = np.zeros((classes, classes), np.int64)
    for truth, predicted in pairs:
        if predicted != 255:
            counts[truth, predicted] += 1
    iou = np.full(classes, np.nan)
    for k in range(classes):
        either = sum(1 for t, p in pairs if k in (t, p))
        if either:
            iou[k] = sum(1 for t, p in pairs if t == p == k) / either
    return counts, iou


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("misses", [False, True])
def test_counts_and_iou_equal_brute_force(seed, misses):
    labels, predictions = draw(seed=seed, misses=misses)
    counted, (counts, iou) = matrix(labels, predictions), by_hand(labels, predictions)
    assert counted.counts.dtype == np.int64
    np.testing.assert_array_equal(counted.counts, counts)
    np.testing.assert_allclose(counted.iou(), iou)
    assert counted.mean_iou() == pytest.approx(np.nanmean(iou))


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_metrics_do_not_depend_on_batching(batch):
    labels, predictions = draw(misses=True)
    whole, parts = matrix(labels, predictions), matrix(labels, predictions, batch=batch)
    np.testing.assert_array_equal(whole.counts, parts.counts)
    np.testing.assert_array_equal(whole.misses, parts.misses)
    np.testing.assert_array_equal(whole.iou(), parts.iou())


def test_rows_are_truth_and_columns_prediction():
    counted = matrix(np.array([[0, 0, 1]]), np.array([[1, 1, 1]]), classes=2)
    np.testing.assert_array_equal(counted.counts, [[0, 2], [0, 1]])


def test_order_of_the_pixels_does_not_matter():
    labels, predictions = draw()
    shuffled = np.random.RandomState(1).permutation(labels.size)
    again = matrix(labels.ravel()[shuffled][None], predictions.ravel()[shuffled][None])
    np.testing.assert_array_equal(matrix(labels, predictions).counts, again.counts)


def test_predictions_under_ignored_labels_count_nowhere():
    labels, predictions = draw()
    other = np.where(labels == 255, (predictions + 1) % 6, predictions)
    np.testing.assert_array_equal(matrix(labels, predictions).counts, matrix(labels, other).counts)


def test_a_class_in_neither_truth_nor_prediction_is_left_out():
    counted = matrix(np.array([[0, 0, 1]]), np.array([[0, 0, 0]]), classes=4)
    np.testing.assert_array_equal(counted.iou(), [2 / 3, 0, np.nan, np.nan])
    assert counted.mean_iou() == pytest.approx(1 / 3)


def test_a_class_that_is_only_predicted_counts_0():
    counted = matrix(np.array([[0, 0]]), np.array([[0, 2]]), classes=3)
    np.testing.assert_array_equal(counted.iou(), [0.5, np.nan, 0])
    assert counted.mean_iou() == 0.25
    np.testing.assert_array_equal(counted.recall(), [0.5, np.nan, np.nan])


def test_a_prediction_of_255_is_a_miss():
    labels, predictions = np.array([[0, 0, 0, 1]]), np.array([[0, 0, 255, 1]])
    counted = matrix(labels, predictions, classes=2)
    np.testing.assert_array_equal(counted.counts, [[2, 0], [0, 1]])
    np.testing.assert_allclose(counted.iou(), [2 / 3, 1])
    np.testing.assert_allclose(counted.recall(), [2 / 3, 1])
    assert counted.pixel_accuracy() == 0.75


def test_nothing_counted_is_nan_and_no_error():
    empty = metrics.ConfusionMatrix(3)
    empty.update(np.full((2, 4), 255), np.zeros((2, 4), int))
    assert np.isnan(empty.iou()).all()
    assert all(np.isnan(value) for value in (empty.mean_iou(), empty.pixel_accuracy(), empty.mean_recall()))
    np.testing.assert_array_equal(empty.normalized(), np.zeros((3, 3)))


def test_counting_is_exact_beyond_2_to_the_24():
    counted = metrics.ConfusionMatrix(2)
    counted.counts[1, 0] = 2**24
    counted.update(np.array([1]), np.array([0]))
    counted.counts[0, 0] = 2**53
    counted.update(np.array([0]), np.array([0]))
    assert counted.counts[1, 0] == 2**24 + 1 and counted.counts[0, 0] == 2**53 + 1


@pytest.mark.parametrize(
    "classes, ignored", [(1, 255), (6, 255), (6, 0), (6, 3), (6, -1), (19, 200), (256, 9), (300, 255)]
)
@pytest.mark.parametrize("missing", [False, True])
def test_bytes_are_counted_as_wider_integers_are(classes, ignored, missing):
    draws = np.random.RandomState(classes)
    labels, predictions = draws.randint(0, min(classes, 256), (2, 3, 17, 23))
    if 0 <= ignored < 256:
        labels[draws.rand(*labels.shape) < 0.2] = ignored
        predictions[(draws.rand(*labels.shape) < 0.1) & (missing | (labels == ignored))] = ignored
    wanted_counts, wanted_misses = np.zeros((classes, classes), np.int64), np.zeros(classes, np.int64)
    for truth, predicted in zip(labels.ravel().tolist(), predictions.ravel().tolist()):
        if truth != ignored and predicted == ignored:
            wanted_misses[truth] += 1
        elif truth != ignored:
            wanted_counts[truth, predicted] += 1
    for dtype in (np.uint8, np.int64):
        counted = metrics.ConfusionMatrix(classes, ignored)
        for _ in range(2):
            counted.update(labels.astype(dtype), predictions.astype(dtype))
        np.testing.assert_array_equal(counted.counts, 2 * wanted_counts)
        np.testing.assert_array_equal(counted.misses, 2 * wanted_misses)


def test_values_beyond_a_byte_that_mark_no_class_are_ignored():
    for mark in (-1, -100, 256, 65535):
        counted = metrics.ConfusionMatrix(3, mark)
        counted.update(np.array([0, 1, mark, mark]), np.array([mark, 1, 2, mark]))
        np.testing.assert_array_equal(counted.counts, np.diag([0, 1, 0]))
        np.testing.assert_array_equal(counted.misses, [1, 0, 0])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (7,), (2, 5), (3, 5, 7)])
@pytest.mark.parametrize("below", [1, 5, 256])
@pytest.mark.parametrize("part", [1, 2, 3, 4, 105, 1000])
def test_pairs_of_bytes_are_counted_in_parts_of_any_size(monkeypatch, shape, below, part):
    monkeypatch.setattr(metrics, "_PART", part)
    draws = np.random.RandomState(part)
    rows, columns = draws.choice([0, 1, 3, 4, 5, 128, 255], (2, *shape)).astype(np.uint8)
    wanted = np.zeros((256, 256), np.int64)
    np.add.at(wanted, (rows, columns), 1)
    found = metrics.count_pairs(rows, columns, below)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, wanted[:, :below])


@pytest.mark.parametrize("one", [7, 255])
def test_one_batch_of_more_than_2_to_the_24_equal_pixels_is_exact(one):
    pixels = 2**24 + 2**23 + 3
    counted = metrics.ConfusionMatrix(8)
    counted.update(np.full(pixels, 7, np.uint8), np.full(pixels, one, np.uint8))
    assert counted.counts.sum() + counted.misses.sum() == pixels
    assert (counted.counts[7, 7] if one == 7 else counted.misses[7]) == pixels


def test_arrays_in_any_layout_are_counted_alike():
    labels, predictions = (array.astype(np.uint8) for array in draw(misses=True))
    wanted = matrix(labels, predictions)
    wide = np.zeros((5, 18, 14), np.uint8)
    wide[:, ::2, 1::2] = labels
    for same in (wide[:, ::2, 1::2], np.asfortranarray(labels), labels[::-1][::-1]):
        found = matrix(same, np.asfortranarray(predictions))
        np.testing.assert_array_equal(found.counts, wanted.counts)
        np.testing.assert_array_equal(found.misses, wanted.misses)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int64", "float16", "float64"])
def test_no_pixel_and_single_values_of_any_type_are_counted(dtype):
    counted = metrics.ConfusionMatrix(2)
    counted.update(np.empty((0, 4), dtype), np.empty((0, 4), dtype))
    assert not counted.counts.any()
    counted.update(np.array(1, dtype), np.array(0, dtype))
    np.testing.assert_array_equal(counted.counts, [[0, 0], [1, 0]])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize(
    "labels, predictions, named",
    [
        ([255, 0, 6, 7], [0, 9, 0, 0], "label 6 is"),
        ([255, 0, 1, 2], [9, 0, 8, 7], "prediction 8 is"),
        ([255, 254], [0, 0], "label 254 is"),
    ],
)
def test_the_first_value_outside_the_classes_is_named(dtype, labels, predictions, named):
    counted = metrics.ConfusionMatrix(6)
    with pytest.raises(ValueError, match=named):
        counted.update(np.array(labels, dtype), np.array(predictions, dtype))
    assert not counted.counts.any() and not counted.misses.any()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_ndarrays_and_arrays_of_any_integer_type_are_alike(dtype):
    labels, predictions = draw()
    wanted = matrix(labels, predictions).counts
    for make in (np.asarray, lambda a, dtype: mx.nd.array(a, dtype=dtype)):
        found = matrix(make(labels, dtype=dtype), make(predictions, dtype=dtype))
        np.testing.assert_array_equal(found.counts, wanted)


@pytest.mark.parametrize("labels, predictions, named", [([6], [0], "label 6"), ([0], [7], "prediction 7")])
def test_values_outside_the_classes_are_named(labels, predictions, named):
    with pytest.raises(ValueError, match=named):
        metrics.ConfusionMatrix(6).update(np.array(labels), np.array(predictions))


def test_a_refused_batch_counts_nothing():
    counted = metrics.ConfusionMatrix(3)
    with pytest.raises(ValueError):
        counted.update(np.array([0, 1, 1]), np.array([255, 1, 3]))
    assert not counted.counts.any() and not counted.misses.any()


def test_shapes_that_differ_and_fractions_are_refused():
    counted = metrics.ConfusionMatrix(3)
    with pytest.raises(ValueError, match="shape"):
        counted.update(np.zeros((2, 3), int), np.zeros((3, 2), int))
    for bad in (
        np.array([0.5]),
        np.array([np.nan]),
        np.array([np.inf]),
        np.array([255.5]),
        np.array(["a"]),
        np.array([1j]),
    ):
        with pytest.raises(ValueError):
            counted.update(bad, np.array([0]))


def test_normalized_rows_sum_to_1_and_rows_without_pixels_to_0():
    labels, predictions = draw(classes=6)
    normalized = matrix(labels, predictions, classes=7).normalized()
    np.testing.assert_allclose(normalized.sum(1), [1, 1, 1, 1, 1, 1, 0])


def test_adding_matrices_is_counting_all():
    labels, predictions = draw()
    halves = matrix(labels[:2], predictions[:2]).counts + matrix(labels[2:], predictions[2:]).counts
    np.testing.assert_allclose(metrics.iou(halves), matrix(labels, predictions).iou())


def test_collapsing_is_counting_in_the_groups_space():
    labels, predictions = draw()
    group = (4, 1)
    channel = np.full(256, 0)
    channel[[4, 1, 255]] = 1, 2, 255
    wanted = matrix(channel[labels], channel[predictions], classes=3).counts
    found = metrics.collapse(matrix(labels, predictions).counts, group)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, wanted)
