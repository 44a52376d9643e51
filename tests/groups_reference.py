"""Group discovery by the plainest means: the algorithm of `groups.discover` without anything that makes it quick.

The package's own search must choose the same partition for every matrix, ties included.
"""

from __future__ import annotations

import numpy as np

_MILLIONTHS = 1_000_000
_STARTS = 64


def groups_of(shares: np.ndarray, threshold: float | None = None) -> list:
    """(classes, confusion) of each group, the most confused first; a given threshold may make all classes one group."""
    symmetric = np.rint((shares + shares.T) * _MILLIONTHS).astype(np.int64)
    np.fill_diagonal(symmetric, 0)
    cut = automatic_cut(shares, symmetric) if threshold is None else round(float(threshold) * _MILLIONTHS)
    return _communities(shares, symmetric, cut)


def automatic_cut(shares: np.ndarray, symmetric: np.ndarray) -> int:
    """The mean edge in millionths, raised until a class is outside of every group."""
    present = int((shares.sum(1) > 0).sum())
    return raised(shares, symmetric, int(symmetric.sum()) // max(present * (present - 1), 1))


def raised(shares: np.ndarray, symmetric: np.ndarray, cut: int) -> int:
    """The lowest threshold from `cut` on, to a hundredth, that leaves a class outside of every group."""

    def holds_all(cut: int) -> bool:
        return any(len(classes) == len(shares) for classes, _ in _communities(shares, symmetric, cut))

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
    weights = np.maximum(symmetric - cut, 0)
    np.fill_diagonal(weights, 0)
    order = canonical_order(weights)
    partition = best_partition(weights[np.ix_(order, order)])
    members = [np.sort(order[partition == community]) for community in np.unique(partition)]
    found = []
    for classes in members:
        if len(classes) > 1:
            block = shares[np.ix_(classes, classes)]
            found.append((tuple(map(int, classes)), float(block.sum() - np.trace(block))))
    return sorted(found, key=lambda group: (-group[1], group[0]))


def canonical_order(weights: np.ndarray) -> np.ndarray:
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


def best_partition(weights: np.ndarray) -> np.ndarray:
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
