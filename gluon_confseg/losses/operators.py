"""Value and gradient of the paper's loss with MXNet operators, for GPUs; tests compare them with `blockwise`.

`F` is `mx.nd` or `mx.sym`. Nothing here is recorded: the gradient is computed by its formula.
"""

from __future__ import annotations

_LARGEST = 3.4028234e38  # of float32; beyond it a difference is infinite, and 0 times infinity is NaN


def value_and_gradient(F, logits, labels, weights, divisors, ignore_label: int, num_classes: int):
    """(N, K, P) logits, (N, P) labels, (K, K) weights, off-diagonals times lambda -> (N,) loss, (N, K, P) gradient.

    divisors: (N,), the numbers by which samples' sums over labelled pixels are divided, none of them 0.
    """
    valid = labels != ignore_label
    # pick() and take() clip: 255 would become class K - 1
    true = F.where(valid, labels, F.zeros_like(labels))
    truth = F.one_hot(true, num_classes).transpose((0, 2, 1))
    columns = F.take(weights, true, axis=0).transpose((0, 2, 1))
    own = (columns * truth).sum(axis=1)
    columns = columns * (1 - truth)

    first = logits.max(axis=1)
    top = F.one_hot(logits.argmax(axis=1), num_classes).transpose((0, 2, 1))
    second = F.where(top, F.ones_like(logits) * -_LARGEST, logits).max(axis=1)
    relative = F.broadcast_sub(logits, second.expand_dims(1))
    shares = F.where(top, F.zeros_like(logits), F.exp(F.minimum(relative, F.zeros_like(relative))))
    rest = shares.sum(axis=1)
    shares = F.broadcast_div(shares, rest.expand_dims(1))
    gap = F.minimum(first - second, _LARGEST)
    behind = F.minimum(first - (logits * truth).sum(axis=1), _LARGEST)
    odds = rest * F.exp(-gap)
    log_total = F.log1p(odds)
    q_top = 1 / (1 + odds)
    q_rest = odds * q_top

    probabilities = F.broadcast_mul(shares, q_rest.expand_dims(1))
    at_top = (columns * top).sum(axis=1)
    pull = columns * probabilities / (1 - probabilities)
    pulled = pull.sum(axis=1)
    loss = own * (log_total + behind)
    loss = loss - (columns * F.log1p(-probabilities)).sum(axis=1) + at_top * (log_total + gap - F.log(rest))

    others = F.broadcast_mul(shares, (q_rest * (own - pulled) - at_top * q_top).expand_dims(1)) + pull
    others = others - F.broadcast_mul(truth, own.expand_dims(1))
    right = (top * truth).sum(axis=1)
    of_top = F.where(right, -own * q_rest - q_top * pulled, q_top * (own - pulled + at_top))
    gradient = F.where(top, F.broadcast_mul(top, of_top.expand_dims(1)), others)

    share = F.broadcast_div(valid, divisors.expand_dims(1))
    return (loss * share).sum(axis=1), F.broadcast_mul(gradient, share.expand_dims(1))
