"""The weights C = [c_ij] of the improved cross-entropy, from a confusion matrix: Section 3.2, eq. 3.

The paper does not say how C comes from the matrix. Each way has a name; docs/decisions.md says why the default is it.
"""

from __future__ import annotations

import numpy as np


def _as_measured(off_diagonal: np.ndarray) -> np.ndarray:
    return off_diagonal


def _by_largest(off_diagonal: np.ndarray) -> np.ndarray:
    largest = off_diagonal.max(initial=0.0)
    return off_diagonal / largest if largest > 0 else off_diagonal


def _by_row(off_diagonal: np.ndarray) -> np.ndarray:
    rows = off_diagonal.sum(1, keepdims=True)
    return np.divide(off_diagonal, rows, out=np.zeros_like(off_diagonal), where=rows > 0)


def _uniform(off_diagonal: np.ndarray) -> np.ndarray:
    return np.ones_like(off_diagonal)


def _none(off_diagonal: np.ndarray) -> np.ndarray:
    return np.zeros_like(off_diagonal)


SCHEMES = {
    "confusion": _as_measured,  # c_ij = A_ij
    "confusion_max": _by_largest,  # c_ij = A_ij / largest off-diagonal A
    "confusion_row": _by_row,  # each row's c_ij sum to 1
    "uniform": _uniform,  # c_ij = 1: eq. 2
    "none": _none,  # c_ij = 0: plain cross-entropy
}


def confusion_weights(normalized, scheme: str = "confusion") -> np.ndarray:
    """Weights of the loss from a row-normalised confusion matrix: Section 3.2.

    normalized   (K, K), row i = shares of the pixels of class i predicted as each class
    scheme       a name of `SCHEMES`; c_ii is 1 in all of them
    returns      (K, K) float32
    raises       ValueError for an unknown scheme or a matrix that is not one
    """
    if scheme not in SCHEMES:
        raise ValueError(f"no weighting scheme {scheme!r}: choose one of {', '.join(SCHEMES)}")
    shares = np.asarray(normalized, np.float64)
    if shares.ndim != 2 or shares.shape[0] != shares.shape[1] or not np.isfinite(shares).all():
        raise ValueError(f"a confusion matrix is (K, K) and finite, got shape {shares.shape}")
    off_diagonal = shares - np.diag(np.diag(shares))
    weights = SCHEMES[scheme](off_diagonal)
    np.fill_diagonal(weights, 1.0)
    return weights.astype(np.float32)
