"""The improved cross-entropy in extended precision, straight from its definition: Section 3.2, eq. 3 and 4."""

from __future__ import annotations

import numpy as np


def value_and_gradient(logits, labels, weights, penalty: float, ignore_label: int = 255):
    """(N, K, P) logits, (N, P) labels, (K, K) weights -> (N,) mean over labelled pixels, (N, K, P) gradient.

    With o_j = phi_j - log(sum of exp(phi_m) over m != j), the log odds of class j:
    -log q_j = log(1 + exp(-o_j)) and -log(1 - q_j) = log(1 + exp(o_j)).
    """
    phi = np.moveaxis(np.asarray(logits, np.longdouble), 1, -1)
    classes = phi.shape[-1]
    odds = np.stack([phi[..., j] - _log_sum_exp(np.delete(phi, j, -1)) for j in range(classes)], -1)
    q, not_q = _sigmoid(odds), _sigmoid(-odds)
    counted = labels != ignore_label
    truth = np.eye(classes, dtype=np.longdouble)[np.where(counted, labels, 0).astype(int)]
    c = truth @ np.asarray(weights, np.longdouble)
    own = (c * truth).sum(-1, keepdims=True)
    wrong = np.longdouble(penalty) * c * (1 - truth)

    value = (own * truth * np.logaddexp(0, -odds) + wrong * np.logaddexp(0, odds)).sum(-1)
    gradient = own * np.where(truth == 1, -not_q, q)
    for j in range(classes):
        # d/dphi_k of -log(1 - q_j): q_j for k = j, else -q_j q_k / (1 - q_j)
        slope = -np.exp(odds[..., j : j + 1]) * q
        slope[..., j] = q[..., j]
        gradient = gradient + wrong[..., j : j + 1] * np.where(wrong[..., j : j + 1] > 0, slope, 0)

    share = counted / np.maximum(counted.sum(1, keepdims=True), 1).astype(np.longdouble)
    return (value * share).sum(1), np.moveaxis(gradient * share[..., None], -1, 1)


def _log_sum_exp(phi):
    largest = phi.max(-1, keepdims=True)
    return np.log(np.exp(phi - largest).sum(-1)) + largest[..., 0]


def _sigmoid(odds):
    return np.exp(-np.logaddexp(0, -odds))
