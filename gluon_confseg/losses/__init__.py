"""All losses by name, the paper's and others against imbalance and confusion; `build` makes one of them.

docs/loss.md has the formula of the paper's loss, docs/peers.md those of the others.
"""

from __future__ import annotations

import difflib
import inspect

import numpy as np
from mxnet import gluon

from .adjustment import LogitAdjustedLoss
from .complement import ComplementLoss
from .confusion import AVERAGES, ConfusionCELoss, CrossEntropyLoss
from .focal import FocalLoss
from .labels import LabelError
from .lovasz import LovaszSoftmaxLoss
from .max_pooling import LossMaxPooling
from .ohem import OHEMLoss
from .pixels import PixelLoss
from .recall import RecallLoss
from .schemes import SCHEMES, confusion_weights
from .seesaw import SeesawLoss
from .statistics import LabelStatistics
from .weighted import InverseFrequencyLoss, MedianFrequencyLoss

__all__ = [
    "AVERAGES",
    "NAMES",
    "OTHER_LOSSES",
    "SCHEMES",
    "ConfusionCELoss",
    "CrossEntropyLoss",
    "LabelError",
    "LabelStatistics",
    "build",
    "confusion_weights",
    "other_loss",
    "other_settings",
]

_CLASSES = {
    "median_frequency": MedianFrequencyLoss,
    "inverse_frequency": InverseFrequencyLoss,
    "ohem": OHEMLoss,
    "loss_max_pooling": LossMaxPooling,
    "focal": FocalLoss,
    "lovasz": LovaszSoftmaxLoss,
    "logit_adjustment": LogitAdjustedLoss,
    "seesaw": SeesawLoss,
    "recall": RecallLoss,
    "complement": ComplementLoss,
}

OTHER_LOSSES = {
    "median_frequency": "cross-entropy, classes weighted by median frequency (Eigen and Fergus 2015)",
    "inverse_frequency": "cross-entropy, classes weighted by inverse frequency",
    "ohem": "cross-entropy of the hard pixels alone (Wu et al. 2016)",
    "loss_max_pooling": "cross-entropy, pixels weighted to make it as large as bounds allow (Rota Bulo et al. 2017)",
    "focal": "cross-entropy that fades where the network is sure (Lin et al. 2017)",
    "lovasz": "a smooth stand-in for one minus the IoU (Berman et al. 2018)",
    "logit_adjustment": "cross-entropy of logits shifted by the classes' priors (Menon et al. 2021)",
    "seesaw": "cross-entropy where frequent classes press less on rare ones (Wang et al. 2021)",
    "recall": "cross-entropy, classes weighted by how much of them is missed (Tian et al. 2022)",
    "complement": "cross-entropy that also makes the wrong classes equally improbable (Kim et al. 2021)",
}

NAMES = ("ce", "confusion_ce", *OTHER_LOSSES)


def build(
    name: str,
    num_classes: int,
    *,
    weights=None,
    penalty: float = 5.0,
    statistics: LabelStatistics | None = None,
    average: str = "image",
    class_weights=None,
    ignore_label: int = 255,
) -> gluon.loss.Loss:
    """A loss of `NAMES`: (N, K, H, W) logits, (N, H, W) labels -> (N,).

    name        "ce", plain cross-entropy; "confusion_ce", the paper's improved one (Section 3.2); or a name of
                `OTHER_LOSSES`, with its published settings
    weights     (K, K), C of "confusion_ce": see `confusion_weights`; other losses ignore it
    penalty     lambda of "confusion_ce"
    statistics  label statistics of the training split, for the other losses that need them
    average     "image" or "batch", the labelled pixels over which the mean is taken: see `ConfusionCELoss`. For the
                losses of `OTHER_LOSSES` it is the published one, "image"
    class_weights  (K,), by which the whole loss of a class's pixels is multiplied, for "ce" and "confusion_ce"; the
                mean stays over all labelled pixels. None: 1 for all
    Raises ValueError for an unknown name or average, and for weights or statistics that are missing or have another
    number of classes.
    """
    if name not in NAMES:
        nearest = difflib.get_close_matches(name, NAMES, 1)
        meant = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"no loss {name!r}: {meant}choose one of {', '.join(NAMES)}")
    if class_weights is not None and name in OTHER_LOSSES:
        raise ValueError(f'{name} has its own weights: class_weights are for "ce" and "confusion_ce"')
    if class_weights is not None and np.shape(class_weights) != (num_classes,):
        raise ValueError(f"{np.shape(class_weights)} class weights, the loss is of {num_classes} classes")
    if name in OTHER_LOSSES:
        if average != "image":
            raise ValueError(
                f'{name} has each image\'s mean alone: average "{average}" is for "ce" and "confusion_ce"'
            )
        return other_loss(name, num_classes, statistics, ignore_label)
    if name == "ce":
        if class_weights is not None:
            return ConfusionCELoss(np.diag(class_weights), 0.0, ignore_label, average=average)
        return CrossEntropyLoss(num_classes, ignore_label, average=average)
    if weights is None:
        raise ValueError("confusion_ce needs the weights C: pass losses.confusion_weights(normalized)")
    if np.shape(weights) != (num_classes, num_classes):
        raise ValueError(f"these weights are {np.shape(weights)}, the loss is of {num_classes} classes")
    if class_weights is not None:
        weights = np.asarray(weights) * np.asarray(class_weights)[:, None]
    return ConfusionCELoss(weights, penalty, ignore_label, average=average)


def other_loss(
    name: str, num_classes: int, statistics: LabelStatistics = None, ignore_label: int = 255, **settings
) -> PixelLoss:
    """A loss of `OTHER_LOSSES` by name.

    statistics   label statistics of the training split, for the losses that need them; others ignore them
    settings     as in `other_settings(name)`
    Raises ValueError for an unknown name or setting, or if statistics are missing or have another number of classes.
    """
    known = other_settings(name)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"{name} has no setting {unknown[0]!r}: it has {', '.join(known) or 'none'}")
    if "statistics" not in inspect.signature(_CLASSES[name]).parameters:
        return _CLASSES[name](num_classes, ignore_label=ignore_label, **settings)
    if statistics is None:
        raise ValueError(f"{name} needs the training split's statistics: pass LabelStatistics.count(...)")
    if statistics.num_classes != num_classes:
        raise ValueError(
            f"these statistics are of {statistics.num_classes} classes, the loss is of {num_classes}"
        )
    return _CLASSES[name](num_classes, statistics, ignore_label=ignore_label, **settings)


def other_settings(name: str) -> dict:
    """A loss's settings with their defaults, for a name of `OTHER_LOSSES`; ValueError for others."""
    if name not in _CLASSES:
        raise ValueError(f"no loss {name!r}: choose one of {', '.join(OTHER_LOSSES)}")
    parameters = inspect.signature(_CLASSES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "ignore_label"}
