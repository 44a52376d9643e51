"""Checks labels, NumPy or NDArray, before the losses use them as indices."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import ConfSegError


class LabelError(ConfSegError, ValueError):
    """A label that is neither a class nor the ignored value."""


def label_array(labels, classes: int, ignore_label: int) -> np.ndarray:
    """`labels` as NumPy; raises LabelError unless each is a class or `ignore_label`."""
    array = labels.asnumpy() if hasattr(labels, "asnumpy") else np.asarray(labels)
    if _are_known(array, classes, ignore_label):
        return array
    counted = array[array != ignore_label]
    outside = counted[(counted < 0) | (counted >= classes) | (counted != np.floor(counted))]
    if outside.size:
        raise LabelError(
            f"label {outside[0]:g} is no class (0-{classes - 1}) and not the ignored {ignore_label}: "
            "are these raw ids where train ids are wanted?"
        )
    return array


def _are_known(array: np.ndarray, classes: int, ignore_label: int) -> bool:
    """Whether bytes are all classes or `ignore_label`: a histogram takes a tenth of the time of comparisons."""
    if array.dtype != np.uint8 or not array.size:
        return False
    found = set(np.flatnonzero(cv2.calcHist([array.reshape(-1, 1)], [0], None, [256], [0, 256])).tolist())
    return found <= {*range(classes), ignore_label}


def check_shapes(logits, labels, classes: int) -> None:
    """Raises ValueError unless logits are (N, K, ...) and labels (N, ...), with the same sizes at N and ..."""
    wanted = (logits.shape[0],) + logits.shape[2:]
    if logits.ndim < 2 or logits.shape[1] != classes or tuple(labels.shape) != wanted:
        raise ValueError(
            f"logits {logits.shape} and labels {labels.shape} don't fit: "
            f"wanted (N, {classes}, H, W) and (N, H, W)"
        )
