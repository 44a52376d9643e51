"""Which images of a run are kept for its report, and reading them from the run folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gluon_confseg.report import costs, crops, panels
from gluon_confseg.report.per_image import PerImage

MOST = 64  # images


def choose(matrices: Sequence[np.ndarray], groups: Sequence, images: Iterable[int]) -> list:
    """Indices of at most MOST images that show what is confused, ascending.

    matrices   (N, K, K) per-image counts of each arm
    groups     those that have subnets
    images     indices of the images that can be shown
    """
    images = sorted(images)
    arms = [PerImage.from_matrices(counts) for counts in matrices]
    chosen = [panel.image for panel in panels.choose(arms[0], arms[-1], groups, images)]
    chosen += [one.image for one in crops.wanted(arms, pair_costs(arms), images)]
    return sorted(list(dict.fromkeys(chosen))[:MOST])


def pair_costs(arms: Sequence[PerImage]) -> list:
    """(K, K + 1) for each arm: the mIoU that each of its confusions costs."""
    found = []
    for arm in arms:
        total = arm.total()
        found.append(costs.pair_costs(total[:, :-1], total[:, -1]))
    return found
