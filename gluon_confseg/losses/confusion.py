"""The paper's improved cross-entropy: Section 3.2, eq. 3, with the sign for which eq. 4 is its derivative.

L = - c_ii log q_i - lambda * sum over j != i of c_ij log(1 - q_j)
"""

from __future__ import annotations

from functools import partial

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from ..function import Function
from . import blockwise, memory, operators
from .labels import check_shapes, label_array

AVERAGES = ("image", "batch")


class ConfusionCELoss(gluon.loss.Loss):
    """Cross-entropy that also penalises the probabilities of those classes that a class is confused with: Section 3.2.

    (N, K, H, W) logits, (N, H, W) labels -> (N,): each sample's mean over its labelled pixels.

    weights       (K, K), c_ij; see `confusion_weights`
    penalty       lambda, 5 in the paper; 0 leaves c_ii-weighted cross-entropy
    ignore_label  pixels with this label add nothing to value and gradient
    average       "image", each sample's mean over its labelled pixels; or "batch", where all labelled pixels of the
                  batch count alike and the mean of the N values is the mean over them, as in the code of ResNet-38's
                  authors

    Value and gradient are finite and exact for any finite logits. Both are computed in float32; for float16 logits the
    gradient is rounded at the end, after a scaling of the loss if there is any. Don't put this loss inside a hybridized
    block: a custom Function there crashes MXNet 1.9.1 in backward.
    Raises ValueError for weights that are not (K, K), for negative or infinite ones, and for an unknown average.
    """

    def __init__(
        self,
        weights,
        penalty: float = 5.0,
        ignore_label: int = 255,
        weight=None,
        batch_axis=0,
        *,
        average: str = "image",
        **kwargs,
    ):
        super().__init__(weight, batch_axis, **kwargs)
        if average not in AVERAGES:
            raise ValueError(f"no average {average!r}: choose one of {', '.join(AVERAGES)}")
        self._weights = _with_penalty(weights, penalty)
        self._ignore_label, self._average = ignore_label, average

    def forward(self, logits, labels):
        """(N, K, H, W) logits, (N, H, W) labels -> (N,): see `average`; 0 for a sample without labelled pixels.

        Raises LabelError for a label outside the classes, ValueError for shapes that don't fit.
        """
        check_shapes(logits, labels, len(self._weights))
        known = label_array(labels, len(self._weights), self._ignore_label).reshape(logits.shape[0], -1)
        divisors = _divisors(known != self._ignore_label, self._average)
        evaluate, taken = (_on_device, labels) if logits.context.device_type == "gpu" else (_on_cpu, known)
        evaluate = partial(
            evaluate, labels=taken, weights=self._weights, ignore_label=self._ignore_label, divisors=divisors
        )
        if autograd.is_recording():
            loss = _WithGradient(evaluate)(logits)
        else:
            loss, _ = evaluate(logits, want_gradient=False)
        return loss if self._weight is None else loss * self._weight

    # Loss is a HybridBlock, but a custom Function can't be traced, so hybridize() must do nothing
    def hybridize(self, active=True, **kwargs):
        """Do nothing: the loss stays imperative."""


class CrossEntropyLoss(ConfusionCELoss):
    """Plain softmax cross-entropy that ignores `ignore_label`: eq. 1. `average` is as in `ConfusionCELoss`."""

    def __init__(self, num_classes: int, ignore_label: int = 255, **kwargs):
        super().__init__(np.eye(num_classes, dtype=np.float32), 0.0, ignore_label, **kwargs)


def _divisors(labelled: np.ndarray, average: str) -> np.ndarray:
    """(N, P), whether pixels are labelled -> (N,) float64, the numbers that samples' sums are divided by, never 0."""
    counts = labelled.sum(1)
    if average == "image":
        return np.maximum(counts, 1).astype(np.float64)
    return np.full(len(counts), max(int(counts.sum()), 1) / len(counts))


def _with_penalty(weights, penalty: float) -> np.ndarray:
    weights = np.array(weights.asnumpy() if hasattr(weights, "asnumpy") else weights, np.float32)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or len(weights) < 2:
        raise ValueError(f"weights are (K, K) for two classes or more, got {weights.shape}")
    if not np.isfinite(weights).all() or weights.min() < 0 or not np.isfinite(penalty) or penalty < 0:
        raise ValueError(
            "weights and penalty are finite and not negative: a negative one rewards wrong classes"
        )
    combined = np.float32(penalty) * weights
    np.fill_diagonal(combined, np.diag(weights))
    return combined


class _WithGradient(Function):
    """Computes value and gradient in one pass, and returns the gradient in backward: eq. 4."""

    def __init__(self, evaluate):
        super().__init__()
        self._evaluate = evaluate

    def value(self, logits):
        self._dtype = logits.dtype
        loss, gradient = self._evaluate(logits, want_gradient=True)
        self._gradient = memory.Kept(gradient) if isinstance(gradient, np.ndarray) else gradient
        return loss

    def gradients(self, upstream):
        factors, gradient = upstream.asnumpy(), self._gradient
        if isinstance(gradient, memory.Kept):
            gradient = mx.nd.from_numpy(gradient.use())
        if (factors != 1).any():
            factors = factors.reshape((-1,) + (1,) * (gradient.ndim - 1))
            gradient = gradient * mx.nd.array(factors, ctx=gradient.context)
        # cast last: with half a million pixels, float16 holds their gradients only once the loss is scaled
        return [gradient.astype(self._dtype, copy=False)]


# both return the (N,) loss and its gradient in the logits' shape, in float32 whatever the logits' type: the gradient as
# NumPy's array, or the device's


def _on_cpu(
    logits, labels: np.ndarray, weights: np.ndarray, ignore_label: int, divisors, want_gradient: bool
):
    flat = _view(logits).reshape(logits.shape[0], logits.shape[1], -1)
    loss, gradient = blockwise.value_and_gradient(
        flat.astype(np.float32, copy=False), labels, weights, ignore_label, divisors, want_gradient
    )
    if gradient is not None:
        gradient = gradient.reshape(logits.shape)
    return mx.nd.array(loss, ctx=logits.context), gradient


def _on_device(logits, labels, weights: np.ndarray, ignore_label: int, divisors, want_gradient: bool):
    context, classes = logits.context, len(weights)
    flat = logits.astype("float32").reshape((0, 0, -1))
    labels = labels if isinstance(labels, mx.nd.NDArray) else mx.nd.array(labels)
    labels = labels.astype("float32").as_in_context(context).reshape((logits.shape[0], -1))
    weights, divisors = (mx.nd.array(array, ctx=context) for array in (weights, divisors))
    loss, gradient = operators.value_and_gradient(
        mx.nd, flat, labels, weights, divisors, ignore_label, classes
    )
    return loss, gradient.reshape(logits.shape)


class _Capsule:
    """An object as `np.from_dlpack` takes it, around MXNet's bare capsule."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, stream=None):
        return self._array.to_dlpack_for_read()

    def __dlpack_device__(self):
        return (1, 0)


def _view(array) -> np.ndarray:
    """A CPU NDArray as NumPy, without a copy if its layout is the ordinary one."""
    try:
        return np.from_dlpack(_Capsule(array))
    except mx.MXNetError:  # MKL-DNN keeps a convolution's output in blocks of channels
        return array.asnumpy()
