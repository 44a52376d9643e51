"""Views of an image: what is averaged, over which pixels, and that the default is one whole look."""

from __future__ import annotations

import functools
import json
import tracemalloc

import cv2
import layouts
import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, cli, engine, fusion, metrics, network, runtime
from gluon_confseg.cli import evaluation, scores
from gluon_confseg.datasets.batches import Batch
from gluon_confseg.errors import RunError
from gluon_confseg.inference import PLAIN, Inference, log_probabilities, probabilities, starts
from gluon_confseg.instance_iou import InstanceIoU
from gluon_confseg.labels import CITYSCAPES

VIEWS = [
    Inference(flip=True),
    Inference(scales=(0.75, 1, 1.25)),
    Inference(window=(24, 40)),
    Inference(window=(100, 40), overlap=0),
    Inference(scales=(0.5, 1.5), flip=True, window=(40, 64)),
    Inference(flip=True, bicubic=True),
]


class PoolingNetwork:
    """Means of 4 x 4 pixels, then a linear classifier: its features are mirrored exactly when its images are.

    weight    (K, 3)
    """

    def __init__(self, weight):
        self.num_classes, self.groups, self.finer, self.calls = len(weight), [], [], 0
        self._weight, self.encoder = mx.nd.array(weight), self.pooled
        PoolingNetwork.pooled.output_stride = 4

    @staticmethod
    def pooled(images):
        return (
            mx.nd.Pooling(images, kernel=(4, 4), stride=(4, 4), pool_type="avg", pooling_convention="full"),
        )

    def subnet0(self, features):
        self.calls += 1
        weight = self._weight.reshape((self.num_classes, 3, 1, 1))
        return mx.nd.Convolution(features, weight, kernel=(1, 1), num_filter=self.num_classes, no_bias=True)


def pooling(classes: int = 5) -> PoolingNetwork:
    return PoolingNetwork(np.random.RandomState(1).normal(size=(classes, 3)))


def alone(net) -> dict:
    return {"subnet0": fusion.Fusion(net.groups, net.num_classes, "subnet0")}


def seen(net, images, inference=PLAIN, rules=("subnet0",)) -> dict:
    fusions = {rule: fusion.Fusion(net.groups, net.num_classes, rule) for rule in rules}
    return probabilities(net, fusions, images, inference)


@pytest.fixture(scope="module")
def built():
    return small.shaken()


# ---- the default


@pytest.mark.parametrize("rule", fusion.RULES)
def test_by_default_scores_are_enlarged_once_and_the_largest_wins(built, rule):
    images = small.images(height=37, width=61)
    fuse = {rule: fusion.Fusion(built.groups, small.CLASSES, rule)}
    scores = log_probabilities(built, fuse, images)[rule]
    wanted = network.enlarge(mx.nd, scores, 16, images).asnumpy().argmax(1)
    np.testing.assert_array_equal(engine.predict(built, fuse, images)[rule], wanted)
    np.testing.assert_array_equal(engine.predict(built, fuse, images, Inference())[rule], wanted)


def test_probabilities_of_one_view_are_the_fused_networks(built):
    images = small.images(height=37, width=61)
    for rule in ("subnet0", "sum"):
        wanted = network.FusedNetwork(built, rule)(images).asnumpy()
        # the frozen graph rounds otherwise
        np.testing.assert_allclose(seen(built, images, rules=[rule])[rule], wanted, atol=1e-5)


def test_by_default_the_network_runs_once():
    net = pooling()
    engine.predict(net, alone(net), small.images())
    assert net.calls == 1
    engine.predict(net, alone(net), small.images(), Inference(scales=(1, 2), flip=True))
    assert net.calls == 5


# ---- laws of every way to look


@pytest.mark.parametrize("inference", VIEWS)
def test_probabilities_sum_to_1_at_the_images_size(built, inference):
    images = small.images(height=45, width=70)
    for found in seen(built, images, inference, fusion.RULES).values():
        assert found.shape == (2, small.CLASSES, 45, 70) and found.dtype == np.float32
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("inference", VIEWS)
def test_a_constant_network_stays_constant(inference):
    net = PoolingNetwork(np.zeros((5, 3)))
    np.testing.assert_allclose(seen(net, small.images(), inference)["subnet0"], 0.2, atol=1e-6)


@pytest.mark.parametrize("inference", VIEWS)
def test_rules_together_are_each_alone(built, inference):
    images = small.images(1)
    together = seen(built, images, inference, fusion.RULES)
    for rule in fusion.RULES:
        np.testing.assert_array_equal(seen(built, images, inference, [rule])[rule], together[rule])


@pytest.mark.parametrize("inference", VIEWS)
def test_images_of_a_batch_are_looked_at_alone(built, inference):
    images = small.images(2)
    together = seen(built, images, inference)["subnet0"]
    for n in range(2):
        own = seen(built, images[n : n + 1], inference)["subnet0"]
        np.testing.assert_allclose(own[0], together[n], atol=1e-5)


# ---- mirror images


def test_with_flip_a_mirrored_image_has_the_mirrored_answer(built):
    images = small.images(height=32, width=61)  # not even a multiple of the stride
    mirrored = mx.nd.flip(images, axis=3)
    found = seen(built, images, Inference(flip=True))["subnet0"]
    twice = seen(built, mirrored, Inference(flip=True))["subnet0"][:, :, :, ::-1]
    np.testing.assert_allclose(twice, found, atol=1e-6)
    assert (
        np.abs(seen(built, mirrored)["subnet0"][:, :, :, ::-1] - seen(built, images)["subnet0"]).max() > 1e-3
    )


def test_a_symmetric_network_gains_nothing_by_flip():
    net, images = pooling(), small.images()
    found = seen(net, images, Inference(flip=True))["subnet0"]
    np.testing.assert_allclose(found, seen(net, images)["subnet0"], atol=1e-6)


def test_flip_averages_probabilities_not_scores(built):
    images = small.images()
    mirrored = seen(built, mx.nd.flip(images, axis=3))["subnet0"][:, :, :, ::-1]
    wanted = (seen(built, images)["subnet0"] + mirrored) / 2
    np.testing.assert_allclose(seen(built, images, Inference(flip=True))["subnet0"], wanted, atol=1e-6)


# ---- scales


def test_scales_are_those_of_opencv_both_ways():
    net, images = pooling(), small.images(count=1, height=37, width=61)
    wanted = 0
    for scale, size in ((0.5, (30, 18)), (1, (61, 37)), (1.75, (107, 65))):  # (width, height)
        scaled = cv2.resize(images[0].asnumpy().transpose(1, 2, 0), size).transpose(2, 0, 1)
        once = seen(net, mx.nd.array(scaled[None]), PLAIN)["subnet0"][0].transpose(1, 2, 0)
        np.testing.assert_allclose(
            seen(net, images, Inference(scales=(scale,)))["subnet0"][0].transpose(1, 2, 0),
            cv2.resize(once, (61, 37)),
            atol=1e-6,
        )
        wanted = wanted + cv2.resize(once, (61, 37)) / 3
    found = seen(net, images, Inference(scales=(0.5, 1, 1.75)))["subnet0"][0].transpose(1, 2, 0)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_the_order_of_scales_does_not_matter(built):
    images = small.images()
    first, second = (seen(built, images, Inference(scales=s))["subnet0"] for s in ((0.5, 1, 2), (2, 0.5, 1)))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_bicubic_enlarges_probabilities_as_opencv_does():
    net, images = pooling(), small.images(height=31, width=62)
    grid = net.subnet0(*net.encoder(images)).softmax(axis=1).asnumpy()
    found = seen(net, images, Inference(bicubic=True))["subnet0"]
    for n, k in ((0, 0), (1, 3)):
        wanted = cv2.resize(grid[n, k], (64, 32), interpolation=cv2.INTER_CUBIC)[:31, :62]
        np.testing.assert_allclose(found[n, k], wanted, atol=1e-6)


# ---- windows


@pytest.mark.parametrize("length", [1, 7, 32, 100, 101])
@pytest.mark.parametrize("window", [1, 7, 32, 99, 200])
@pytest.mark.parametrize("overlap", [0, 1 / 3, 0.5, 0.99])
def test_windows_cover_every_pixel_and_end_with_the_image(length, window, overlap):
    begins = starts(length, window, overlap)
    covered = np.zeros(length, int)
    for begin in begins:
        covered[begin : begin + window] += 1
    assert covered.min() >= 1 and begins == sorted(set(begins)) and begins[0] == 0
    assert begins == [0] if window >= length else begins[-1] == length - window
    shared = [window - (after - before) for before, after in zip(begins, begins[1:])]
    assert all(pixels >= int(window * overlap) for pixels in shared)


@pytest.mark.parametrize("flip", [False, True])
def test_a_window_of_the_images_size_is_the_whole_image(built, flip):
    images = small.images(height=37, width=61)
    whole = seen(built, images, Inference(flip=flip), ["sum"])["sum"]
    np.testing.assert_array_equal(
        seen(built, images, Inference(flip=flip, window=(37, 61)), ["sum"])["sum"], whole
    )


def test_where_windows_overlap_their_mean_counts():
    net, images = pooling(), small.images(count=1, height=32, width=48)
    found = seen(net, images, Inference(window=(32, 32), overlap=0.5))["subnet0"]
    left, right = (seen(net, images[:, :, :, b : b + 32])["subnet0"] for b in (0, 16))
    np.testing.assert_allclose(found[:, :, :, :16], left[:, :, :, :16], atol=1e-6)
    middle = (left[:, :, :, 16:] + right[:, :, :, :16]) / 2
    np.testing.assert_allclose(found[:, :, :, 16:32], middle, atol=1e-6)
    np.testing.assert_allclose(found[:, :, :, 32:], right[:, :, :, 16:], atol=1e-6)


def test_an_image_smaller_than_a_window_is_filled_up_and_cut_back():
    net, images = pooling(), small.images(count=1, height=32, width=48)
    filled = mx.nd.zeros((1, 3, 40, 64))
    filled[:, :, :32, :48] = images
    wanted = seen(net, filled)["subnet0"][:, :, :32, :48]
    np.testing.assert_array_equal(seen(net, images, Inference(window=(40, 64)))["subnet0"], wanted)


def test_every_window_has_the_same_size():
    net, sizes = pooling(), set()
    net.encoder = lambda images: sizes.add(images.shape[2:]) or net.pooled(images)
    net.encoder.output_stride = 4
    seen(net, small.images(height=50, width=70), Inference(scales=(0.3, 1, 2), window=(24, 32)))
    assert sizes == {(24, 32)}


def test_memory_does_not_grow_with_the_number_of_views():
    def peak(inference) -> int:
        tracemalloc.start()
        seen(net, images, inference)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    net, images = pooling(19), small.images(count=1, height=96, width=128)
    few = peak(Inference(scales=(1, 1.25)))
    many = peak(Inference(scales=(0.5, 0.75, 1, 1.1, 1.2, 1.25), flip=True, window=(64, 64)))
    assert many < 1.2 * few


# ---- what can't be, and the command line


@pytest.mark.parametrize(
    "settings, wanted",
    [
        ({"scales": ()}, "one or more numbers above 0"),
        ({"scales": (1, 0)}, "one or more numbers above 0"),
        ({"scales": (1, float("nan"))}, "one or more numbers above 0"),
        ({"scales": (1, 0.5, 1)}, "hold one twice"),
        ({"window": (0, 32)}, "height and width"),
        ({"window": (32,)}, "height and width"),
        ({"overlap": 1}, "from 0 to below 1"),
    ],
)
def test_what_can_not_be_done_is_said(settings, wanted):
    with pytest.raises(RunError, match=wanted):
        Inference(**settings)


def test_views_are_described():
    assert Inference().describe() == "whole images at their own size, one scale"
    said = Inference(scales=(0.75, 1), flip=True, window=(512, 1024)).describe()
    assert said == "windows of 1024 x 512 pixels, scales 0.75, 1, averaged with their mirror images"
    assert Inference() == PLAIN and PLAIN.is_plain
    assert not any(inference.is_plain for inference in VIEWS)


def test_evaluate_counts_the_averaged_predictions(built):
    batch = Batch(small.images(count=1).asnumpy(), small.labels(count=1), ("a",))
    chosen = Inference(scales=(0.5, 1), flip=True)
    ((_, predictions, counted),) = engine.evaluate(built, [batch], ["sum"], small.CLASSES, inference=chosen)
    averaged = seen(built, mx.nd.array(batch.images), chosen, ["sum"])["sum"]
    np.testing.assert_array_equal(predictions["sum"], averaged.argmax(1))
    wanted = metrics.ConfusionMatrix(small.CLASSES)
    wanted.update(batch.labels, averaged.argmax(1))
    np.testing.assert_array_equal(counted["sum"].counts, wanted.counts)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A Cityscapes layout with instance ids, and a checkpoint for it."""
    root = tmp_path_factory.mktemp("views")
    for number in range(2):
        image, label = layouts.cityscapes_paths(root, "val", "aachen", number)
        ids = layouts.label(number, (*layouts.RAW_IDS, 0), 32, 48)
        layouts.write_png(image, layouts.picture(number, 32, 48))
        layouts.write_png(label, ids)
        single = np.where(ids >= 24, 1000 * ids.astype(np.uint16) + 1, ids)
        layouts.write_png(label.with_name(label.name.replace("labelIds", "instanceIds")), single)
    runtime.seed(1)
    settings = {"head": small.HEAD, "subnet_heads": small.SUBNET_HEAD, "last_stage": 3}
    net = network.build(
        "resnet18", 19, groups=((2, 3), (13, 14)), output_stride=16, subnets="residual", **settings
    )
    meta = {"labels": "cityscapes", "rule": "sum", "network": net.settings}
    checkpoint.save(root / "net.npz", checkpoint.network_arrays(net), meta)
    return root


@pytest.fixture
def say(capsys, monkeypatch):
    """Run a command line -> stdout; images are read in this process, which starts sooner."""
    monkeypatch.setattr(evaluation, "whole_images", functools.partial(evaluation.whole_images, workers=0))

    def run(*words) -> str:
        assert cli.main([str(word) for word in words]) == 0
        return capsys.readouterr().out

    return run


WORDS = ["--flip", "--scales", "1", "2", "--window", "40", "64"]


def test_the_command_line_evaluates_what_it_predicts(place, tmp_path, say):
    words = ["evaluate", place / "net.npz", "--root", place, "--json"]
    scored, plain = json.loads(say(*words, *WORDS)), json.loads(say(*words))
    assert scored["inference"]["scales"] == [1, 2] and scored["inference"]["window"] == [40, 64]
    assert scored["confusion"] != plain["confusion"]
    images = sorted((place / "leftImg8bit").rglob("*.png"))
    say("predict", place / "net.npz", *images, "--out", tmp_path, *WORDS)
    words = ["confusion", "--predictions", tmp_path / "ids", "--data", "cityscapes", "--root", place]
    assert json.loads(say(*words, "--json"))["confusion"] == scored["confusion"]


def test_evaluate_shows_the_benchmarks_numbers_where_there_are_instance_ids(place, tmp_path, say):
    words = ["evaluate", place / "net.npz", "--root", place]
    found = json.loads(say(*words, "--json"))
    assert list(found["categories"]) == list(CITYSCAPES.categories)
    matrix = metrics.ConfusionMatrix(19)
    matrix.counts += np.array(found["confusion"])
    iou = metrics.mean_of_defined(matrix.category_iou(CITYSCAPES.categories))
    assert found["mean_category_iou"] == iou
    assert found["mean_category_iiou"] is not None and found["iiou"]["classes"]["road"] is None
    lost = next(place.rglob("*_instanceIds.png"))
    kept = lost.rename(tmp_path / "kept.png")
    try:
        text = say(*words)
    finally:
        kept.rename(lost)
    assert "No iIoU: only 1 of 2 labels have a file *_instanceIds.png." in text
    assert f"category IoU {100 * iou:.2f} %" in text and "iIoU of classes" not in text


def test_instances_have_a_column_and_means():
    instances, matrix = InstanceIoU(), metrics.ConfusionMatrix(19)
    ids = np.array([[26001, 26001, 26002, 7]], np.uint16)
    instances.update(ids, np.array([[26, 26, 7, 7]]))
    matrix.update(np.array([[13, 13, 13, 0]]), np.array([[13, 13, 0, 0]]))
    text = scores.table(matrix, CITYSCAPES.classes, instances)
    assert "iIoU, %" in text.splitlines()[0]
    assert text.splitlines()[-1].split()[:3] == ["mean", "58.33", "50.00"]
    said = scores.means(matrix, CITYSCAPES.categories, instances).splitlines()[-1]
    assert said == "category IoU 58.33 %, iIoU of classes 50.00 %, of categories 50.00 %"


@pytest.mark.parametrize(
    "words",
    [["--scales", "0"], ["--scales", "many"], ["--scales"], ["--window", "64"], ["--window", "0", "9"]],
)
def test_a_wrong_view_is_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["evaluate", "x.npz", *words])
    assert stopped.value.code == 2 and "usage: confseg" in capsys.readouterr().err


def test_a_scale_twice_is_said_before_the_work(capsys):
    assert cli.main(["evaluate", "nowhere.npz", "--scales", "1", "1"]) == 1
    assert "hold one twice" in capsys.readouterr().err
