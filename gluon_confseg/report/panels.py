"""Which images show best what the subnets changed: the rows of Fig. 8."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gluon_confseg import metrics
from gluon_confseg.report.per_image import PerImage

PANELS = 6
ABREAST = 6  # most arms that stand side by side


class Panel(NamedTuple):
    """An image, the confusion that changed there, as (truth, prediction), and whether it grew."""

    image: int
    pair: tuple
    worse: bool


def choose(before: PerImage, after: PerImage, groups: Sequence, images: Iterable[int]) -> list:
    """At most PANELS panels, each image once: where confusions inside the groups were mended most, and where one grew.

    before, after   per-image counts of the first arm and of the last
    images          those that can be shown
    """
    pairs = _worst_pairs(before.total()[:, :-1], groups)
    shown, chosen, taken = sorted(images), [], set()

    def best_unused(gains: np.ndarray) -> int | None:
        for place in np.argsort(-gains[shown], kind="stable"):
            image = shown[place]
            if gains[image] <= 0:
                return None
            if image not in taken:
                taken.add(image)
                return image
        return None

    for pair in pairs:
        image = best_unused(before.pixels(*pair) - after.pixels(*pair))
        if image is not None and len(chosen) < PANELS - 1:
            chosen.append(Panel(image, pair, False))
    if pairs and shown:
        growth = {pair: after.pixels(*pair) - before.pixels(*pair) for pair in pairs}
        pair = max(pairs, key=lambda pair: growth[pair][shown].max())
        image = best_unused(growth[pair])
        if image is not None:
            chosen.append(Panel(image, pair, True))
        if not chosen:  # nothing changed: show where the worst pair is confused most
            chosen.append(Panel(shown[int(before.pixels(*pairs[0])[shown].argmax())], pairs[0], False))
    return chosen


def _worst_pairs(counts: np.ndarray, groups: Sequence) -> list:
    """Pairs (truth, prediction) inside the groups, by their share of the truth, with the groups in turn."""
    shares = metrics.normalize(counts)
    ranked = [
        sorted(
            ((i, j) for i in group for j in group if i != j and shares[i, j] > 0), key=lambda p: -shares[p]
        )
        for group in groups
    ]
    longest = max((len(pairs) for pairs in ranked), default=0)
    return [pairs[turn] for turn in range(longest) for pairs in ranked if turn < len(pairs)]
