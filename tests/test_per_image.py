"""Counts of single images, held sparsely: against dense arrays."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_confseg import metrics
from gluon_confseg.report.per_image import PerImage


def draw(seed: int) -> np.ndarray:
    """(N, K, K + 1) counts, most of them 0; some classes in no image."""
    draws = np.random.default_rng(seed)
    images, classes = draws.integers(1, 6), draws.integers(1, 6)
    shape = (images, classes, classes + 1)
    counts = draws.integers(0, 50, shape) * (draws.random(shape) < 0.4)
    return counts * (draws.random(classes) < 0.8)[None, :, None]


def sparse(counts: np.ndarray, order=None) -> PerImage:
    images, rows, columns = np.nonzero(counts)
    order = np.arange(len(images)) if order is None else order(len(images))
    cells = rows * counts.shape[2] + columns
    values = counts[images, rows, columns]
    return PerImage(len(counts), counts.shape[1], images[order], cells[order], values[order])


@pytest.mark.parametrize("seed", range(20))
def test_what_goes_in_comes_out_whatever_its_order(seed):
    counts = draw(seed)
    for held in (sparse(counts), sparse(counts, np.random.default_rng(seed).permutation)):
        assert np.array_equal(held.total(), counts.sum(0))
        for image, of_image in enumerate(counts):
            assert np.array_equal(held.matrix(image), of_image)
        for i, j in np.ndindex(counts.shape[1:]):
            assert np.array_equal(held.pixels(i, j), counts[:, i, j])
        right = np.trace(counts[:, :, :-1], axis1=1, axis2=2)
        assert np.array_equal(held.wrong, counts.sum((1, 2)) - right)


def test_matrices_without_misses_have_an_empty_last_column():
    counts = np.random.default_rng(0).integers(0, 3, (4, 3, 3))
    held = PerImage.from_matrices(counts)
    assert np.array_equal(held.total()[:, :3], counts.sum(0)) and not held.total()[:, 3].any()


@pytest.mark.parametrize("seed", range(20))
def test_what_an_image_costs_is_what_mending_it_gains(seed):
    counts = draw(seed)
    total = counts.sum(0)
    before = metrics.iou(total[:, :-1], total[:, -1])
    for image, losses in enumerate(sparse(counts).losses):
        mended = total - counts[image]
        mended[:, :-1] += np.diag(counts[image].sum(1))
        after = metrics.iou(mended[:, :-1], mended[:, -1])
        # a class that was predicted in this image alone, and wrongly, is then nowhere; it gains nothing here
        after = np.where(np.isnan(after) & ~np.isnan(before), 0, after)
        np.testing.assert_allclose(losses, after - before, atol=1e-12)
