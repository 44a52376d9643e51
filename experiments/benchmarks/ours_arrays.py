"""Our sides that need NumPy alone: the confusion matrix and the discovery of groups."""

from __future__ import annotations

import numpy as np

from gluon_confseg import groups, metrics

from . import draws
from .side import Work, serve


def matrix(shape, num_classes: int, ignored: float) -> Work:
    """One update of the confusion matrix with labels and predictions of this shape, uint8."""
    labels = draws.labels(shape, num_classes, ignored)
    predictions = draws.predictions(labels, num_classes)

    def run() -> np.ndarray:
        counted = metrics.ConfusionMatrix(num_classes)
        counted.update(labels, predictions)
        return counted.counts

    return Work(run, counts=run().ravel().tolist())


def discover(num_classes: int) -> Work:
    """The groups of a confusion matrix."""
    shares = draws.shares(num_classes)
    return Work(lambda: groups.discover(shares))


WORKS = {"matrix": matrix, "discover": discover}

if __name__ == "__main__":
    serve(WORKS, lambda: {"numpy": np.__version__})
