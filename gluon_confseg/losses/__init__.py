"""The losses of Table 2 and newer ones against imbalance and confusion, by name; docs/peers.md has their formulas."""

from __future__ import annotations

import inspect

from .adjustment import LogitAdjustedLoss
from .complement import ComplementLoss
from .confusion import ConfusionCELoss, CrossEntropyLoss
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
    "OTHER_LOSSES",
    "SCHEMES",
    "ConfusionCELoss",
    "CrossEntropyLoss",
    "LabelError",
    "LabelStatistics",
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


def other_loss(
    name: str, num_classes: int, statistics: LabelStatistics = None, ignore_label: int = 255, **settings
) -> PixelLoss:
    """A loss of `OTHER_LOSSES` by name.

    statistics   label statistics of the training split, for the losses that need them; others take no notice
    settings     as in `other_settings(name)`
    Raises ValueError for an unknown name or setting, or where statistics are missing or of other classes.
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
    """Setting -> default of a loss of `OTHER_LOSSES`; ValueError for an unknown name."""
    if name not in _CLASSES:
        raise ValueError(f"no peer loss {name!r}: choose one of {', '.join(OTHER_LOSSES)}")
    parameters = inspect.signature(_CLASSES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "ignore_label"}
