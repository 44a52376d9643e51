"""The dense CRF: what it is without its library, its laws with it, and what evaluation makes of it."""

from __future__ import annotations

import dataclasses
import json
import sys
import types

import layouts
import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, cli, crf, engine, fusion, network
from gluon_confseg.datasets import normalize
from gluon_confseg.datasets.batches import Batch
from gluon_confseg.datasets.colour import MEAN, MEAN_ONLY, STD, denormalize
from gluon_confseg.errors import RunError
from gluon_confseg.inference import PLAIN, Inference, probabilities

K, HEIGHT, WIDTH = 3, 12, 16
OFF = crf.DenseCRF(appearance_weight=0, smoothness_weight=0)


@pytest.fixture
def library():
    pytest.importorskip("pydensecrf", reason="pydensecrf2 is not installed: pip install pydensecrf2")


def halves() -> tuple:
    """An image of two colours side by side, and noisy probabilities that mostly say class 0 left, 1 right."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, WIDTH // 2 :] = (180, 90, 40)
    truth = (np.arange(WIDTH) >= WIDTH // 2).astype(int) + np.zeros((HEIGHT, 1), int)
    scores = np.random.RandomState(0).uniform(0.2, 1.0, (K, HEIGHT, WIDTH))
    scores += 0.4 * np.equal.outer(np.arange(K), truth)
    return (scores / scores.sum(0)).astype(np.float32), image, truth


def mean_field(probabilities, image, settings) -> np.ndarray:
    """The same in float64 with every pair of pixels written out."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1).astype(np.float64)
    places, colours = np.stack([rows, columns], 1), image.reshape(-1, 3).astype(np.float64)

    def kernel(features):
        squared = ((features[:, None] - features[None]) ** 2).sum(-1)
        full = np.exp(-0.5 * squared)
        norm = full.sum(1) ** -0.5
        return norm[:, None] * full * norm

    near = kernel(places / settings.smoothness_xy)
    features = np.concatenate([places / settings.appearance_xy, colours / settings.appearance_rgb], 1)
    weighted = settings.smoothness_weight * near + settings.appearance_weight * kernel(features)
    unary = np.log(probabilities.reshape(K, -1).astype(np.float64))
    field = np.exp(unary)
    for _ in range(settings.iterations):
        field = np.exp(unary + field @ weighted)
        field /= field.sum(0)
    return field.reshape(K, HEIGHT, WIDTH)


def test_without_its_library_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    probabilities, image, _ = halves()
    with pytest.raises(RunError, match="pip install pydensecrf2"):
        crf.refine(probabilities, image)


@pytest.mark.parametrize(
    "settings", [{"appearance_xy": 0}, {"smoothness_xy": -1}, {"appearance_weight": -1}, {"iterations": -1}]
)
def test_settings_that_mean_nothing_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        crf.DenseCRF(**settings)


def test_scores_and_images_that_do_not_fit_are_named():
    probabilities, image, _ = halves()
    for scores, picture in (
        (probabilities[0], image),
        (probabilities * np.nan, image),
        (-probabilities, image),
        (probabilities, image[1:]),
        (probabilities, image / 255),
    ):
        with pytest.raises(ValueError, match="scores"):
            crf.refine(scores, picture)


def test_without_kernels_probabilities_stay_as_they_are(library):
    probabilities, image, _ = halves()
    np.testing.assert_allclose(crf.refine(probabilities, image, OFF), probabilities, rtol=1e-5)


@pytest.mark.parametrize("settings", [crf.DenseCRF(), crf.DenseCRF(2, 5, 20, 1, 2, 3)])
def test_it_is_the_mean_field_of_the_written_out_crf(library, settings):
    probabilities, image, _ = halves()
    found = crf.refine(probabilities, image, settings)
    assert found.shape == probabilities.shape and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-5)
    # the library filters on a permutohedral lattice, which approximates the Gaussians
    np.testing.assert_allclose(found, mean_field(probabilities, image, settings), atol=0.03)


def test_noise_inside_a_colour_goes_and_the_edge_stays(library):
    probabilities, image, truth = halves()
    assert (probabilities.argmax(0) != truth).mean() > 0.1
    np.testing.assert_array_equal(crf.refine(probabilities, image).argmax(0), truth)


def test_renaming_the_classes_renames_the_scores_and_inputs_are_left_alone(library):
    probabilities, image, _ = halves()
    kept = probabilities.copy(), image.copy()
    image.flags.writeable = probabilities.flags.writeable = False
    found = crf.refine(probabilities, image)
    renamed = crf.refine(probabilities[[2, 0, 1]], image)
    np.testing.assert_allclose(renamed, found[[2, 0, 1]], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(probabilities, kept[0])
    np.testing.assert_array_equal(image, kept[1])


def test_probabilities_of_0_and_1_give_finite_scores(library):
    _, image, truth = halves()
    sure = np.equal.outer(np.arange(K), truth).astype(np.float32)
    refined = crf.refine(sure, image)
    assert np.isfinite(refined).all()
    np.testing.assert_array_equal(refined.argmax(0), truth)


# ---- as a part of evaluation

VIEWS = [Inference(), Inference(scales=(0.5, 1), flip=True), Inference(bicubic=True)]


class NextClass:
    """In place of the library: probabilities as they are, each class's given to the next one. Keeps what it is told."""

    def __init__(self, width: int, height: int, classes: int):
        self.size, self.told = (classes, height, width), {}
        NextClass.built.append(self)

    def setUnaryEnergy(self, unary):
        self.unary = unary

    def addPairwiseGaussian(self, **settings):
        self.told["gaussian"] = settings

    def addPairwiseBilateral(self, rgbim, **settings):
        self.image, self.told["bilateral"] = rgbim, settings

    def inference(self, iterations: int):
        self.told["iterations"] = iterations
        return np.roll(np.exp(-self.unary), 1, axis=0)


@pytest.fixture
def stand_in(monkeypatch):
    """The list of fields that are built."""
    package, NextClass.built = types.ModuleType("pydensecrf"), []
    package.densecrf = types.SimpleNamespace(DenseCRF2D=NextClass)
    monkeypatch.setitem(sys.modules, "pydensecrf", package)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", package.densecrf)
    return NextClass.built


@pytest.fixture(scope="module")
def built():
    return small.shaken()


def pictures() -> np.ndarray:
    return np.stack([layouts.picture(seed, 24, 40) for seed in range(2)])


def normalized(net) -> np.ndarray:
    return np.stack([normalize(picture, **net.normalisation) for picture in pictures()])


def evaluated(net, inference, rules=("subnet0", "sum")) -> tuple:
    batch = Batch(normalized(net), small.labels(height=24, width=40), ("a", "b"))
    ((_, predictions, counted),) = engine.evaluate(net, [batch], rules, small.CLASSES, inference=inference)
    return predictions, counted


@pytest.mark.parametrize("std", [STD, MEAN_ONLY, (0.5, 0.4, 1.0)])
def test_every_colour_comes_back_from_its_normalised_values(std):
    every = np.stack([np.arange(256)[::step].reshape(16, 16) for step in (1, -1, 1)], axis=2).astype(np.uint8)
    np.testing.assert_array_equal(denormalize(normalize(every, MEAN, std), MEAN, std), every)


@pytest.mark.parametrize("views", VIEWS)
def test_the_refined_probabilities_decide_the_prediction(built, stand_in, views):
    chosen = dataclasses.replace(views, crf=crf.DenseCRF(1, 2, 3, 4, 5, 6))
    before, _ = evaluated(built, views)
    assert not stand_in
    after, counted = evaluated(built, chosen)
    for rule, predicted in after.items():
        np.testing.assert_array_equal(predicted, (before[rule] + 1) % small.CLASSES)
        hits = (predicted == small.labels(height=24, width=40)).sum()
        assert np.trace(counted[rule].counts) == hits
    assert [field.size for field in stand_in] == [(small.CLASSES, 24, 40)] * 4
    assert stand_in[0].told == {
        "gaussian": {"sxy": 5, "compat": 4},
        "bilateral": {"sxy": 2, "srgb": 3, "compat": 1},
        "iterations": 6,
    }


@pytest.mark.parametrize("views", VIEWS)
def test_it_sees_the_mean_of_all_views_and_the_picture_as_the_file_has_it(built, stand_in, views):
    images = mx.nd.array(normalized(built))
    fusions = {"sum": fusion.Fusion.of(built, "sum")}
    mean = probabilities(built, fusions, images, views)["sum"]
    probabilities(built, fusions, images, dataclasses.replace(views, crf=crf.DenseCRF()))
    for field, picture, shares in zip(stand_in, pictures(), mean):
        np.testing.assert_array_equal(field.image, picture)
        told = np.exp(-field.unary).reshape(shares.shape)
        np.testing.assert_allclose(told, np.maximum(shares, 0), atol=1e-6)


def test_evaluation_with_the_library_predicts_what_refine_says(library, built):
    predictions, _ = evaluated(built, Inference(crf=crf.DenseCRF()), ["sum"])
    fused = network.FusedNetwork(built, "sum")(mx.nd.array(normalized(built))).asnumpy()
    wanted = [crf.refine(shares, picture).argmax(0) for shares, picture in zip(fused, pictures())]
    assert (predictions["sum"] == np.stack(wanted)).mean() > 0.999  # the mean rounds otherwise
    assert (predictions["sum"] != fused.argmax(1)).any()


def test_without_its_library_evaluation_does_not_begin(built, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)

    def batches():
        raise AssertionError("an image was read")
        yield

    chosen = Inference(crf=crf.DenseCRF())
    with pytest.raises(RunError, match="pip install pydensecrf2"):
        next(engine.evaluate(built, batches(), ["sum"], small.CLASSES, inference=chosen))


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "nowhere.npz"],
        ["predict", "nowhere.npz", __file__, "--out", "out"],
        ["submit", "nowhere.npz", "--out", "ours.zip"],
    ],
)
def test_without_its_library_no_verb_begins(words, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    assert cli.main([*words, "--crf"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("confseg: the dense CRF needs pydensecrf2") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_command_line_refines(stand_in, tmp_path, capsys):
    settings = {"head": small.HEAD, "subnet_heads": small.SUBNET_HEAD, "last_stage": 3}
    net = network.build("resnet18", 19, groups=((2, 3),), output_stride=16, **settings)
    meta = {"labels": "cityscapes", "rule": "sum", "network": net.settings}
    checkpoint.save(tmp_path / "net.npz", checkpoint.network_arrays(net), meta)
    layouts.write_png(tmp_path / "a.png", pictures()[0])
    words = ["predict", str(tmp_path / "net.npz"), str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--crf", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["inference"]["crf"] == dataclasses.asdict(crf.DenseCRF())
    np.testing.assert_array_equal(stand_in[0].image, pictures()[0])


def test_it_is_described_and_no_plain_look():
    chosen = Inference(crf=crf.DenseCRF())
    assert not chosen.is_plain and PLAIN.crf is None
    assert chosen.describe() == "whole images at their own size, one scale, refined by a dense CRF"
