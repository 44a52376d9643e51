"""A stage's loss by its name."""

from __future__ import annotations

import numpy as np

from gluon_confseg import losses, metrics


def build(loss: str, num_classes: int, counts, statistics, scheme: str = "confusion", penalty: float = 5.0):
    """Loss of a name: "CE", "new CE" (Section 3.2), or one of `losses.OTHER_LOSSES` with its published settings.

    counts      function that returns the (K, K) training matrix, for "new CE"
    statistics  function that returns the `losses.LabelStatistics` of the training split, for the peers
    scheme      of `losses.SCHEMES`, or "shuffled" or "shuffled N": "confusion" with each row's off-diagonals in
                another order, a control: each class is penalised as much, for classes that it isn't confused with
    """
    if loss == "CE":
        return losses.CrossEntropyLoss(num_classes)
    if loss != "new CE":
        return losses.other_loss(loss, num_classes, statistics())
    kind, _, seed = scheme.partition(" ")
    normalized = metrics.normalize(counts())
    if kind == "shuffled":
        return losses.ConfusionCELoss(shuffled(losses.confusion_weights(normalized), int(seed or 0)), penalty)
    return losses.ConfusionCELoss(losses.confusion_weights(normalized, scheme), penalty)


def shuffled(weights: np.ndarray, seed: int = 0) -> np.ndarray:
    """C with the off-diagonals of every row in another order; rows keep their sums, the diagonal its place."""
    size, result = len(weights), weights.copy()
    draws = np.random.default_rng([seed, size])
    for i in range(size):
        others = np.delete(np.arange(size), i)
        result[i, others] = weights[i, draws.permutation(others)]
    return result
