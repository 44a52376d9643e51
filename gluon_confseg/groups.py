"""Discriminative confusing groups, found in a normalised confusion matrix: Section 3.1, Table 1.

The classes are the nodes of a graph. The edge between two classes has the weight S = A + A^T, less the mean of S over
all pairs, and at least 0. The groups are the communities with the highest modularity; a class alone is no group.

All arithmetic is on integers (millionths of a share), so the result depends on neither the order of the classes, a
seed, nor the machine. docs/decisions.md says why the threshold is subtracted from every edge.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Iterator

import numpy as np

from .compiled import groups as compiled
from .errors import ConfSegError

_MILLIONTHS = 1_000_000
_STARTS = 64
# of all starts that are climbed at once, classes times classes: 16 MiB
_ENTRIES = 1 << 21


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
    given = threshold is not None
    if given and not (isinstance(threshold, numbers.Real) and 0 <= threshold < np.inf):
        raise MatrixError(f"a threshold is a share from 0, got {threshold!r}: leave it out for the mean edge")
    cut = round(float(threshold) * _MILLIONTHS) if given else _mean_cut(shares, symmetric)
    found = _communities(shares, symmetric, cut)
    if any(len(group) == len(shares) for group in found):
        enough = _raised(symmetric, cut)
        if given:
            raise MatrixError(
                f"at a threshold of {threshold} all {len(shares)} classes are one group, which leaves none for "
                f'"others": a threshold of {enough / _MILLIONTHS} is high enough'
            )
        found = _communities(shares, symmetric, enough)
    return found[:max_groups]


def inside(normalized, classes) -> float:
    """Confusion inside a group: the sum of A[i, j] over all pairs i != j of these classes.

    normalized   (K, K) as for `discover`, which raises the same errors
    classes      an iterable of classes; `ConfusingGroup.confusion` is this number where `discover` found the group
    """
    return _inside(checked_shares(normalized), list(classes))


def _inside(shares: np.ndarray, members) -> float:
    block = shares[np.ix_(members, members)]
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
    symmetric = _symmetrised(shares)
    return _raised(symmetric, _mean_cut(shares, symmetric)) / _MILLIONTHS


def _mean_cut(shares: np.ndarray, symmetric: np.ndarray) -> int:
    present = int((shares.sum(1) > 0).sum())
    return int(symmetric.sum()) // max(present * (present - 1), 1)


def _raised(symmetric: np.ndarray, cut: int) -> int:
    """The lowest threshold from `cut` on, to a hundredth, that leaves a class outside of every group."""

    def holds_all(cut: int) -> bool:
        weights = _reduced(symmetric, cut)
        order = _canonical_order(weights)
        return len(weights) > 1 and _one_community(weights[np.ix_(order, order)])

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
    weights = _reduced(symmetric, cut)
    order = _canonical_order(weights)
    partition = _best_partition(weights[np.ix_(order, order)])
    members = [order[partition == community] for community in np.unique(partition)]
    groups = [
        ConfusingGroup(tuple(sorted(map(int, classes))), _inside(shares, np.sort(classes)))
        for classes in members
        if len(classes) > 1
    ]
    return sorted(groups, key=lambda group: (-group.confusion, group.classes))


def _reduced(symmetric: np.ndarray, cut: int) -> np.ndarray:
    """The weights of the graph's edges at this threshold."""
    # a cut of any size: one above all edges leaves nothing, as the heaviest edge does
    weights = np.maximum(symmetric - min(cut, int(symmetric.max())), 0)
    np.fill_diagonal(weights, 0)
    return weights


def _symmetrised(shares: np.ndarray) -> np.ndarray:
    symmetric = np.rint((shares + shares.T) * _MILLIONTHS).astype(np.int64)
    np.fill_diagonal(symmetric, 0)
    return symmetric


def _canonical_order(weights: np.ndarray) -> np.ndarray:
    """An order of the classes that does not depend on their numbers (except among interchangeable classes)."""
    count = len(weights)
    ranks, heaviest = np.zeros(count, np.int64), int(weights.max())
    for _ in range(count):
        # an edge and its end as one number, the heaviest edges first. As big-endian bytes, rows compare like lists
        ends = np.sort((heaviest - weights) * count + ranks, axis=1)
        keys = [row.tobytes() for row in np.column_stack([ranks, ends]).astype(">u8")]
        ladder = {key: rank for rank, key in enumerate(sorted(set(keys)))}
        refined = np.array([ladder[key] for key in keys], np.int64)
        if np.array_equal(refined, ranks):
            break
        ranks = refined
        if len(ladder) == count:
            break
    return np.argsort(ranks, kind="stable")


def _best_partition(weights: np.ndarray) -> np.ndarray:
    """The partition of highest modularity that a local search finds from many fixed starts."""
    count, strengths, modularity = len(weights), weights.sum(1), _modularity(weights)
    partitions, scores = zip(*_local_optima(modularity, _starts(count)))
    partitions, scores = np.concatenate(partitions), np.concatenate(scores)
    found = [_relabel(p) for p in partitions[scores == scores.max()]]
    found = [np.where(strengths > 0, p, np.arange(count) + count) for p in found]
    return max(found, key=lambda p: tuple(-p))


def _one_community(weights: np.ndarray) -> bool:
    """Whether `_best_partition` is one community of all classes.

    It has the score 0, and no local optimum has less: a class's row of the modularity sums to 0, so if no merge is
    worth it, no community's own sum is below 0. Therefore one optimum above 0 is the answer.
    """
    if (weights.sum(1) == 0).any():
        return len(weights) == 1
    modularity, starts, whole = _modularity(weights), _starts(len(weights)), False
    for some in (starts[:1], starts[1:]):
        for partitions, scores in _local_optima(modularity, some):
            if (scores > 0).any():
                return False
            whole |= bool((partitions == partitions[:, :1]).all(1).any())
    return whole


def _modularity(weights: np.ndarray) -> np.ndarray:
    """Modularity times (2m)^2, in whole numbers: int64, or Python's where a sum of the search could pass 64 bits.

    No sum of the search is above 5/4 (2m)^2. For shares whose rows sum to 1, that takes 1,074 classes or more.
    """
    strengths = weights.sum(1)
    total = int(strengths.sum())
    if total**2 > 2**62:
        weights, strengths = weights.astype(object), strengths.astype(object)
    return weights * total - np.outer(strengths, strengths)


def _starts(count: int) -> np.ndarray:
    draws = np.random.RandomState(0)
    drawn = [draws.randint(0, max(count // 2, 2), count) for _ in range(_STARTS)]
    return np.array([np.arange(count), *drawn], np.int64)


def _local_optima(modularity: np.ndarray, starts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Partitions that no move of a class and no merge betters, and their scores, some starts at a time."""
    climb = compiled.climb if modularity.dtype == np.int64 and compiled.is_available() else _climb
    at_once = max(1, _ENTRIES // modularity.size)
    for first in range(0, len(starts), at_once):
        yield climb(modularity, starts[first : first + at_once])


def _climb(modularity: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From each start, move single classes, then merge whole communities, as long as the modularity rises.

    The best move of one class is made, also to an empty community; where no move is worth it, the best merge of two
    communities. Of equals the first is taken. All starts take their step at the same time, and a step changes two
    communities, so that of a class's attraction to all of them little is computed anew. The same search is in
    compiled/groups.cc, which takes its place where it is built.

    modularity  (K, K) int64 or Python's whole numbers, symmetric
    starts      (N, K) communities below K + 1
    returns     (N, K) communities, and (N,) the sums of `modularity` inside of them
    """
    count, own = len(modularity), np.diag(modularity)
    lowest = _below_all(modularity)
    classes = np.arange(count)
    partitions, scores = starts.copy(), np.zeros(len(starts), modularity.dtype)
    # of each community to each class, the class itself in its own
    attraction = np.zeros((len(starts), count + 1, count), modularity.dtype)
    for number, start in enumerate(starts):
        communities, order, bounds = _sorted_by_community(start)
        attraction[number, communities] = np.add.reduceat(modularity[order], bounds, axis=0)

    live = np.arange(len(starts))
    home = starts.copy()
    at_home = attraction[live[:, None], home, classes]
    # the best other community of each class, the first of equals, and its attraction
    attraction[live[:, None], home, classes] = lowest
    best = attraction.max(1)
    target = (attraction == best[:, None]).argmax(1)
    attraction[live[:, None], home, classes] = at_home
    while len(live):
        rows = np.arange(len(live))
        gain = best - at_home + own
        moved = gain.argmax(1)
        source, goal = home[rows, moved], target[rows, moved]
        change, leaves = modularity[moved], classes == moved[:, None]
        going = gain[rows, moved] > 0
        for row in np.flatnonzero(~going):
            pair = _best_merge(attraction[live[row]], home[row])
            if pair:
                goal[row], source[row] = pair
                change[row], leaves[row] = attraction[live[row], pair[1]], home[row] == pair[1]
                going[row] = True
        if not going.all():
            done = live[~going]
            partitions[done], scores[done] = home[~going], at_home[~going].sum(1)
            live, home, at_home = live[going], home[going], at_home[going]
            target, best = target[going], best[going]
            source, goal, change, leaves = source[going], goal[going], change[going], leaves[going]
        home = np.where(leaves, goal[:, None], home)
        stale = leaves
        for community, sign in ((source, -1), (goal, 1)):
            now = attraction[live, community] + sign * change
            attraction[live, community] = now
            community = community[:, None]
            at_home = np.where(home == community, now, at_home)
            stale = stale | ((target == community) & (now < best))
            better = (home != community) & ((now > best) | ((now == best) & (community < target)))
            best, target = np.where(better, now, best), np.where(better, community, target)
        row, klass = np.nonzero(stale)
        target[row, klass], best[row, klass] = _best_others(attraction, live[row], klass, home[row, klass])
    return partitions, scores


def _best_others(attraction, number, klass, home) -> tuple[np.ndarray, np.ndarray]:
    """The best community other than its own, the first of equals, for each class of a start; and its attraction."""
    others = attraction[number, :, klass]
    entries = np.arange(len(others))
    others[entries, home] = _below_all(attraction)
    target = others.argmax(1)
    return target, others[entries, target]


def _below_all(array: np.ndarray):
    """A number below all that an array of its type holds in the search."""
    return -math.inf if array.dtype == object else np.iinfo(np.int64).min


def _best_merge(attraction: np.ndarray, home: np.ndarray) -> tuple[int, int] | None:
    """The two communities whose merge raises the modularity most, the lower first; None where none does."""
    communities, order, bounds = _sorted_by_community(home)
    between = np.add.reduceat(attraction[communities][:, order], bounds, axis=1)
    np.fill_diagonal(between, 0)
    best = int(between.argmax())
    if between.flat[best] <= 0:
        return None
    first, second = divmod(best, len(communities))
    return int(communities[first]), int(communities[second])


def _sorted_by_community(home: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The communities in use, the classes sorted by them, and where in this order each community begins."""
    order = np.argsort(home, kind="stable")
    ordered = home[order]
    bounds = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[bounds], order, bounds


def _relabel(partition: np.ndarray) -> np.ndarray:
    """Number the communities by their first member, so that equal partitions are equal arrays."""
    first = {}
    return np.array([first.setdefault(c, len(first)) for c in partition.tolist()], np.int64)
