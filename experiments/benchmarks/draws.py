"""The numbers that both sides of a row compute on, drawn from a seed: NumPy's RandomState draws alike in all versions.

NumPy only, as it runs in the environment of the peers too.
"""

from __future__ import annotations

import numpy as np

IGNORED = 255


def images(shape) -> np.ndarray:
    """(N, 3, H, W) float32, as normalised images."""
    return np.random.RandomState(0).normal(size=shape).astype(np.float32)


def labels(shape, num_classes: int, ignored: float = 0.0) -> np.ndarray:
    """uint8 classes, and 255 for a share of the pixels."""
    drawn = np.random.RandomState(1)
    classes = drawn.randint(0, num_classes, shape).astype(np.uint8)
    return np.where(drawn.rand(*shape) < ignored, np.uint8(IGNORED), classes)


def predictions(truth: np.ndarray, num_classes: int, wrong: float = 0.2) -> np.ndarray:
    """uint8, the truth with a share of wrong pixels, never 255."""
    drawn = np.random.RandomState(2)
    others = drawn.randint(0, num_classes, truth.shape).astype(np.uint8)
    return np.where((drawn.rand(*truth.shape) < wrong) | (truth == IGNORED), others, truth)


def shares(num_classes: int, group: int = 5) -> np.ndarray:
    """(K, K) float64, a row-normalised confusion matrix: 7 in 10 pixels right, and most of the others in one's group.

    group   how many classes are confused with each other
    """
    drawn = np.random.RandomState(3)
    nearby = np.equal.outer(np.arange(num_classes) // group, np.arange(num_classes) // group)
    confused = drawn.gamma(0.5, size=(num_classes, num_classes)) * np.where(
        nearby, 1.0, 0.2 * group / num_classes
    )
    np.fill_diagonal(confused, 0.0)
    order = drawn.permutation(num_classes)
    confused = confused[np.ix_(order, order)]
    return 0.7 * np.eye(num_classes) + 0.3 * confused / confused.sum(1, keepdims=True)


def scene(number: int, height: int, width: int, ids: int = 34) -> tuple:
    """(H, W) uint8 ids in patches as of a street scene, and a prediction that is off along borders and in patches."""
    drawn = np.random.RandomState(100 + number)
    coarse = drawn.randint(0, ids, (9, 17)).astype(np.uint8)
    rows = np.linspace(0, 8.99, height)[:, None] + 0.3 * np.sin(np.linspace(0, 40, width))[None]
    columns = np.linspace(0, 16.99, width)[None] + 0.3 * np.sin(np.linspace(0, 30, height))[:, None]
    truth = coarse[np.clip(rows, 0, 8).astype(np.intp), np.clip(columns, 0, 16).astype(np.intp)]
    reach = max(1, height // 128)
    predicted = np.roll(truth, drawn.randint(-reach, reach + 1, 2), (0, 1))
    for top, left in zip(drawn.randint(0, height, 12), drawn.randint(0, width, 12)):
        predicted[top : top + height // 12, left : left + width // 20] = drawn.randint(ids)
    return truth, predicted
