"""The losses of Table 2 and newer ones against imbalance and confusion, by name; docs/peers.md has their formulas."""

from __future__ import annotations

import inspect

from ..statistics import LabelStatistics
from .adjustment import LogitAdjustedLoss
from .complement import ComplementLoss
from .focal import FocalLoss
from .lovasz import LovaszSoftmaxLoss
from .max_pooling import LossMaxPooling
from .ohem import OHEMLoss
from .pixels import PeerLoss
from .recall import RecallLoss
from .seesaw import SeesawLoss
from .weighted import InverseFrequencyLoss, MedianFrequencyLoss

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

PEERS = {
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


def peer(
    name: str, num_classes: int, statistics: LabelStatistics = None, ignore_label: int = 255, **settings
) -> PeerLoss:
    """A loss of `PEERS` by name.

    statistics   label statistics of the training split, for the losses that need them; others take no notice
    settings     as in `peer_settings(name)`
    Raises ValueError for an unknown name or setting, or where statistics are missing or of other classes.
    """
    known = peer_settings(name)
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


def peer_settings(name: str) -> dict:
    """Setting -> default of a loss of `PEERS`; ValueError for an unknown name."""
    if name not in _CLASSES:
        raise ValueError(f"no peer loss {name!r}: choose one of {', '.join(PEERS)}")
    parameters = inspect.signature(_CLASSES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "ignore_label"}
