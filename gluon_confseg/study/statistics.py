"""How large a difference between two arms is, and how sure one can be of it; and what is confused inside the groups.

A difference is paired twice: by seed, since both arms go on from one network and draw the same crops; and by image,
since both are scored on the same ones. Its interval is a bootstrap of both: each draw takes as many seeds as there
are, with replacement, and independently of them as many images, in blocks of neighbours. So it holds what other
trainings and what other images would change. Neighbours are drawn together because frames of one film look alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DRAWS, LEVEL = 2000, 0.95


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """(..., K, K) counts -> (...) mean IoU over the classes that occur."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    unions = counts.sum(-1) + counts.sum(-2) - hits
    return np.nanmean(np.divide(hits, unions, out=np.full(hits.shape, np.nan), where=unions > 0), axis=-1)


def share(sums: np.ndarray) -> np.ndarray:
    """(..., 2) sums of a part and of its whole -> (...) the part's share; NaN where the whole is 0."""
    part, whole = sums[..., 0], sums[..., 1]
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


# ---- what is confused


def in_one_group(groups, num_classes: int) -> np.ndarray:
    """(K, K) bool: whether two different classes are in one group."""
    found = np.zeros((num_classes, num_classes), bool)
    for group in groups:
        found[np.ix_(group, group)] = True
    np.fill_diagonal(found, False)
    return found


def inside(counts: np.ndarray, groups) -> np.ndarray:
    """(..., K, K) counts -> (..., 2) pixels: taken for another class of their group; with a true class of any group."""
    together = in_one_group(groups, counts.shape[-1])
    return np.stack(
        [(counts * together).sum((-2, -1)), counts[..., together.any(1), :].sum((-2, -1))], axis=-1
    )


def outside(counts: np.ndarray, groups) -> np.ndarray:
    """The same for pixels whose truth is in a group, and that are taken for a class outside of it."""
    together = in_one_group(groups, counts.shape[-1])
    apart = together.any(1)[:, None] & ~together & ~np.eye(len(together), dtype=bool)
    return np.stack([(counts * apart).sum((-2, -1)), counts[..., together.any(1), :].sum((-2, -1))], axis=-1)


def resolved(counts: np.ndarray, groups) -> np.ndarray:
    """(..., K, K) counts -> the same if each pixel that is taken for another class of its group were right instead."""
    moved = counts * in_one_group(groups, counts.shape[-1])
    return counts - moved + moved.sum(-1)[..., None] * np.eye(counts.shape[-1], dtype=counts.dtype)


def pair(counts: np.ndarray, truth: int, prediction: int) -> np.ndarray:
    """(..., K, K) counts -> (..., 2): pixels of class `truth` taken for `prediction`, and all of class `truth`."""
    return np.stack([counts[..., truth, prediction], counts[..., truth, :].sum(-1)], axis=-1)


def largest_pairs(counts: np.ndarray, number: int) -> list:
    """The (truth, prediction) of (K, K) counts with the most wrong pixels, most first; none without any pixel."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:number]
    pairs = [divmod(int(place), len(counts)) for place in order]
    return [(i, j) for i, j in pairs if wrong[i, j]]


# ---- intervals


def halves(images: int, block: int = 1) -> np.ndarray | None:
    """(images,) of 0 and 1: two halves, to which blocks of neighbouring images belong in turn; None for one block.

    In turn, because the images of many data sets are in an order by what they show.
    """
    found = np.arange(images) // block % 2
    return found if found.any() else None


def interval(pairs: list, block: int = 1, measure: Callable = mean_iou, draws: int = DRAWS) -> tuple:
    """(low, high) of the mean difference over the seeds, by the bootstrap above; LEVEL of the draws are inside.

    pairs     of each seed, the arm's sums by image, (images, ...), and the reference's: counts, say
    block     neighbouring images that are drawn together
    measure   (..., sums) -> (...): the score of sums over images
    With one seed the images alone vary. Draws in which nothing can be measured are left out.
    """
    images = image_draws(len(pairs[0][0]), block, draws)
    seeds = seed_draws(len(pairs), draws)
    gains = [measure(_summed(images, arm)) - measure(_summed(images, reference)) for arm, reference in pairs]
    means = (seeds * np.stack(gains, axis=1)).sum(1) / len(pairs)
    low, high = np.nanquantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def image_draws(images: int, block: int, draws: int = DRAWS) -> np.ndarray:
    """(draws, images): how often each image is in a draw of `images`, in blocks of neighbours that begin anywhere.

    After the last image comes the first, so that all are drawn equally often; the last block of a draw is cut off.
    """
    block = min(block, images)
    starts = np.random.default_rng(0).integers(0, images, (draws, -(-images // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :images] % images
    found = np.zeros((draws, images))
    np.add.at(found, (np.arange(draws)[:, None], drawn), 1)
    return found


def seed_draws(seeds: int, draws: int = DRAWS) -> np.ndarray:
    """(draws, seeds): how often each seed is in a draw of as many seeds."""
    return np.random.default_rng(1).multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)


def _summed(draws: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """(draws, images), (images, ...) -> (draws, ...). Whole numbers in float64, which adds them exactly and quickly."""
    return np.tensordot(draws, sums.astype(np.float64), axes=1)


def spread(values: list) -> float | None:
    """Standard deviation over the seeds; None of one alone."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
