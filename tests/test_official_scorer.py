"""The official Cityscapes scorer and PASCAL VOC's, on generated pairs: the same counts, the same numbers."""

from __future__ import annotations

import contextlib
import io
import math

import cv2
import layouts
import numpy as np
import pytest

from gluon_confseg import metrics
from gluon_confseg.datasets import Cityscapes, png
from gluon_confseg.instance_iou import CATEGORIES, SIZES, InstanceIoU
from gluon_confseg.labels import CITYSCAPES, VOC

PAIRS = 24
HEIGHT, WIDTH = 60, 80
THINGS = (24, 25, 26, 27, 28, 29, 30, 31, 32, 33)  # raw ids that have instances


# ---- Cityscapes


@pytest.fixture(scope="module")
def official():
    scorer = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="the official scorer is not installed: pip install cityscapesScripts",
    )
    scorer.args.quiet, scorer.args.JSONOutput = True, False
    return scorer


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A Cityscapes layout with labels and instances, and predictions of raw ids: [(dataset, [(H, W) predictions])]."""
    root = tmp_path_factory.mktemp("official")
    predicted = []
    for number in range(PAIRS):
        image, label = layouts.cityscapes_paths(root, "val", "town", number)
        instances = scene(number)
        layouts.write_png(image, layouts.picture(number, HEIGHT, WIDTH))
        layouts.write_png(label, labels_of(instances).astype(np.uint8))
        layouts.write_png(label.with_name(label.name.replace("labelIds", "instanceIds")), instances)
        predicted.append(prediction(number, labels_of(instances)))
        layouts.write_png(root / "results" / f"town_{number:06d}_000019.png", predicted[-1])
    return Cityscapes(root, "val"), predicted


def scene(number: int) -> np.ndarray:
    """(H, W) uint16, instances and raw ids: void and unscored classes in all, some classes absent from each."""
    draws = np.random.RandomState(number)
    usable = draws.permutation(34)[: draws.randint(3, 34)]
    picture = np.full((HEIGHT, WIDTH), usable[0], np.uint16)
    for place in range(draws.randint(2, 60)):
        raw_id = draws.choice(usable)
        single = raw_id in THINGS and draws.rand() < 0.8  # else a group, which is no instance
        top, left = draws.randint(HEIGHT), draws.randint(WIDTH)
        height, width = draws.randint(1, 30, 2)
        picture[top : top + height, left : left + width] = raw_id * 1000 + place if single else raw_id
    return picture


def labels_of(instances: np.ndarray) -> np.ndarray:
    return np.where(instances > 1000, instances // 1000, instances)


def prediction(number: int, labels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 raw ids, unscored ones too: the truth with a share of wrong pixels."""
    draws = np.random.RandomState(100 + number)
    allowed = draws.permutation(34)[: draws.randint(1, 34)]
    wrong = draws.rand(*labels.shape) < draws.rand()
    return np.where(wrong, draws.choice(allowed, labels.shape), labels).astype(np.uint8)


def their_result(official, dataset, predicted, indices) -> dict:
    results = dataset.root / "results"
    files = [str(results / f"{dataset.names[i]}.png") for i in indices]
    truth = [str(dataset.label_paths[i]) for i in indices]
    with contextlib.redirect_stdout(io.StringIO()):
        return official.evaluateImgLists(files, truth, official.args)


def our_result(dataset, predicted, indices):
    matrix, instances = metrics.ConfusionMatrix(19), InstanceIoU()
    for i in indices:
        _, labels = dataset[i]
        matrix.update(labels, CITYSCAPES.to_train_ids(predicted[i]))
        instances.update(dataset.read_instances(i), predicted[i])
    return matrix, instances


def assert_same(dataset, official, predicted, indices) -> None:
    theirs = their_result(official, dataset, predicted, indices)
    matrix, instances = our_result(dataset, predicted, indices)
    raw = np.array(theirs["confMatrix"], np.int64)
    scored = list(layouts.RAW_IDS)
    np.testing.assert_array_equal(matrix.counts, raw[np.ix_(scored, scored)])
    unscored = [raw_id for raw_id in range(34) if raw_id not in scored]
    np.testing.assert_array_equal(matrix.misses, raw[np.ix_(scored, unscored)].sum(1))
    categories = CITYSCAPES.categories
    for ours, names, their_scores, mean in [
        (matrix.iou(), CITYSCAPES.classes, "classScores", "averageScoreClasses"),
        (instances.classes(matrix), CITYSCAPES.classes, "classInstScores", "averageScoreInstClasses"),
        (matrix.category_iou(categories), categories, "categoryScores", "averageScoreCategories"),
        (instances.categories(matrix), categories, "categoryInstScores", "averageScoreInstCategories"),
    ]:
        np.testing.assert_array_equal(ours, [theirs[their_scores][name] for name in names], their_scores)
        assert all(math.isnan(score) for name, score in theirs[their_scores].items() if name not in names)
        np.testing.assert_array_equal(metrics.mean_of_defined(ours), theirs[mean], mean)


@pytest.mark.parametrize("index", range(PAIRS))
def test_each_pair_scores_as_by_the_official_scorer(index, official, pairs):
    dataset, predicted = pairs
    assert_same(dataset, official, predicted, [index])


def test_all_pairs_together_score_as_by_the_official_scorer(official, pairs):
    dataset, predicted = pairs
    assert_same(dataset, official, predicted, range(PAIRS))


def test_the_pairs_hold_what_scorers_disagree_on(pairs):
    dataset, predicted = pairs
    left_out = only_predicted = ignored = void = strays = groups = 0
    for i in range(PAIRS):
        matrix, instances = our_result(dataset, predicted, [i])
        left_out += np.isnan(matrix.iou()).any()
        only_predicted += ((matrix.counts.sum(1) + matrix.misses == 0) & (matrix.counts.sum(0) > 0)).any()
        ignored += matrix.misses.any()
        void += (dataset[i][1] == 255).any()
        strays += instances.strays.any()
        values = dataset.read_instances(i)
        groups += ((values < 34) & np.isin(values, THINGS)).any()
    assert min(left_out, only_predicted, ignored, void, strays, groups) >= 5


def test_the_tables_are_the_official_ones(official):
    by_id = official.id2label
    for train_id, raw_id in enumerate(layouts.RAW_IDS):
        assert by_id[raw_id].name == CITYSCAPES.classes[train_id]
        assert train_id in CITYSCAPES.categories[by_id[raw_id].category]
    assert {name: official.args.avgClassSize[name] for name in SIZES} == SIZES
    assert {n for n in official.generateInstanceStats(official.args)["classes"]} == set(SIZES)
    stats = official.generateInstanceStats(official.args)["categories"]
    assert {name: tuple(found["labelIds"]) for name, found in stats.items()} == CATEGORIES


# ---- iIoU without the scorer


def test_small_and_large_instances_weigh_the_same():
    instances = np.full((4, 100), 7, np.uint16)
    instances[0, :90], instances[2, :3] = 26001, 26002
    predicted = labels_of(instances).astype(np.uint8)
    predicted[2, :3] = 7
    counted = InstanceIoU()
    counted.update(instances, predicted)
    matrix = metrics.ConfusionMatrix(19)
    matrix.update(CITYSCAPES.to_train_ids(labels_of(instances)), CITYSCAPES.to_train_ids(predicted))
    car = CITYSCAPES.classes.index("car")
    assert matrix.iou()[car] == pytest.approx(90 / 93)
    assert counted.classes(matrix)[car] == pytest.approx(0.5)


def test_instances_are_16_bits_and_of_their_images_size(tmp_path):
    root = layouts.make_cityscapes(tmp_path, cities=("aachen",), per_city=1)
    dataset = Cityscapes(root, "val")
    assert dataset.instance_path(0) is None
    path = dataset.label_paths[0].with_name("aachen_000000_000019_gtFine_instanceIds.png")
    values = np.random.RandomState(0).randint(0, 2**16, (8, 16)).astype(np.uint16)
    assert cv2.imwrite(str(path), values)
    assert dataset.instance_path(0) == path
    np.testing.assert_array_equal(dataset.read_instances(0), values)
    layouts.write_png(path, layouts.picture(0))
    with pytest.raises(png.DatasetError, match="instanceIds.png: .*RGB"):
        dataset.read_instances(0)
    with pytest.raises(ValueError, match="shape"):
        InstanceIoU().update(values, np.zeros((8, 15), np.uint8))


# ---- PASCAL VOC


def devkit(pairs) -> tuple:
    """VOCevalseg's arithmetic: counts by truth and prediction where the truth is below 255; 100 * both / either."""
    counts = np.zeros((21, 21))
    for truth, predicted in pairs:
        for t, p in zip(truth.ravel().tolist(), predicted.ravel().tolist()):
            if t < 255:
                counts[t, p] += 1
    accuracies = []
    for j in range(21):
        either = counts[j].sum() + counts[:, j].sum() - counts[j, j]
        accuracies.append(100 * counts[j, j] / either if either else math.nan)
    return counts, accuracies


def voc_pairs(seed: int, count: int) -> list:
    draws, pairs = np.random.RandomState(seed), []
    for _ in range(count):
        classes = draws.permutation(21)[: draws.randint(1, 22)]
        truth = draws.choice([*classes, 255], (30, 40)).astype(np.uint8)
        wrong = draws.choice(21, truth.shape)
        keep = (draws.rand(*truth.shape) < draws.rand()) & (truth != 255)
        pairs.append((truth, np.where(keep, truth, wrong).astype(np.uint8)))
    return pairs


@pytest.mark.parametrize("seed, count", [*((seed, 1) for seed in range(20)), (20, 20)])
def test_voc_scores_as_by_its_devkit(seed, count):
    pairs = voc_pairs(seed, count)
    matrix = metrics.ConfusionMatrix(VOC.num_classes)
    for truth, predicted in pairs:
        matrix.update(truth[None], predicted[None])
    counts, accuracies = devkit(pairs)
    np.testing.assert_array_equal(matrix.counts, counts)
    np.testing.assert_allclose(100 * matrix.iou(), accuracies, rtol=4e-16)
    assert 100 * matrix.mean_iou() == pytest.approx(np.nanmean(accuracies), rel=1e-15)


def test_where_a_class_is_absent_the_devkit_has_no_mean_and_we_leave_it_out():
    truth, predicted = np.array([[0, 0, 3, 255]]), np.array([[0, 3, 3, 5]])
    matrix = metrics.ConfusionMatrix(VOC.num_classes)
    matrix.update(truth, predicted)
    _, accuracies = devkit([(truth, predicted)])
    assert math.isnan(np.mean(accuracies)) and matrix.mean_iou() == pytest.approx(0.5)
