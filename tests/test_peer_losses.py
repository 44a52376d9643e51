"""The peer losses against their papers' formulas in double precision, and the laws they keep."""

from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from peer_references import IGNORED, REFERENCES, best_weights, finite_differences, plain

from gluon_confseg import losses, scenes
from gluon_confseg.datasets import Cityscapes, normalize
from gluon_confseg.losses.max_pooling import pixel_weights

CLASSES = 5
NEVER = 3  # no pixel of it in labels and statistics
FEW = {"ohem": {"min_kept": 3}}  # the default keeps all pixels of a tiny image
SETTINGS = [
    ("median_frequency", {}),
    ("inverse_frequency", {}),
    ("ohem", {"min_kept": 3}),
    ("ohem", {"threshold": 0.02, "min_kept": 5}),
    ("ohem", {"threshold": 0.3, "min_kept": 0}),
    ("loss_max_pooling", {}),
    ("loss_max_pooling", {"p": 2.0, "share": 0.4}),
    ("loss_max_pooling", {"p": 1.05, "share": 0.1}),
    ("focal", {}),
    ("focal", {"gamma": 0.5}),
    ("lovasz", {}),
    ("logit_adjustment", {}),
    ("logit_adjustment", {"tau": -0.5}),
    ("seesaw", {}),
    ("seesaw", {"mitigation": 0.0, "compensation": 1.0}),
    ("recall", {}),
    ("complement", {}),
    ("complement", {"gamma": 2.0}),
]
AS_CROSS_ENTROPY = [
    ("ohem", {"threshold": 1.0, "min_kept": 0}),
    ("ohem", {"threshold": 0.01, "min_kept": 10**6}),
    ("loss_max_pooling", {"share": 1.0}),
    ("focal", {"gamma": 0.0}),
    ("logit_adjustment", {"tau": 0.0}),
    ("seesaw", {"mitigation": 0.0, "compensation": 0.0}),
    ("complement", {"gamma": 0.0}),
]


def draw(count: int = 14, scale: float = 2.0, seed: int = 0, samples: int = 2):
    """(N, K, P) normal float32 logits, (N, P) labels: class 0 frequent, class 2 not in sample 0, some ignored."""
    draws = np.random.RandomState(seed)
    logits = (scale * draws.normal(size=(samples, CLASSES, count))).astype(np.float32)
    labels = draws.choice([0, 0, 0, 1, 2, 4, IGNORED], (samples, count))
    labels[0][labels[0] == 2] = 1
    labels[:, :5] = [[0, 1, 4, IGNORED, 0]]
    labels[1:, 0] = 2
    return logits, labels.astype(np.uint8)


def masks(seed: int = 0):
    """Masks of different sizes; class 2 is rare, class NEVER in none, one mask is all ignored."""
    draws = np.random.RandomState(seed)
    made = [draws.choice([0, 0, 0, 1, 1, 4, IGNORED], (6 + i, 9)).astype(np.uint8) for i in range(4)]
    made[2][0, :4] = 2
    made[3][:4] = 0
    return [*made, np.full((3, 3), IGNORED, np.uint8)]


STATISTICS = losses.LabelStatistics.count(masks(), CLASSES)
COUNTS = (STATISTICS.pixels, STATISTICS.image_pixels)


def build(name: str, **settings):
    return losses.other_loss(name, CLASSES, STATISTICS, **{**FEW.get(name, {}), **settings})


def run(loss, logits, labels):
    """(N, K, P) logits, (N, P) labels -> loss (N,), gradient, as NumPy."""
    logits = mx.nd.array(logits, dtype=logits.dtype)
    logits.attach_grad()
    with autograd.record():
        value = loss(logits, labels)
    value.backward()
    return value.asnumpy(), logits.grad.asnumpy()


def assert_same(found, wanted, tolerance: float = 1e-6) -> None:
    for first, second in zip(found, wanted):
        np.testing.assert_allclose(first, second, rtol=tolerance, atol=tolerance)


# ---- against the papers


@pytest.mark.parametrize("name, settings", SETTINGS)
@pytest.mark.parametrize("scale", [0.3, 2.0, 8.0])
def test_the_value_is_the_papers_formula(name, settings, scale):
    logits, labels = draw(40, scale)
    found = build(name, **settings)(mx.nd.array(logits), labels).asnumpy()
    wanted = REFERENCES[name](logits.astype(np.float64), labels, COUNTS, **settings)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, settings", SETTINGS)
def test_the_gradient_is_that_of_finite_differences(name, settings):
    logits, labels = draw(9)
    _, found = run(build(name, **settings), logits, labels)
    wanted = finite_differences(REFERENCES[name], logits.astype(np.float64), labels, COUNTS, **settings)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert np.abs(wanted).max() > 0.01


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_the_defaults_are_those_of_the_references(name):
    logits, labels = draw(300, 3.0)
    found = losses.other_loss(name, CLASSES, STATISTICS)(mx.nd.array(logits), labels).asnumpy()
    if name == "lovasz":  # set by set, its reference is slow
        logits, labels = logits[:, :, :60], labels[:, :60]
        found = losses.other_loss(name, CLASSES)(mx.nd.array(logits), labels).asnumpy()
    np.testing.assert_allclose(
        found, REFERENCES[name](logits.astype(np.float64), labels, COUNTS), rtol=1e-5, atol=1e-6
    )


def test_the_cross_entropy_of_all_of_them_is_the_packages_own():
    logits, labels = draw(40)
    own = losses.CrossEntropyLoss(CLASSES)(mx.nd.array(logits), labels).asnumpy()
    np.testing.assert_allclose(own, plain(logits.astype(np.float64), labels, COUNTS), rtol=1e-5)


# ---- laws of all


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
@pytest.mark.parametrize("content", [0.0, 1e4, 3e38, -3e38])
def test_ignored_pixels_move_nothing(name, content):
    logits, labels = draw()
    value, gradient = run(build(name), logits, labels)
    ignored = np.broadcast_to((labels == IGNORED)[:, None], logits.shape)
    changed = logits.copy()
    changed[ignored] = content
    changed[:, 0][labels == IGNORED] = -content  # no class of it is the true one
    other_value, other_gradient = run(build(name), changed, labels)
    np.testing.assert_array_equal(value, other_value)
    np.testing.assert_array_equal(gradient, other_gradient)
    assert not gradient[ignored].any()


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_leaving_ignored_pixels_out_is_the_same_loss(name):
    logits, labels = draw(samples=1)
    kept = labels[0] != IGNORED
    value, gradient = run(build(name), logits, labels)
    fewer_value, fewer_gradient = run(build(name), logits[:, :, kept], labels[:, kept])
    assert_same((value, gradient[:, :, kept]), (fewer_value, fewer_gradient))


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_arrangement_of_the_pixels_does_not_matter(name):
    logits, labels = draw(30)
    order = np.random.RandomState(1).permutation(30)
    value, gradient = run(build(name), logits, labels)
    shape = (2, CLASSES, 5, 6)
    moved = run(build(name), logits[:, :, order].reshape(shape), labels[:, order].reshape(2, 5, 6))
    assert_same((value, gradient[:, :, order].reshape(shape)), moved)


@pytest.mark.parametrize("name", sorted(set(losses.OTHER_LOSSES) - {"recall"}))
def test_samples_do_not_see_each_other(name):
    logits, labels = draw(samples=3)
    value, gradient = run(build(name), logits, labels)
    for n in range(3):
        alone = run(build(name), logits[n : n + 1], labels[n : n + 1])
        assert_same((value[n : n + 1], gradient[n : n + 1]), alone)


@pytest.mark.parametrize("name, settings", AS_CROSS_ENTROPY)
def test_settings_that_leave_cross_entropy_alone(name, settings):
    logits, labels = draw(40)
    wanted = run(losses.CrossEntropyLoss(CLASSES), logits, labels)
    assert_same(run(build(name, **settings), logits, labels), wanted, 2e-6)


@pytest.mark.parametrize("name", ["median_frequency", "inverse_frequency", "logit_adjustment", "seesaw"])
def test_equal_statistics_leave_cross_entropy_alone(name):
    logits, labels = draw(40)
    equal = losses.LabelStatistics(np.full(CLASSES, 7), np.full(CLASSES, 35), 5)
    settings = {"compensation": 0.0} if name == "seesaw" else {}
    wanted = run(losses.CrossEntropyLoss(CLASSES), logits, labels)
    assert_same(run(losses.other_loss(name, CLASSES, equal, **settings), logits, labels), wanted, 2e-6)


@pytest.mark.parametrize("name, settings", SETTINGS + [("focal", {"gamma": 0.0})])
@pytest.mark.parametrize("size", [50.0, 1e4, 3e38])
def test_extreme_logits_stay_finite(name, settings, size):
    corners = np.array(np.meshgrid(*[[-size, 0, size]] * CLASSES)).reshape(1, CLASSES, -1).astype(np.float32)
    for label in range(CLASSES):
        labels = np.full((1, corners.shape[2]), label, np.uint8)
        labels[:, ::7] = IGNORED
        value, gradient = run(build(name, **settings), corners, labels)
        assert np.isfinite(value).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_equal_logits_stay_finite(name):
    _, labels = draw()
    value, gradient = run(build(name), np.zeros((2, CLASSES, 14), np.float32), labels)
    assert np.isfinite(value).all() and np.isfinite(gradient).all() and gradient.any()


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_a_logit_that_is_no_number_is_not_hidden(name):
    logits, labels = draw()
    logits[0, 1, 0] = np.nan  # a labelled pixel of class 0
    assert np.isnan(build(name)(mx.nd.array(logits), labels).asnumpy()[0])


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_an_all_ignored_sample_is_0_without_gradient(name):
    logits, labels = draw(samples=3)
    labels[1] = IGNORED
    value, gradient = run(build(name), logits, labels)
    assert value[1] == 0 and not gradient[1].any()
    assert value[0] != 0 and gradient[0].any() and gradient[2].any()
    nothing, slope = run(build(name), logits[1:2], labels[1:2])
    assert nothing[0] == 0 and not slope.any()


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_a_class_that_the_statistics_lack_gives_finite_losses(name):
    logits, labels = draw()
    labels[:, 4] = NEVER
    value, gradient = run(build(name), logits, labels)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
@pytest.mark.parametrize("outside", [CLASSES, 254])
def test_a_label_outside_the_classes_is_an_error_that_names_it(name, outside):
    logits, labels = draw()
    labels[1, 3] = outside
    with pytest.raises(losses.LabelError, match=f"label {outside} is no class"):
        build(name)(mx.nd.array(logits), labels)


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_shapes_that_do_not_fit_are_named(name):
    with pytest.raises(ValueError, match=r"wanted \(N, 5, H, W\) and \(N, H, W\)"):
        build(name)(mx.nd.zeros((2, 5, 3, 4)), np.zeros((2, 4, 3), np.uint8))


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_labels_of_any_type_hybridize_and_upstream_factors_are_harmless(name):
    logits, labels = draw()
    loss = build(name)
    value, gradient = run(loss, logits, labels)
    loss.hybridize(static_alloc=True)
    for other in (labels.astype(np.int64), mx.nd.array(labels), mx.nd.array(labels, dtype="int32")):
        assert_same(run(loss, logits, other), (value, gradient), 0)
    factors = mx.nd.array([3.0, -0.5])
    _, scaled = run(lambda z, y: loss(z, y) * factors, logits, labels)
    np.testing.assert_allclose(scaled, gradient * np.array([3, -0.5])[:, None, None], rtol=1e-5, atol=1e-8)
    _, halved = run(
        losses.other_loss(name, CLASSES, STATISTICS, **FEW.get(name, {})), logits.astype(np.float16), labels
    )
    assert halved.dtype == np.float16


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_another_ignore_label_is_respected(name):
    logits, labels = draw()
    wanted = run(build(name), logits, labels)
    moved = np.where(labels == IGNORED, -1, labels.astype(int))
    assert_same(run(build(name, ignore_label=-1), logits, moved), wanted, 0)


# ---- laws of one


def test_ohem_keeps_all_pixels_that_tie_with_the_last_of_the_hardest():
    logits = np.zeros((1, 2, 6), np.float32)
    logits[0, 0] = [3, 3, 3, 3, 9, 9]  # all right and sure, so none is below the threshold
    labels = np.zeros((1, 6), np.uint8)
    _, gradient = run(losses.other_loss("ohem", 2, min_kept=2), logits, labels)
    assert (gradient[0, 0] != 0).tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize("p, share", [(1.3, 0.25), (1.7, 0.3), (2.0, 1.0), (1.05, 0.05), (8.0, 0.01)])
def test_no_weights_within_the_bounds_make_the_pooled_loss_larger(p, share):
    draws = np.random.RandomState(0)
    for spread in (0.1, 1.0, 5.0):
        values = np.exp(spread * draws.normal(size=200))
        n, q = 200, p / (p - 1)
        norm, bound = n ** (-1 / q), max(1, share * n) ** (-1 / p) * n ** (-1 / q)
        found = pixel_weights(mx.nd.array(values[None]), mx.nd.ones((1, n)), p, share).asnumpy()[0] / n
        assert (found**p).sum() ** (1 / p) <= norm * (1 + 1e-5) and found.max() <= bound * (1 + 1e-5)
        np.testing.assert_allclose(found @ values, best_weights(values, p, share) @ values, rtol=1e-5)
        for _ in range(50):
            other = np.minimum(
                values * draws.rand(n) ** draws.choice([0.1, 1, 5]), np.quantile(values, draws.rand())
            )
            other *= min(norm / (other**p).sum() ** (1 / p), bound / other.max())
            assert other @ values <= found @ values * (1 + 1e-5)


def test_lovasz_of_one_hot_scores_is_one_minus_the_iou():
    labels = np.array([[0, 0, 1, 1, 1, IGNORED]], np.uint8)
    predicted = [0, 1, 1, 1, 0, 1]
    logits = np.full((1, 3, 6), -100.0, np.float32)
    logits[0, predicted, range(6)] = 100.0
    value = losses.other_loss("lovasz", 3)(mx.nd.array(logits), labels).asnumpy()
    np.testing.assert_allclose(value, [((1 - 1 / 3) + (1 - 2 / 4)) / 2], rtol=1e-6)


def test_the_recall_loss_leaves_a_class_alone_that_is_never_missed():
    logits, labels = draw()
    logits[:, 0] = np.where(labels == 0, 50, logits[:, 0])
    _, gradient = run(build("recall"), logits, labels)
    assert not gradient.transpose(0, 2, 1)[labels == 0].any()
    assert gradient.transpose(0, 2, 1)[labels == 1].any()


def test_the_complement_entropy_of_two_classes_is_0():
    logits, labels = draw()
    labels[labels != IGNORED] %= 2
    wanted = run(losses.CrossEntropyLoss(2), logits[:, :2], labels)
    assert_same(run(losses.other_loss("complement", 2), logits[:, :2], labels), wanted)


# ---- statistics


def test_statistics_are_counts_of_the_masks():
    for c in range(CLASSES):
        assert STATISTICS.pixels[c] == sum((mask == c).sum() for mask in masks())
        with_class = [mask for mask in masks() if (mask == c).any()]
        assert STATISTICS.image_pixels[c] == sum((mask != IGNORED).sum() for mask in with_class)
    assert STATISTICS.images == 5 and STATISTICS.num_classes == CLASSES
    assert STATISTICS.pixels.dtype == STATISTICS.image_pixels.dtype == np.int64


def test_statistics_survive_json():
    again = losses.LabelStatistics.from_record(json.loads(json.dumps(STATISTICS.record())))
    np.testing.assert_array_equal(again.pixels, STATISTICS.pixels)
    np.testing.assert_array_equal(again.image_pixels, STATISTICS.image_pixels)
    assert again.images == STATISTICS.images and again.pixels.dtype == np.int64


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"pixels": [1], "image_pixels": [1]},
        {"pixels": [1, 2], "image_pixels": [3], "images": 1},
        {"pixels": [4], "image_pixels": [3], "images": 1},
        {"pixels": ["x"], "image_pixels": [3], "images": 1},
    ],
)
def test_a_record_that_is_none_is_refused(record):
    with pytest.raises(ValueError, match="no record of label statistics"):
        losses.LabelStatistics.from_record(record)


def test_masks_that_can_not_be_counted_are_refused():
    with pytest.raises(losses.LabelError, match="mask 2 holds 7, which is no class"):
        losses.LabelStatistics.count([np.zeros((2, 2), np.uint8), np.full((2, 2), 7, np.uint8)], CLASSES)
    with pytest.raises(ValueError, match="mask 1 is float64"):
        losses.LabelStatistics.count([np.zeros((2, 2))], CLASSES)
    with pytest.raises(ValueError, match="no mask"):
        losses.LabelStatistics.count([], CLASSES)


def test_inverse_frequency_weights_the_split_as_cross_entropy_does():
    weights = losses.other_loss("inverse_frequency", CLASSES, STATISTICS)._class_weights
    assert (weights * STATISTICS.pixels).sum() == pytest.approx(STATISTICS.pixels.sum())
    shares = (weights * STATISTICS.pixels)[STATISTICS.pixels > 0]
    np.testing.assert_allclose(shares, shares[0])


# ---- the entry


def test_unknown_names_and_settings_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="median_frequency, inverse_frequency, ohem, .*complement"):
        losses.other_loss("dice", CLASSES)
    with pytest.raises(ValueError, match="no setting 'gamma': it has threshold, min_kept"):
        losses.other_loss("ohem", CLASSES, gamma=2)
    with pytest.raises(ValueError, match="no setting 'ignore': it has none"):
        losses.other_loss("lovasz", CLASSES, ignore=0)


@pytest.mark.parametrize("name", ["median_frequency", "inverse_frequency", "logit_adjustment", "seesaw"])
def test_a_loss_that_needs_statistics_asks_for_them(name):
    with pytest.raises(ValueError, match=f"{name} needs the training split's statistics"):
        losses.other_loss(name, CLASSES)
    with pytest.raises(ValueError, match="of 5 classes, the loss is of 19"):
        losses.other_loss(name, 19, STATISTICS)


@pytest.mark.parametrize(
    "name, settings",
    [
        ("ohem", {"threshold": 0.0}),
        ("ohem", {"threshold": 1.1}),
        ("ohem", {"min_kept": -1}),
        ("loss_max_pooling", {"p": 1.0}),
        ("loss_max_pooling", {"share": 0.0}),
        ("focal", {"gamma": -1.0}),
        ("logit_adjustment", {"tau": np.inf}),
        ("seesaw", {"mitigation": -0.1}),
        ("seesaw", {"compensation": np.nan}),
        ("complement", {"gamma": np.nan}),
    ],
)
def test_settings_out_of_range_are_refused(name, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        build(name, **settings)


# ---- training


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Images and labels of three drawn scenes, and their statistics."""
    root = scenes.draw(tmp_path_factory.mktemp("scenes"), train=3, val=1, size=(96, 48), seed=2)
    pairs = [Cityscapes(root, "train")[i] for i in range(3)]
    images = np.stack([normalize(image) for image, _ in pairs])
    labels = np.stack([mask for _, mask in pairs])
    return mx.nd.array(images), labels, losses.LabelStatistics.count(labels, 19)


def tiny_network():
    mx.random.seed(0)
    network = gluon.nn.HybridSequential()
    for dilation in (1, 2):
        network.add(gluon.nn.Conv2D(12, 3, padding=dilation, dilation=dilation, activation="relu"))
    network.add(gluon.nn.Conv2D(19, 1))
    network.initialize(mx.init.Xavier(rnd_type="gaussian"))
    network.hybridize()
    return network


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_a_dozen_steps_lower_its_own_training_loss(name, street):
    images, labels, statistics = street
    network, loss = tiny_network(), losses.other_loss(name, 19, statistics)
    rate = 2.0 if name == "lovasz" else 0.05  # its slopes are small: each pixel is one of all errors
    optimiser = gluon.Trainer(network.collect_params(), "sgd", {"learning_rate": rate, "momentum": 0.9})
    course = []
    for _ in range(13):
        with autograd.record():
            value = loss(network(images), labels)
        value.backward()
        optimiser.step(len(labels))
        course.append(float(value.asnumpy().mean()))
    assert course[-1] < 0.95 * course[0]
