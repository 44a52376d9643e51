"""The discovery of groups in one matrix at many thresholds: how groups form, and when two classes are in one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gluon_confseg import groups, metrics

# steps below the automatic threshold and above it, for up to so many classes: the search takes longer for more
STEPS = {40: (8, 14), 100: (4, 6), 10**6: (2, 3)}
LOWEST = 1 / 16  # of the automatic threshold


@dataclasses.dataclass(frozen=True)
class Discovery:
    """Groups of one matrix.

    name        which matrix it is
    strength    (K, K) shares A + A^T, zeros on the diagonal
    automatic   the threshold that `groups.discover` takes by default
    steps       [(threshold, groups)], thresholds ascending; groups are lists of classes. At the first threshold all
                classes may be one group, which is no group: it is None then, and lower ones are left out
    """

    name: str
    strength: np.ndarray
    automatic: float
    steps: Sequence[tuple]

    def joining(self, *classes: int) -> float | None:
        """The highest of the thresholds at which these classes are in one group; None where they never are."""
        joined = [
            threshold
            for threshold, found in self.steps
            if any(set(classes) <= set(group) for group in found or ())
        ]
        return max(joined, default=None)


def at_thresholds(name: str, counts: np.ndarray) -> Discovery:
    """Discover groups at thresholds from near 0 to near the heaviest edge, the automatic one among them."""
    shares = metrics.normalize(counts)
    strength = shares + shares.T
    np.fill_diagonal(strength, 0)
    automatic, most = groups.automatic_threshold(shares), float(strength.max(initial=0))
    below, above = next(steps for size, steps in STEPS.items() if len(shares) <= size)
    if not 0 < automatic < most:
        below = above = 0
    lower = [*(automatic * np.geomspace(LOWEST, 1, below + 1)[-2::-1]), 0.0] if below else []
    higher = np.geomspace(automatic, most, above + 1)[:-1] if above else [automatic]
    steps = [(float(threshold), _groups(shares, threshold)) for threshold in higher]
    for threshold in lower:
        steps.insert(0, (float(threshold), _groups(shares, threshold)))
        if steps[0][1] is None:
            break
    return Discovery(name, strength, automatic, steps)


def _groups(shares: np.ndarray, threshold: float) -> list | None:
    try:
        return [list(group) for group in groups.discover(shares, threshold=float(threshold))]
    except groups.MatrixError:
        return None
