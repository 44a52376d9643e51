"""The weights C = [c_ij] of the paper's improved cross-entropy, from a confusion matrix A: Section 3.2, eq. 3.

The paper does not say how C comes from A. Each way has a name; docs/decisions.md gives the reasons for the default.
"""

from __future__ import annotations

import numpy as np

from ..groups import checked_shares
from ..metrics import normalize


def _as_measured(off_diagonal: np.ndarray) -> np.ndarray:
    return off_diagonal


def _by_largest(off_diagonal: np.ndarray) -> np.ndarray:
    largest = off_diagonal.max(initial=0.0)
    return off_diagonal / largest if largest > 0 else off_diagonal


SCHEMES = {
    "confusion": _as_measured,  # c_ij = A_ij
    "confusion_max": _by_largest,  # c_ij = A_ij / largest off-diagonal A
    "confusion_row": normalize,  # each row's c_ij sum to 1
    "uniform": np.ones_like,  # c_ij = 1: eq. 2
    "none": np.zeros_like,  # c_ij = 0: plain cross-entropy
    "literal": _as_measured,  # C = A with its diagonal, so the loss does not ask for a class that was never found
}


def confusion_weights(normalized, scheme: str = "confusion") -> np.ndarray:
    """Weights of the loss from a row-normalised confusion matrix: Section 3.2.

    normalized   (K, K), row i = shares of the pixels of class i predicted as each class
    scheme       a name of `SCHEMES`; c_ii is 1 in all of them but "literal", where C = A, as the paper's words have it
    returns      (K, K) float32
    raises       ValueError for an unknown scheme, and for no matrix of shares: see `groups.checked_shares`
    """
    if scheme not in SCHEMES:
        raise ValueError(f"no weighting scheme {scheme!r}: choose one of {', '.join(SCHEMES)}")
    shares = checked_shares(normalized)
    weights = SCHEMES[scheme](shares - np.diag(np.diag(shares)))
    np.fill_diagonal(weights, np.diag(shares) if scheme == "literal" else 1.0)
    return weights.astype(np.float32)
