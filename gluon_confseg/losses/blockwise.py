"""Value and gradient of the paper's loss on the CPU: one pass over blocks of pixels that fit into the cache.

docs/loss.md has the algebra. Shape letters: K classes, B pixels of a block. J is the class of the largest logit.
1 - q_J is computed as the sum of the *other* probabilities, never by a subtraction. The exponentials of the others are
taken relative to the largest of them. So neither rounds to zero, however sure the network is of J.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from .. import runtime
from ..compiled import loss as compiled
from . import memory

BLOCK = 8192  # pixels; with 19 classes in float32 0.6 MB, of which two arrays stay in a second-level cache
_LARGEST = np.finfo(np.float32).max  # beyond it a difference is infinite, and 0 times infinity is NaN


@lru_cache(maxsize=None)
def _threads(count: int, process: int) -> ThreadPoolExecutor:
    # `process` is in the key: after a fork the parent's threads are gone
    return ThreadPoolExecutor(count, thread_name_prefix="confseg-loss")


def value_and_gradient(logits, labels, weights, ignore_label: int, divisors, want_gradient: bool):
    """Loss of each sample, summed over its labelled pixels and divided by the sample's divisor, with its gradient.

    logits    (N, K, P) float32; labels (N, P) integers, checked; weights (K, K) float32, off-diagonals times lambda
    divisors  (N,) float64, none of them 0: with a sample's number of labelled pixels its loss is a mean over these
    returns   (N,) float32, (N, K, P) float32 or None

    The same arithmetic is in compiled/loss.cc, which takes its place where it is built.
    """
    count = runtime.threads() or os.cpu_count() or 1
    if compiled.is_available():
        return compiled.value_and_gradient(
            logits, labels, weights, ignore_label, divisors, want_gradient, count
        )
    samples, _, pixels = logits.shape
    gradient = memory.take(logits.shape) if want_gradient else None
    diagonal, off_diagonal = _split(weights)
    jobs = [(n, slice(p, p + BLOCK)) for n in range(samples) for p in range(0, pixels, BLOCK)]

    def run(job):
        n, part = job
        out = None if gradient is None else gradient[n][:, part]
        scale = np.float32(1.0 / divisors[n])
        return _block(logits[n][:, part], labels[n, part], diagonal, off_diagonal, ignore_label, scale, out)

    threads = _threads(count, os.getpid())
    totals = np.zeros(samples, np.float64)
    for (n, _), total in zip(
        jobs, threads.map(run, jobs)
    ):  # in order: the sum does not depend on the threads
        totals[n] += total
    return (totals / divisors).astype(np.float32), gradient


def _split(weights: np.ndarray):
    """(K, K) -> c_ii (K,), and the off-diagonals transposed so that column i holds c_ij; None if all of these are 0."""
    off_diagonal = weights.T.copy()
    np.fill_diagonal(off_diagonal, 0.0)
    return np.diag(weights).copy(), (off_diagonal if off_diagonal.any() else None)


def _block(logits, labels, diagonal, off_diagonal, ignore_label, scale, out):
    """Sum of the loss over one block's labelled pixels; writes the gradient, (K, B), to `out` unless that is None."""
    valid = labels != ignore_label
    if not valid.any():
        if out is not None:
            out[...] = 0.0
        return 0.0
    true = np.where(valid, labels, 0).astype(np.intp)
    pixel = np.arange(len(true))
    first, second, top = _two_largest(logits)
    with np.errstate(over="ignore", under="ignore"):
        shares = logits - second
        shares[top, pixel] = -np.inf
        np.exp(shares, out=shares)  # (K, B): the other classes, relative to the largest of them; 0 at J
        rest = shares.sum(0)
        shares /= rest
        gap = np.minimum(first - second, _LARGEST)
        behind = np.minimum(first - logits[true, pixel], _LARGEST)
        odds = rest * np.exp(-gap)  # (1 - q_J) / q_J
    log_total = np.log1p(odds)
    q_top = 1.0 / (1.0 + odds)
    q_rest = odds * q_top

    own = diagonal[true]
    penalty = None
    with np.errstate(over="ignore"):  # logits so far apart that float32 overflows have an infinite loss
        loss = own * (log_total + behind)
        if off_diagonal is not None:
            penalty = _penalty(shares, q_top, q_rest, off_diagonal[:, true], top, pixel)
            loss += penalty.value + penalty.at_top * (log_total + gap - np.log(rest))
    if out is not None:
        _gradient(out, shares, q_top, q_rest, own, true, top, pixel, penalty)
        out *= np.where(valid, scale, np.float32(0.0))
    return float(loss[valid].sum(dtype=np.float64))


def _two_largest(logits):
    """(K, B) -> largest, second largest (equal on a tie), class of the largest; (B,) each."""
    first = logits[0].copy()
    second = np.full_like(first, -np.inf)
    top = np.zeros(first.shape, np.intp)
    for k in range(1, len(logits)):
        row = logits[k]
        np.copyto(top, k, where=row > first)
        np.maximum(second, np.minimum(row, first), out=second)
        np.maximum(first, row, out=first)
    return first, second, top


class _Penalty:
    """value (B,): sum over j != J of -c_ij log(1 - q_j); pull (K, B): c_ij q_j / (1 - q_j), 0 at J; at_top: c_iJ."""

    def __init__(self, value, pull, at_top):
        self.value, self.pull, self.at_top = value, pull, at_top


def _penalty(shares, q_top, q_rest, columns, top, pixel) -> _Penalty:
    at_top = columns[top, pixel]
    probabilities = shares * q_rest  # at most 1/2 each: J is left out
    pull = np.negative(probabilities)
    np.log1p(pull, out=pull)
    pull *= columns
    value = -pull.sum(0)
    np.subtract(1.0, probabilities, out=pull)
    np.divide(probabilities, pull, out=pull)
    pull *= columns
    return _Penalty(value, pull, at_top)


def _gradient(out, shares, q_top, q_rest, own, true, top, pixel, penalty) -> None:
    """(K, B) gradient of the loss by the logits, not yet divided by the number of pixels."""
    if penalty is None:
        np.multiply(shares, q_rest * own, out=out)
        at_top = q_top * own
    else:
        pulled = penalty.pull.sum(0)
        np.multiply(shares, q_rest * (own - pulled) - penalty.at_top * q_top, out=out)
        out += penalty.pull
        at_top = q_top * (own - pulled + penalty.at_top)
    out[top, pixel] = at_top
    right = top == true
    out[true, pixel] -= own
    # where the network is right and sure, q_i - 1 would round, so it is computed as minus the sum of the others
    exact = -own * q_rest if penalty is None else -own * q_rest - q_top * pulled
    out[top[right], pixel[right]] = exact[right]
