"""The dense CRF: what it is without its library, and its laws with it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from gluon_confseg import crf
from gluon_confseg.errors import RunError

K, HEIGHT, WIDTH = 3, 12, 16
OFF = crf.DenseCRF(appearance_weight=0, smoothness_weight=0)


@pytest.fixture
def library():
    pytest.importorskip("pydensecrf", reason="pydensecrf2 is an extra: pip install 'gluon-confseg[crf]'")


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
    with pytest.raises(RunError, match=r"gluon-confseg\[crf\]"):
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
