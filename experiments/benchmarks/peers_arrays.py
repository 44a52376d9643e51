"""Peers of what needs NumPy alone: confusion matrices by a C loop and by scikit-learn, groups by networkx."""

from __future__ import annotations

from importlib import metadata

import c_loop
import draws
import numpy as np
from side import Work, serve


def matrix_in_c(shape, num_classes: int, ignored: float) -> Work:
    """The Cityscapes scorer's way: every pair of values counted in C, and the ignored ones left out at the end."""
    labels, predictions = _drawn(shape, num_classes, ignored)
    count = c_loop.compiled()
    if count is None:
        raise SystemExit(
            "the confusion matrix in C needs a C compiler (cc or gcc): install one, or leave the row out"
        )

    def run() -> np.ndarray:
        counted = np.zeros((256, 256), np.int64)
        count(labels, predictions, counted)
        return counted[:num_classes, :num_classes]

    return Work(run, counts=run().ravel().tolist())


def matrix_in_sklearn(shape, num_classes: int, ignored: float) -> Work:
    """sklearn.metrics.confusion_matrix of the labelled pixels."""
    from sklearn.metrics import confusion_matrix

    labels, predictions = _drawn(shape, num_classes, ignored)

    def run() -> np.ndarray:
        labelled = labels != draws.IGNORED
        return confusion_matrix(labels[labelled], predictions[labelled], labels=range(num_classes))

    return Work(run, counts=run().ravel().tolist())


def _drawn(shape, num_classes: int, ignored: float) -> tuple:
    labels = draws.labels(shape, num_classes, ignored)
    return labels, draws.predictions(labels, num_classes)


def louvain(num_classes: int) -> Work:
    """networkx.community.louvain_communities on the graph of `groups.discover`: A + A^T, less its mean, at least 0."""
    import networkx

    shares = draws.shares(num_classes)
    weights = shares + shares.T
    np.fill_diagonal(weights, 0.0)
    weights = np.maximum(weights - weights.sum() / (num_classes * (num_classes - 1)), 0.0)
    np.fill_diagonal(weights, 0.0)
    graph = networkx.from_numpy_array(weights)
    return Work(lambda: networkx.community.louvain_communities(graph, seed=0))


def _versions() -> dict:
    return {name: metadata.version(name) for name in ("networkx", "scikit-learn")}


WORKS = {"matrix_in_c": matrix_in_c, "matrix_in_sklearn": matrix_in_sklearn, "louvain": louvain}

if __name__ == "__main__":
    serve(WORKS, _versions)
