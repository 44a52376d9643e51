"""The study's numbers: intervals against plain loops, confusion inside groups, and the record of run folders."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_confseg import metrics
from gluon_confseg.study import claims, results, statistics

GROUPS = [[0, 1], [2, 3]]


def matrices(images: int, seed: int, hit: float, classes: int = 5) -> np.ndarray:
    """(images, K, K) counts of random predictions that are right with probability `hit`."""
    draws, found = np.random.default_rng(seed), []
    for _ in range(images):
        labels = draws.integers(0, classes, 300)
        predicted = np.where(draws.random(300) < hit, labels, draws.integers(0, classes, 300))
        matrix = metrics.ConfusionMatrix(classes)
        matrix.update(labels, predicted)
        found.append(matrix.counts)
    return np.stack(found)


class Known:
    """A seed of which the counts are known."""

    def __init__(self, counts: dict, groups=GROUPS):
        self.counts, self.groups = counts, groups

    def inside(self, key: str):
        return statistics.inside(self.counts[key], self.groups) if self.groups else None


# ---- scores


def test_mean_iou_of_many_matrices_is_the_metric_of_each():
    counts = matrices(5, 0, 0.6)
    counts[0, 3] = counts[0, :, 3] = 0  # a class that does not occur
    expected = [metrics.mean_of_defined(metrics.iou(c)) for c in counts]
    np.testing.assert_allclose(statistics.mean_iou(counts), expected)


@pytest.mark.parametrize("groups", [GROUPS, [[1, 3, 4]], [[0, 1, 2], [2, 3]], []])
def test_confusion_inside_and_outside_of_groups_is_that_of_a_plain_loop(groups):
    counts = matrices(1, 3, 0.5)[0]
    inside = outside = whole = 0
    for truth in range(5):
        for prediction in range(5):
            pixels = counts[truth, prediction]
            if not any(truth in group for group in groups):
                continue
            whole += pixels
            if truth == prediction:
                continue
            if any(truth in group and prediction in group for group in groups):
                inside += pixels
            else:
                outside += pixels
    np.testing.assert_array_equal(statistics.inside(counts, groups), [inside, whole])
    np.testing.assert_array_equal(statistics.outside(counts, groups), [outside, whole])


def test_inside_outside_and_right_pixels_are_all_pixels_of_the_groups_classes():
    counts = matrices(7, 3, 0.5)
    inside, outside = (statistics.share(f(counts, GROUPS)) for f in (statistics.inside, statistics.outside))
    right = np.diagonal(counts, axis1=1, axis2=2)[:, :4].sum(1) / counts[:, :4].sum((1, 2))
    np.testing.assert_allclose(inside + outside + right, 1)


def test_a_share_of_nothing_is_no_number():
    np.testing.assert_array_equal(statistics.share(np.array([[0, 0], [1, 4]])), [np.nan, 0.25])


def test_the_largest_pairs_are_those_of_a_plain_sort():
    counts = matrices(1, 5, 0.4)[0]
    wrong = {(i, j): counts[i, j] for i in range(5) for j in range(5) if i != j}
    expected = sorted(wrong, key=lambda pair: -wrong[pair])
    found = statistics.largest_pairs(counts, 6)
    assert [wrong[pair] for pair in found] == [wrong[pair] for pair in expected[:6]]
    assert statistics.largest_pairs(np.eye(3, dtype=int), 6) == []


def test_without_confusion_inside_the_groups_those_pixels_are_right():
    counts = np.array([[[6, 3, 1], [2, 4, 0], [1, 5, 7]]])
    assert statistics.resolved(counts, [[0, 1]]).tolist() == [[[9, 0, 1], [0, 6, 0], [1, 5, 7]]]
    assert statistics.resolved(counts[0], [[0, 1], [1, 2]]).tolist() == [[9, 0, 1], [0, 6, 0], [1, 0, 12]]
    assert (statistics.resolved(counts, []) == counts).all()


# ---- the bootstrap


def test_image_draws_are_those_of_a_plain_loop():
    images, block, draws = 11, 4, 50
    starts = np.random.default_rng(0).integers(0, images, (draws, 3))
    expected = np.zeros((draws, images))
    for number in range(draws):
        drawn = [(start + step) % images for start in starts[number] for step in range(block)]
        for image in drawn[:images]:
            expected[number, image] += 1
    np.testing.assert_array_equal(statistics.image_draws(images, block, draws), expected)


@pytest.mark.parametrize("images, block", [(10, 1), (11, 4), (101, 10), (3, 10)])
def test_each_draw_has_as_many_images_and_each_image_is_drawn_equally_often(images, block):
    found = statistics.image_draws(images, block, 4000)
    np.testing.assert_array_equal(found.sum(1), images)
    assert np.abs(found.mean(0) - 1).max() < 0.25


def test_an_interval_is_that_of_a_plain_loop():
    pairs = [(matrices(9, s, 0.8), matrices(9, 10 + s, 0.6)) for s in range(3)]
    draws, block = 60, 3
    images, seeds = statistics.image_draws(9, block, draws), statistics.seed_draws(3, draws)
    means = []
    for number in range(draws):
        gains = []
        for seed, (arm, reference) in enumerate(pairs):
            sums = [sum(int(images[number, i]) * counts[i] for i in range(9)) for counts in (arm, reference)]
            gain = metrics.mean_iou(sums[0]) - metrics.mean_iou(sums[1])
            gains += [gain] * seeds[number, seed]
        means.append(np.mean(gains))
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose(statistics.interval(pairs, block, draws=draws), expected, atol=1e-12)


def test_an_arm_gains_nothing_over_itself():
    counts = matrices(10, 0, 0.6)
    assert statistics.interval([(counts, counts)], 3) == (0, 0)


def test_seeds_that_differ_make_the_interval_wider():
    base = matrices(40, 0, 0.6)
    alike = [(matrices(40, 1, 0.7), base)] * 3
    apart = [(matrices(40, 1 + s, hit), base) for s, hit in enumerate((0.62, 0.7, 0.78))]
    widths = [high - low for low, high in (statistics.interval(pairs) for pairs in (alike, apart))]
    assert widths[1] > 2 * widths[0]


def test_blocks_of_neighbours_that_are_alike_make_the_interval_wider():
    """Ten scenes of eight frames each: a frame tells hardly more than its scene."""
    scenes = [(matrices(1, s, 0.4 + 0.05 * s), matrices(1, 100 + s, 0.85 - 0.05 * s)) for s in range(10)]
    arm, reference = (np.concatenate([np.repeat(scene[n], 8, axis=0) for scene in scenes]) for n in (0, 1))
    (low, high), (first, last) = (statistics.interval([(arm, reference)], block) for block in (1, 8))
    assert last - first > 2 * (high - low)


def test_the_interval_of_a_clear_gain_is_above_zero_and_that_of_none_holds_it():
    clear = statistics.interval([(matrices(40, s, 0.8), matrices(40, 50 + s, 0.6)) for s in range(3)])
    none = statistics.interval([(matrices(40, s, 0.7), matrices(40, 50 + s, 0.7)) for s in range(3)])
    assert 0 < clear[0] < clear[1] and none[0] < 0 < none[1]


def test_draws_in_which_nothing_can_be_measured_are_left_out():
    """The class is in one image of five, so a third of the draws has none of it."""
    sums = np.zeros((5, 2), int)
    sums[2] = 3, 10
    other = sums * [2, 1]
    low, high = statistics.interval([(other, sums)], 1, statistics.share)
    assert low == pytest.approx(0.3) and high == pytest.approx(0.3)


@pytest.mark.parametrize(
    "values, interval, expected",
    [
        ([0.1, 0.2], (0.05, 0.3), True),
        ([-0.1, -0.2], (-0.3, -0.05), True),
        ([0.1, 0.2], (-0.01, 0.3), False),
        ([0.1, -0.01], (0.01, 0.3), False),
        ([0.1, 0.0], (0.01, 0.3), False),
        ([0.1], (0.05, 0.3), False),
    ],
)
def test_a_difference_is_settled_by_signs_interval_and_two_seeds(values, interval, expected):
    found = {"seeds": dict(enumerate(values)), "interval": interval}
    assert (claims.verdict(found) in (claims.RISES, claims.FALLS)) is expected


# ---- differences and pairs of the record


def seeds(**hits) -> dict:
    """Three seeds with the arms named, right with these probabilities."""
    return {
        s: Known({key: matrices(20, 10 * s + n, hit) for n, (key, hit) in enumerate(hits.items())})
        for s in range(3)
    }


def test_a_difference_is_that_of_the_scores_of_each_seed():
    found = seeds(base=0.5, ce=0.6, confusion_ce=0.8)
    loss, inside = (
        next(d for d in results.differences(found, 1) if (d["claim"], d["measure"]) == ("loss", measure))
        for measure in ("mean_iou", "inside")
    )
    for n, seed in found.items():
        arm, reference = seed.counts["confusion_ce"].sum(0), seed.counts["ce"].sum(0)
        assert loss["seeds"][str(n)] == pytest.approx(metrics.mean_iou(arm) - metrics.mean_iou(reference))
        share = [np.divide(*statistics.inside(counts, GROUPS)) for counts in (arm, reference)]
        assert inside["seeds"][str(n)] == pytest.approx(share[0] - share[1])
    assert loss["mean"] == pytest.approx(np.mean(list(loss["seeds"].values())))
    assert loss["interval"][0] < loss["mean"] < loss["interval"][1]
    assert loss["settled"] and inside["settled"] and inside["mean"] < 0
    assert loss["spread"] == pytest.approx(np.std(list(loss["seeds"].values()), ddof=1))


def test_a_difference_counts_only_seeds_that_have_both_arms():
    found = seeds(ce=0.6, confusion_ce=0.8)
    del found[1].counts["ce"]
    assert {tuple(d["seeds"]) for d in results.differences(found, 1)} == {("0", "2")}
    assert not results.differences({0: Known({"ce": matrices(3, 0, 0.5)})}, 1)


def test_without_groups_nothing_is_said_of_what_is_inside_them():
    found = {0: Known({key: matrices(5, n, 0.6) for n, key in enumerate(("ce", "confusion_ce"))}, groups=[])}
    assert {d["measure"] for d in results.differences(found, 1)} == {"mean_iou"}


def test_pairs_are_those_that_base_confuses_most_with_their_shares_in_each_arm():
    found, classes = seeds(base=0.4, ce=0.6, confusion_ce=0.8), list("abcde")
    rows = results.pairs(found, classes, 1)
    total = sum(seed.counts["base"].sum(0) for seed in found.values()) * (1 - np.eye(5, dtype=int))
    assert len(rows) == results.PAIRS
    assert total[classes.index(rows[0]["truth"]), classes.index(rows[0]["prediction"])] == total.max()
    for row in rows:
        i, j = classes.index(row["truth"]), classes.index(row["prediction"])
        assert row["groups"] == (3 if {i, j} in ({0, 1}, {2, 3}) else 0)
        for key in ("base", "ce", "confusion_ce"):
            shares = [
                seed.counts[key].sum(0)[i, j] / seed.counts[key].sum(0)[i].sum() for seed in found.values()
            ]
            assert row["shares"][key] == pytest.approx(np.mean(shares))
        (gain,) = row["differences"]
        assert gain["mean"] == pytest.approx(row["shares"]["confusion_ce"] - row["shares"]["ce"])
        assert gain["interval"][0] < gain["mean"] < gain["interval"][1]
