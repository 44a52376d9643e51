"""Discriminative confusing groups, found in a normalised confusion matrix: Section 3.1, Table 1.

The classes are the nodes of a graph. The edge between two classes has the weight S = A + A^T, less the mean of S over
all pairs, and at least 0. The groups are the communities with the highest modularity; a class alone is no group.

All arithmetic is on integers (millionths of a share), so the result depends on neither the order of the classes, a
seed, nor the machine. docs/decisions.md says why the threshold is subtracted from every edge.
"""

from __future__ import annotations

import dataclasses
import numbers

import numpy as np

from .errors import ConfSegError

_MILLIONTHS = 1_000_000
_STARTS = 64


class MatrixError(ConfSegError, ValueError):
    """An array that is no confusion matrix, or a setting by which no groups can be found in one."""


@dataclasses.dataclass(frozen=True)
class ConfusingGroup:
    """classes: train ids in ascending order; confusion: sum of A[i, j] over pairs i != j inside the group."""

    classes: tuple
    confusion: float = 0.0

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self):
        return iter(self.classes)


@dataclasses.dataclass(frozen=True)
class SubnetSpace:
    """The output space of a subnet: "others", then the classes of its group in order. Sections 3.1 and 3.3.

    A group of all K classes leaves nothing for "others", so its channels are its classes alone. This is called a full
    head. It is the control that shows what a subnet gains by capacity and training alone, without a group.
    """

    group: tuple
    num_classes: int

    def __post_init__(self):
        object.__setattr__(self, "group", tuple(int(klass) for klass in self.group))

    @property
    def has_others(self) -> bool:
        """Whether channel 0 is "others"."""
        return len(self.group) < self.num_classes

    @property
    def channels(self) -> int:
        """Number of channels of a subnet with this space: |g| + 1, or K for a group of all classes."""
        return len(self.group) + self.has_others

    @property
    def outside(self) -> tuple:
        """The classes that "others" stands for, ascending."""
        return tuple(sorted(set(range(self.num_classes)) - set(self.group)))

    def channel_of_class(self) -> list:
        """The channel of each of the K classes; 0, "others", for those outside the group."""
        channels = [0] * self.num_classes
        for channel, klass in enumerate(self.group, int(self.has_others)):
            channels[klass] = channel
        return channels

    def members(self) -> np.ndarray:
        """(channels, K) of 0 and 1: which classes are in which channel."""
        return np.equal.outer(np.arange(self.channels), self.channel_of_class()).astype(np.uint8)


# Table 1 and Section 4.2, as train ids of `labels.CITYSCAPES` and `labels.VOC`
PAPER = {
    "cityscapes": [
        ConfusingGroup((2, 3, 4, 5, 6, 7)),  # building, wall, fence, pole, traffic light, traffic sign
        ConfusingGroup((13, 14, 15, 16)),  # car, truck, bus, train
        ConfusingGroup((11, 12, 17, 18)),  # person, rider, motorcycle, bicycle
    ],
    "voc": [ConfusingGroup((0, 9, 11, 16, 18))],  # background, chair, dining table, potted plant, sofa
}


def discover(normalized, *, threshold: float | None = None, max_groups: int | None = None) -> list:
    """Find the groups of classes that a network confuses: Section 3.1.

    normalized   (K, K), row i = shares of the pixels of class i predicted as each class; rows without pixels are 0
    threshold    a number from 0 that is subtracted from the weight of every edge, so that weaker edges vanish; default:
                 `automatic_threshold`, the mean edge
    max_groups   at most so many groups, from 1, are kept, those with the most confusion inside; default: all
    returns      list of ConfusingGroup, the most confused first; empty where nothing is confused
    raises       MatrixError, a ValueError, for what is no confusion matrix (see `checked_shares`), a threshold below
                 0, max_groups below 1, and a given threshold that makes all classes one group: no class would be left
                 for "others". The error says which threshold is high enough. The default threshold never does this
    """
    shares = checked_shares(normalized)
    if max_groups is not None and not (isinstance(max_groups, numbers.Integral) and max_groups >= 1):
        raise MatrixError(
            f"max_groups is a whole number from 1, got {max_groups!r}: leave it out to keep all"
        )
    symmetric = _symmetrised(shares)
    if threshold is None:
        return _communities(shares, symmetric, _automatic_cut(shares, symmetric))[:max_groups]
    if not (isinstance(threshold, numbers.Real) and 0 <= threshold < np.inf):
        raise MatrixError(f"a threshold is a share from 0, got {threshold!r}: leave it out for the mean edge")
    cut = round(float(threshold) * _MILLIONTHS)
    found = _communities(shares, symmetric, cut)
    if any(len(group) == len(shares) for group in found):
        enough = _raised(shares, symmetric, cut) / _MILLIONTHS
        raise MatrixError(
            f'at a threshold of {threshold} all {len(shares)} classes are one group, which leaves none for "others": '
            f"a threshold of {enough} is high enough"
        )
    return found[:max_groups]


def inside(normalized, classes) -> float:
    """Confusion inside a group: the sum of A[i, j] over all pairs i != j of these classes.

    normalized   (K, K) as for `discover`, which raises the same errors
    classes      an iterable of classes; `ConfusingGroup.confusion` is this number where `discover` found the group
    """
    members = list(classes)
    block = checked_shares(normalized)[np.ix_(members, members)]
    return float(block.sum() - np.trace(block))


def checked_shares(normalized) -> np.ndarray:
    """A row-normalised confusion matrix as (K, K) float64, checked; every function that reads such a matrix calls this.

    Raises MatrixError, a ValueError, for an array that is not square, holds no class, is not finite, or holds numbers
    that are no shares, such as counts or numbers below 0.
    """
    shares = np.asarray(normalized, np.float64)
    if shares.ndim != 2 or shares.shape[0] != shares.shape[1] or not shares.size:
        raise MatrixError(f"a confusion matrix is (K, K) for one class or more, got {shares.shape}")
    if not np.isfinite(shares).all() or shares.min() < 0 or shares.max() > 1 + 1e-6:
        raise MatrixError(
            "a normalised confusion matrix holds shares from 0 to 1: pass metrics.normalize(counts)"
        )
    return shares


def overlap(group, candidates) -> float:
    """Largest intersection over union of `group` with any of `candidates`, iterables of classes; 0 without any."""
    members = set(group)
    return max((len(members & set(c)) / len(members | set(c)) for c in candidates), default=0.0)


def mean_edge(normalized) -> float:
    """The mean symmetrised edge over the pairs of classes that have pixels."""
    shares = checked_shares(normalized)
    return _mean_cut(shares, _symmetrised(shares)) / _MILLIONTHS


def automatic_threshold(normalized) -> float:
    """The default of `discover`: the mean symmetrised edge over the pairs of classes that have pixels.

    This can give one group of all classes, as for a network that calls everything "building", and such a group has no
    "others". The threshold is then raised until some class is outside.
    """
    shares = checked_shares(normalized)
    return _automatic_cut(shares, _symmetrised(shares)) / _MILLIONTHS


def _automatic_cut(shares: np.ndarray, symmetric: np.ndarray) -> int:
    return _raised(shares, symmetric, _mean_cut(shares, symmetric))


def _mean_cut(shares: np.ndarray, symmetric: np.ndarray) -> int:
    present = int((shares.sum(1) > 0).sum())
    return int(symmetric.sum()) // max(present * (present - 1), 1)


def _raised(shares: np.ndarray, symmetric: np.ndarray, cut: int) -> int:
    """The lowest threshold from `cut` on, to a hundredth, that leaves a class outside of every group."""

    def holds_all(cut: int) -> bool:
        return any(len(group) == len(shares) for group in _communities(shares, symmetric, cut))

    if not holds_all(cut):
        return cut
    low = cut
    while holds_all(cut):
        low, cut = cut, cut + cut // 4 + 1
    while cut - low > low // 100 + 1:
        middle = (low + cut) // 2
        low, cut = (middle, cut) if holds_all(middle) else (low, middle)
    return cut


def _communities(shares: np.ndarray, symmetric: np.ndarray, cut: int) -> list:
    """The groups in the graph whose edges are reduced by `cut`, the most confused first."""
    weights = np.maximum(symmetric - cut, 0)
    np.fill_diagonal(weights, 0)
    order = _canonical_order(weights)
    partition = _best_partition(weights[np.ix_(order, order)])
    members = [order[partition == community] for community in np.unique(partition)]
    groups = [
        ConfusingGroup(tuple(sorted(map(int, classes))), inside(shares, np.sort(classes)))
        for classes in members
        if len(classes) > 1
    ]
    return sorted(groups, key=lambda group: (-group.confusion, group.classes))


def _symmetrised(shares: np.ndarray) -> np.ndarray:
    symmetric = np.rint((shares + shares.T) * _MILLIONTHS).astype(np.int64)
    np.fill_diagonal(symmetric, 0)
    return symmetric


def _canonical_order(weights: np.ndarray) -> np.ndarray:
    """An order of the classes that does not depend on their numbers (except among interchangeable classes)."""
    ranks = np.zeros(len(weights), np.int64)
    for _ in range(len(weights)):
        keys = [
            (int(ranks[i]), sorted(zip((-weights[i]).tolist(), ranks.tolist()))) for i in range(len(weights))
        ]
        ladder = {repr(key): rank for rank, key in enumerate(_unique_sorted(keys))}
        refined = np.array([ladder[repr(key)] for key in keys], np.int64)
        if np.array_equal(refined, ranks):
            break
        ranks = refined
    return np.argsort(ranks, kind="stable")


def _unique_sorted(keys: list) -> list:
    ordered = sorted(keys)
    return [key for i, key in enumerate(ordered) if i == 0 or key != ordered[i - 1]]


def _best_partition(weights: np.ndarray) -> np.ndarray:
    """The partition of highest modularity that a local search finds from many fixed starts."""
    strengths = weights.sum(1)
    total = int(strengths.sum())
    # modularity times (2m)^2, in whole numbers
    modularity = weights * total - np.outer(strengths, strengths)
    count = len(weights)
    draws = np.random.RandomState(0)
    starts = [np.arange(count)] + [draws.randint(0, max(count // 2, 2), count) for _ in range(_STARTS)]
    found = [_relabel(_climb(modularity, start.copy())) for start in starts]
    found = [np.where(strengths > 0, p, np.arange(count) + count) for p in found]
    return max(found, key=lambda p: (_score(modularity, p), tuple(-p)))


def _climb(modularity: np.ndarray, partition: np.ndarray) -> np.ndarray:
    """Move single classes, then merge whole communities, as long as the modularity rises."""
    _move_classes(modularity, partition)
    while _merge_two(modularity, partition):
        _move_classes(modularity, partition)
    return partition


def _move_classes(modularity: np.ndarray, partition: np.ndarray) -> None:
    """Make the best move of one class, also to an empty community, until no move raises the modularity; in place."""
    rows = np.arange(len(partition))
    member = (partition[:, None] == np.append(rows, len(rows))).astype(np.int64)
    attraction = modularity @ member  # of a class to each community, with itself in its own
    own = np.diag(modularity)
    while True:
        gain = attraction - (attraction[rows, partition] - own)[:, None]
        gain[rows, partition] = 0
        best = int(gain.argmax())
        if gain.flat[best] <= 0:
            return
        moved, target = divmod(best, gain.shape[1])
        attraction[:, partition[moved]] -= modularity[:, moved]
        attraction[:, target] += modularity[:, moved]
        partition[moved] = target


def _merge_two(modularity: np.ndarray, partition: np.ndarray) -> bool:
    communities = np.unique(partition)
    member = (partition[:, None] == communities).astype(np.int64)
    between = member.T @ modularity @ member
    np.fill_diagonal(between, 0)
    best = int(between.argmax())
    if between.flat[best] <= 0:
        return False
    first, second = divmod(best, len(communities))
    partition[partition == communities[second]] = communities[first]
    return True


def _relabel(partition: np.ndarray) -> np.ndarray:
    """Number the communities by their first member, so that equal partitions are equal arrays."""
    first = {}
    return np.array([first.setdefault(int(c), len(first)) for c in partition], np.int64)


def _score(modularity: np.ndarray, partition: np.ndarray) -> int:
    return int(modularity[partition[:, None] == partition].sum())
