"""The improved cross-entropy against extended precision, and the laws it keeps."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from loss_reference import value_and_gradient as reference
from mxnet import autograd, gluon

from gluon_confseg import compiled, losses
from gluon_confseg.compiled import loss as compiled_loss
from gluon_confseg.errors import ConfSegError
from gluon_confseg.losses import blockwise


def test_weights_in_any_order_in_memory_stay_as_they_are():
    draws = np.random.RandomState(0)
    weights, logits = draws.rand(4, 4), mx.nd.array(draws.randn(1, 4, 3, 3))
    labels = draws.randint(0, 4, (1, 3, 3))
    wanted = losses.ConfusionCELoss(weights.T.copy())(logits, labels).asnumpy()
    loss = losses.ConfusionCELoss(weights.T)
    for _ in range(2):
        np.testing.assert_array_equal(loss(logits, labels).asnumpy(), wanted)


SECOND = pytest.mark.slow if compiled.library() is not None else ()


@pytest.fixture(autouse=True, params=["compiled", pytest.param("numpy", marks=SECOND)])
def arithmetic(request, monkeypatch):
    """Every test runs with the compiled arithmetic, where it is built, and with NumPy's."""
    if request.param == "numpy":
        monkeypatch.setattr(compiled_loss, "is_available", lambda: False)
    elif compiled.library() is None:
        pytest.skip(f"compiled operators: {compiled.state()}")


LEAST = 1e-35  # smaller losses and gradients are at the end of float32's range


def confusion(classes: int, seed: int = 0) -> np.ndarray:
    counts = np.random.RandomState(seed).rand(classes, classes) + 2 * np.eye(classes)
    return counts / counts.sum(1, keepdims=True)


def criterion(classes: int, penalty: float = 5.0, **settings):
    return losses.ConfusionCELoss(losses.confusion_weights(confusion(classes)), penalty, **settings)


def run(loss, logits, labels, upstream=None):
    """(N, K, ...) logits, (N, ...) labels -> loss (N,), gradient, as NumPy."""
    logits = mx.nd.array(logits, dtype=logits.dtype)
    logits.attach_grad()
    with autograd.record():
        value = loss(logits, labels)
    value.backward(None if upstream is None else mx.nd.array(upstream))
    return value.asnumpy(), logits.grad.asnumpy()


def operator_twin(weights, penalty: float, logits, labels, average: str = "image"):
    """The operators that a GPU runs, on the CPU."""
    combined = losses.ConfusionCELoss(weights, penalty)._weights
    divisors = losses.confusion._divisors(labels != 255, average)
    value, gradient = losses.confusion._on_device(
        mx.nd.array(logits), mx.nd.array(labels), combined, 255, divisors, want_gradient=True
    )
    return value.asnumpy(), gradient.asnumpy()


def draw(classes: int, scale: float, count: int = 150, tied: float = 0.0, samples: int = 2, seed: int = 0):
    """Logits evenly from -scale to scale, a share of them tied at the top; labels, a fifth of them ignored."""
    draws = np.random.RandomState(seed)
    logits = draws.uniform(-scale, scale, (samples, classes, count)).astype(np.float32)
    logits[draws.rand(*logits.shape) < tied] = scale
    labels = draws.randint(0, classes, (samples, count))
    labels[draws.rand(*labels.shape) < 0.2] = 255
    return logits, labels.astype(np.float32)


def assert_exact(found, wanted) -> None:
    """1e-5 relative in each value; 1e-4 in each gradient, relative to the pixel's largest entry."""
    (value, gradient), (true_value, true_gradient) = found, wanted
    shown = true_value > LEAST
    np.testing.assert_allclose(value[shown], true_value[shown].astype(np.float64), rtol=1e-5)
    assert np.all(value[~shown] <= 2 * LEAST)
    largest = np.abs(true_gradient).max(1, keepdims=True)
    assert np.all(np.abs(gradient - true_gradient) <= 1e-4 * largest + LEAST)


def pixel_by_pixel(logits, labels):
    """Every pixel becomes a sample of its own, so that no small loss hides behind a large one."""
    return np.ascontiguousarray(logits.transpose(0, 2, 1).reshape(-1, logits.shape[1], 1)), labels.reshape(
        -1, 1
    )


# ---- against the definition


@pytest.mark.parametrize("tied", [0.0, 0.4])
@pytest.mark.parametrize("scale", [1, 30, 200])
@pytest.mark.parametrize("classes", [2, 3, 19])
def test_value_and_gradient_are_exact_pixel_by_pixel(classes, scale, tied):
    logits, labels = pixel_by_pixel(*draw(classes, scale, tied=tied))
    weights = losses.confusion_weights(confusion(classes))
    for penalty in (0.0, 5.0):
        found = run(losses.ConfusionCELoss(weights, penalty), logits, mx.nd.array(labels))
        assert_exact(found, reference(logits, labels, weights, penalty))


@pytest.mark.parametrize("tied", [0.0, 0.4])
@pytest.mark.parametrize("scale", [5, 200])
@pytest.mark.parametrize("classes", [2, 7])
def test_the_operator_twin_is_exact_too(classes, scale, tied):
    logits, labels = pixel_by_pixel(*draw(classes, scale, tied=tied))
    weights = losses.confusion_weights(confusion(classes))
    for penalty in (0.0, 5.0):
        found = operator_twin(weights, penalty, logits, labels)
        assert_exact(found, reference(logits, labels, weights, penalty))


@pytest.mark.parametrize("scheme", losses.SCHEMES)
def test_every_scheme_is_exact(scheme):
    logits, labels = draw(7, 50, tied=0.1)
    weights = losses.confusion_weights(confusion(7), scheme)
    assert_exact(
        run(losses.ConfusionCELoss(weights, 5.0), logits, labels), reference(logits, labels, weights, 5.0)
    )


def test_weights_of_any_size_are_exact():
    draws = np.random.RandomState(3)
    weights = np.where(draws.rand(6, 6) < 0.3, 0, 10.0 ** draws.uniform(-4, 3, (6, 6))).astype(np.float32)
    logits, labels = pixel_by_pixel(*draw(6, 40, tied=0.1))
    for penalty in (0.3, 11.4):
        found = run(losses.ConfusionCELoss(weights, penalty), logits, labels)
        assert_exact(found, reference(logits, labels, weights, penalty))
        assert_exact(operator_twin(weights, penalty, logits, labels), found)


@pytest.mark.parametrize("classes", [2, 19])
def test_a_wrong_class_at_probability_1_less_1e_30_is_exact(classes):
    sure = np.log(classes - 1) + 30 * np.log(10)
    logits = np.zeros((classes, classes, 1), np.float32)
    logits[:, 0] = sure
    labels = np.arange(classes)[:, None]  # sample 0 is right, all others as wrong as can be
    weights = losses.confusion_weights(confusion(classes))
    found = run(losses.ConfusionCELoss(weights, 5.0), logits, labels)
    assert_exact(found, reference(logits, labels, weights, 5.0))
    assert_exact(
        operator_twin(weights, 5.0, logits, labels.astype(np.float32)),
        reference(logits, labels, weights, 5.0),
    )
    assert found[0][1] > 69 * (1 + 5 * weights[1, 0])  # -log of 1e-30, twice: neither term is cut off
    assert 0 < found[0][0] < 1e-28


@pytest.mark.parametrize("count", [1, 7, blockwise.BLOCK - 1, blockwise.BLOCK, blockwise.BLOCK + 1, 20001])
def test_block_boundaries_leave_no_mark(count):
    logits, labels = draw(3, 10, count=count)
    weights = losses.confusion_weights(confusion(3))
    found = run(losses.ConfusionCELoss(weights, 5.0), logits, labels)
    assert_exact(found, reference(logits, labels, weights, 5.0))


def test_the_references_gradient_is_that_of_its_value():
    logits, labels = draw(4, 3, count=3, samples=1)
    labels[:] = [[0, 3, 255]]
    weights, step = confusion(4), 1e-6
    _, gradient = reference(logits, labels, weights, 5.0)
    for place in np.ndindex(logits.shape):
        moved = np.zeros(logits.shape, np.longdouble)
        moved[place] = step
        ahead, _ = reference(logits + moved, labels, weights, 5.0)
        behind, _ = reference(logits - moved, labels, weights, 5.0)
        assert float((ahead - behind)[0] / (2 * step)) == pytest.approx(float(gradient[place]), abs=1e-9)


def test_by_hand():
    q = np.array([0.5, 0.3, 0.2])
    weights = np.array([[1, 0.4, 0.1], [0, 1, 0], [0, 0, 1]])
    value, gradient = run(
        losses.ConfusionCELoss(weights, 5.0), np.log(q)[None, :, None].astype(np.float32), np.array([[0]])
    )
    wanted = -np.log(0.5) - 5 * (0.4 * np.log(0.7) + 0.1 * np.log(0.8))
    np.testing.assert_allclose(value, [wanted], rtol=1e-6)
    w = np.array([0, 0.4 * 0.3 / 0.7, 0.1 * 0.2 / 0.8])
    np.testing.assert_allclose(gradient[0, :, 0], q - [1, 0, 0] + 5 * (w - q * w.sum()), rtol=1e-5)


# ---- what plain cross-entropy does


def test_zero_penalty_is_gluons_cross_entropy_on_the_labelled_pixels():
    logits, labels = draw(5, 8, count=60)
    logits, labels = logits.reshape(2, 5, 6, 10), labels.reshape(2, 6, 10)
    counted = labels != 255
    for loss in (losses.CrossEntropyLoss(5), losses.ConfusionCELoss(confusion(5) + 1, 0.0)):
        scale = (
            1 if isinstance(loss, losses.CrossEntropyLoss) else (np.diag(confusion(5)) + 1).astype(np.float32)
        )
        value, gradient = run(loss, logits, labels)
        weight = np.where(counted, np.broadcast_to(scale, 5)[np.where(counted, labels, 0).astype(int)], 0)
        share = weight * (60 / counted.sum((1, 2), keepdims=True))  # gluon divides by all 60 pixels

        def plain(x, y, share=share):
            own = gluon.loss.SoftmaxCELoss(axis=1)
            return own(x, mx.nd.array(np.where(y == 255, 0, y)), mx.nd.array(share[:, None]))

        other_value, other_gradient = run(plain, logits, labels)
        np.testing.assert_allclose(value, other_value, rtol=1e-5)
        np.testing.assert_allclose(gradient, other_gradient, rtol=1e-4, atol=1e-7)


def test_cross_entropy_is_the_improved_one_without_penalty():
    logits, labels = draw(5, 8)
    for weights, penalty in ((np.eye(5), 5.0), (losses.confusion_weights(confusion(5)), 0.0)):
        plain, improved = losses.CrossEntropyLoss(5), losses.ConfusionCELoss(weights, penalty)
        for first, second in zip(run(plain, logits, labels), run(improved, logits, labels)):
            np.testing.assert_array_equal(first, second)


# ---- ignored pixels


@pytest.mark.parametrize("content", [0.0, 200.0, 3e38, -3e38])
def test_ignored_pixels_move_nothing(content):
    logits, labels = draw(4, 5, count=50)
    loss = criterion(4)
    value, gradient = run(loss, logits, labels)
    ignored = np.broadcast_to((labels == 255)[:, None], logits.shape)
    logits[ignored] = content
    other_value, other_gradient = run(loss, logits, labels)
    np.testing.assert_array_equal(value, other_value)
    np.testing.assert_array_equal(gradient, other_gradient)
    assert not other_gradient[ignored].any()


def test_leaving_ignored_pixels_out_is_the_same_loss():
    logits, labels = draw(4, 5, count=50, samples=1)
    loss, kept = criterion(4), labels[0] != 255
    value, gradient = run(loss, logits, labels)
    fewer_value, fewer_gradient = run(loss, logits[:, :, kept], labels[:, kept])
    np.testing.assert_allclose(value, fewer_value, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, :, kept], fewer_gradient, rtol=1e-6, atol=1e-9)


def test_an_all_ignored_sample_is_0_without_gradient_beside_others():
    logits, labels = draw(4, 200, count=50, samples=3)
    labels[1] = 255
    loss = criterion(4)
    value, gradient = run(loss, logits, labels)
    assert value[1] == 0 and not gradient[1].any()
    for n in (0, 2):
        alone = run(loss, logits[n : n + 1], labels[n : n + 1])
        np.testing.assert_array_equal(value[n], alone[0][0])
        np.testing.assert_array_equal(gradient[n], alone[1][0])
    twin = operator_twin(losses.confusion_weights(confusion(4)), 5.0, logits, labels)
    assert twin[0][1] == 0 and not twin[1][1].any() and np.isfinite(twin[1]).all()


def test_another_ignore_label_is_respected():
    logits, labels = draw(4, 5)
    value, gradient = run(criterion(4), logits, labels)
    labels[labels == 255] = -1
    other_value, other_gradient = run(criterion(4, ignore_label=-1), logits, labels)
    np.testing.assert_array_equal(value, other_value)
    np.testing.assert_array_equal(gradient, other_gradient)


# ---- the mean


def test_the_batchs_average_is_the_mean_over_all_its_labelled_pixels():
    logits, labels = draw(4, 5, count=60, samples=3)
    labels[1, 7:], labels[2] = 255, 255
    weights = losses.confusion_weights(confusion(4))
    flat_logits = logits.transpose(1, 0, 2).reshape(1, 4, -1)
    wanted, slope = run(losses.ConfusionCELoss(weights, 5.0), flat_logits, labels.reshape(1, -1))
    slope = slope.reshape(4, 3, 60).transpose(1, 0, 2)
    for found in (
        run(losses.ConfusionCELoss(weights, 5.0, average="batch"), logits, labels),
        operator_twin(weights, 5.0, logits, labels, "batch"),
    ):
        np.testing.assert_allclose(found[0].mean(), wanted[0], rtol=1e-6)
        np.testing.assert_allclose(found[1] / 3, slope, rtol=1e-5, atol=1e-8)  # as `Trainer.step(3)` divides
        assert found[0][2] == 0 and not found[1][2].any()


def test_both_averages_agree_where_all_images_have_as_many_labelled_pixels():
    logits, labels = draw(4, 5)
    labels[:, ::3], labels[labels == 255] = 255, 0
    each = [run(criterion(4, average=average), logits, labels) for average in losses.AVERAGES]
    for image, batch in zip(*each):
        np.testing.assert_allclose(image, batch, rtol=1e-6)


def test_a_batch_without_labelled_pixels_is_0_by_either_average():
    logits, labels = draw(4, 5)
    for average in losses.AVERAGES:
        value, gradient = run(criterion(4, average=average), logits, np.full_like(labels, 255))
        assert not value.any() and not gradient.any()


# ---- by name


@pytest.mark.parametrize("average", losses.AVERAGES)
def test_the_door_builds_what_the_classes_are(average):
    logits, labels = draw(4, 5)
    weights = losses.confusion_weights(confusion(4))
    wanted = {
        "ce": losses.CrossEntropyLoss(4, average=average),
        "confusion_ce": losses.ConfusionCELoss(weights, 3.0, average=average),
    }
    for name, loss in wanted.items():
        built = losses.build(name, 4, weights=weights, penalty=3.0, average=average)
        for found, true in zip(run(built, logits, labels), run(loss, logits, labels)):
            np.testing.assert_array_equal(found, true)


@pytest.mark.parametrize("name", losses.OTHER_LOSSES)
def test_the_door_builds_the_other_losses(name):
    logits, labels = draw(4, 5)
    statistics = losses.LabelStatistics(np.arange(1, 5), np.arange(5, 9), 2)
    built = losses.build(name, 4, statistics=statistics)
    direct = losses.other_loss(name, 4, statistics)
    for found, true in zip(run(built, logits, labels), run(direct, logits, labels)):
        np.testing.assert_array_equal(found, true)
    with pytest.raises(ValueError, match=f'{name} has each image\'s mean alone: average "batch"'):
        losses.build(name, 4, statistics=statistics, average="batch")


@pytest.mark.parametrize(
    "settings, said",
    [
        (
            {"name": "focl"},
            r"no loss 'focl': did you mean 'focal'\? choose one of ce, confusion_ce, median_freq",
        ),
        ({"name": "dice loss of 3"}, "no loss 'dice loss of 3': choose one of ce"),
        ({"name": "confusion_ce"}, "needs the weights C: pass losses.confusion_weights"),
        ({"name": "confusion_ce", "weights": np.eye(3)}, r"weights are \(3, 3\), the loss is of 4 classes"),
        ({"name": "seesaw"}, "needs the training split's statistics"),
        ({"name": "ce", "average": "pixel"}, "no average 'pixel': choose one of image, batch"),
    ],
)
def test_the_door_says_what_is_wrong(settings, said):
    with pytest.raises(ValueError, match=said):
        losses.build(num_classes=4, **settings)


# ---- errors


@pytest.mark.parametrize("outside", [11, 254, -1, 0.5])
@pytest.mark.parametrize("recording", [True, False])
def test_a_label_outside_the_classes_is_an_error_that_names_it(outside, recording):
    labels = np.zeros((2, 3, 4), np.float32)
    labels[1, 2, 1] = outside
    loss, logits = criterion(11), mx.nd.zeros((2, 11, 3, 4))
    with pytest.raises(losses.LabelError, match=rf"label {outside:g} is no class \(0-10\)") as caught:
        if recording:
            with autograd.record():
                loss(logits, mx.nd.array(labels))
        else:
            loss(logits, labels)
    assert isinstance(caught.value, ConfSegError)


@pytest.mark.parametrize(
    "logits, labels",
    [((2, 4, 3, 3), (2, 3, 4)), ((2, 5, 3, 3), (2, 3, 3)), ((2, 4, 9), (2, 3, 3)), ((4,), ())],
)
def test_shapes_that_do_not_fit_are_named(logits, labels):
    with pytest.raises(ValueError, match=r"wanted \(N, 4, H, W\) and \(N, H, W\)"):
        criterion(4)(mx.nd.zeros(logits), mx.nd.zeros(labels) if labels else np.zeros(()))


@pytest.mark.parametrize(
    "weights, penalty",
    [
        (np.ones((2, 3)), 5.0),
        (np.ones((1, 1)), 5.0),
        (np.ones(3), 5.0),
        (-np.ones((3, 3)), 5.0),
        (np.full((3, 3), np.nan), 5.0),
        (np.ones((3, 3)), -1.0),
        (np.ones((3, 3)), np.inf),
    ],
)
def test_weights_that_reward_or_do_not_fit_are_refused(weights, penalty):
    with pytest.raises(ValueError):
        losses.ConfusionCELoss(weights, penalty)


# ---- as a part of a training program


def test_scaling_the_loss_scales_its_gradient():
    logits, labels = draw(4, 20)
    loss = criterion(4)
    _, gradient = run(loss, logits, labels)
    _, three_times = run(lambda x, y: loss(x, y) * 3, logits, labels)
    np.testing.assert_allclose(three_times, 3 * gradient, rtol=1e-6)
    _, weighted = run(criterion(4, weight=0.5), logits, labels)
    np.testing.assert_allclose(weighted, 0.5 * gradient, rtol=1e-6)
    _, per_sample = run(loss, logits, labels, upstream=[0.0, -2.0])
    np.testing.assert_allclose(per_sample, gradient * np.array([0, -2])[:, None, None], rtol=1e-6)


def test_gradient_flows_to_what_made_the_logits():
    logits, labels = draw(4, 3, count=12)
    loss = criterion(4)
    _, gradient = run(loss, logits, labels)
    _, through = run(lambda x, y: loss((x * 2).tanh(), y), logits, labels)
    _, at_tanh = run(loss, np.tanh(2 * logits), labels)
    np.testing.assert_allclose(through, at_tanh * 2 * (1 - np.tanh(2 * logits) ** 2), rtol=1e-4, atol=1e-7)
    assert not np.allclose(through, gradient)


def test_two_losses_of_one_tensor_add_their_gradients():
    logits, labels = draw(4, 3)
    first, second = criterion(4), losses.CrossEntropyLoss(4)
    _, both = run(lambda x, y: first(x, y) + second(x, y), logits, labels)
    apart = run(first, logits, labels)[1] + run(second, logits, labels)[1]
    np.testing.assert_allclose(both, apart, rtol=1e-5, atol=1e-9)


def test_gradients_of_leaf_logits_are_added_up_where_that_is_asked():
    logits, labels = draw(4, 3)
    loss, array = criterion(4), mx.nd.array(logits)
    _, once = run(loss, logits, labels)
    array.attach_grad("add")
    for _ in range(3):
        with autograd.record():
            value = loss(array, labels)
        value.backward()
    np.testing.assert_allclose(array.grad.asnumpy(), 3 * once, rtol=1e-6, atol=1e-9)


def test_logits_that_need_no_gradient_have_a_loss_while_recording():
    logits, labels = draw(4, 3)
    with autograd.record():
        value = criterion(4)(mx.nd.array(logits), labels)
    np.testing.assert_array_equal(value.asnumpy(), run(criterion(4), logits, labels)[0])


def test_value_does_not_depend_on_recording():
    logits, labels = draw(4, 20)
    loss = criterion(4)
    np.testing.assert_array_equal(loss(mx.nd.array(logits), labels).asnumpy(), run(loss, logits, labels)[0])


def test_hybridize_is_harmless():
    logits, labels = draw(4, 20)
    loss = criterion(4)
    before = run(loss, logits, labels)
    loss.hybridize()
    loss.hybridize(static_alloc=True, static_shape=True)
    for first, second in zip(before, run(loss, logits, labels)):
        np.testing.assert_array_equal(first, second)


def test_logits_of_a_convolution_are_read_as_they_are():
    # MKL-DNN keeps a convolution's output in blocks of 8 or 16 channels
    convolution = gluon.nn.Conv2D(16, 3, padding=1, in_channels=16)
    convolution.initialize(mx.init.Normal(1))
    logits = convolution(mx.nd.random.normal(shape=(2, 16, 5, 6)))
    labels = np.random.RandomState(0).randint(0, 16, (2, 5, 6))
    direct = criterion(16)(logits, labels).asnumpy()
    np.testing.assert_array_equal(direct, criterion(16)(mx.nd.array(logits.asnumpy()), labels).asnumpy())


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("kind", ["numpy", "ndarray"])
def test_labels_of_any_type_are_the_same_labels(dtype, kind):
    logits, labels = draw(4, 20)
    wanted = run(criterion(4), logits, labels)
    labels = labels.astype(dtype)
    found = run(criterion(4), logits, labels if kind == "numpy" else mx.nd.array(labels, dtype=dtype))
    for first, second in zip(wanted, found):
        np.testing.assert_array_equal(first, second)


def test_half_precision_logits_get_the_gradient_in_half_precision():
    logits, labels = draw(4, 20)
    logits = logits.astype(np.float16)
    value, gradient = run(criterion(4), logits, labels)
    true_value, true_gradient = run(criterion(4), logits.astype(np.float32), labels)
    assert gradient.dtype == np.float16
    np.testing.assert_allclose(value, true_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, true_gradient, rtol=1e-3, atol=1e-7)


def test_scaled_half_precision_gradients_are_float32s_rounded_once():
    draws = np.random.RandomState(0)
    logits = draws.normal(0, 3, (1, 3, 512, 512)).astype(np.float16)
    labels = draws.randint(0, 3, (1, 512, 512))
    _, gradient = run(criterion(3), logits, labels, upstream=[1024.0])
    _, wanted = run(criterion(3), logits.astype(np.float32), labels, upstream=[1024.0])
    np.testing.assert_array_equal(gradient, wanted.astype(np.float16))
    assert np.count_nonzero(gradient) > 0.99 * gradient.size


def test_threads_given_for_each_level_of_nesting_are_the_first_ones(monkeypatch):
    logits, labels = draw(4, 5)
    wanted = run(criterion(4), logits, labels)
    for threads in ("2,1", " 2 , 1", "many", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        for found, true in zip(run(criterion(4), logits, labels), wanted):
            np.testing.assert_array_equal(found, true)


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    logits, labels = draw(5, 30, count=30000, samples=3)
    found = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(run(criterion(5), logits, labels))
    for value, gradient in found[1:]:
        np.testing.assert_array_equal(value, found[0][0])
        np.testing.assert_array_equal(gradient, found[0][1])


# ---- symmetries


@pytest.mark.parametrize("size", [1e4, 1e37])
def test_loss_and_gradient_stay_finite(size):
    corners = np.array(np.meshgrid(*[[-size, 0, size]] * 3)).reshape(3, -1).T[:, :, None].astype(np.float32)
    weights = losses.confusion_weights(confusion(3))
    for label in range(3):
        labels = np.full((len(corners), 1), label, np.float32)
        for value, gradient in (
            run(losses.ConfusionCELoss(weights, 5.0), corners, labels),
            operator_twin(weights, 5.0, corners, labels),
        ):
            assert np.isfinite(value).all() and (value >= 0).all()
            assert np.isfinite(gradient).all()
            np.testing.assert_allclose(gradient.sum(1), 0, atol=1e-6)


@pytest.mark.parametrize("logits", [(3e38, -3e38), (-3e38, 3e38), (3e38, 3e38), (-3e38, -3e38)])
def test_differences_beyond_float32_are_no_nan(logits):
    right = 1 if logits[1] > logits[0] else 0
    array = np.array(logits, np.float32)[None, :, None]
    with np.errstate(all="ignore"):
        for label in (right, 1 - right):
            labels = np.array([[label]], np.float32)
            for value, gradient in (
                run(losses.ConfusionCELoss(np.ones((2, 2)), 1.0), array, labels),
                operator_twin(np.ones((2, 2)), 1.0, array, labels),
            ):
                assert not np.isnan(value).any() and np.isfinite(gradient).all()
                if logits[0] != logits[1]:
                    assert value[0] == 0 if label == right else value[0] > 3e38


def test_arrangement_of_the_pixels_does_not_matter():
    logits, labels = draw(4, 20, count=300, samples=1)
    shuffled = np.random.RandomState(1).permutation(300)
    value, gradient = run(criterion(4), logits, labels)
    flat = run(
        criterion(4), logits[:, :, shuffled].reshape(1, 4, 15, 20), labels[:, shuffled].reshape(1, 15, 20)
    )
    np.testing.assert_allclose(value, flat[0], rtol=1e-6)
    np.testing.assert_allclose(gradient[:, :, shuffled], flat[1].reshape(1, 4, 300), rtol=1e-6, atol=1e-12)


def test_renaming_the_classes_renames_the_gradient():
    logits, labels = draw(5, 20, tied=0.1)
    order = np.array([3, 0, 4, 1, 2])
    position = np.append(np.argsort(order), [0] * 250 + [255])
    weights = losses.confusion_weights(confusion(5))
    value, gradient = run(losses.ConfusionCELoss(weights, 5.0), logits, labels)
    renamed = run(
        losses.ConfusionCELoss(weights[np.ix_(order, order)], 5.0),
        logits[:, order],
        position[labels.astype(int)],
    )
    np.testing.assert_allclose(value, renamed[0], rtol=1e-6)
    np.testing.assert_allclose(gradient[:, order], renamed[1], rtol=1e-5, atol=1e-8)


def test_a_constant_added_to_all_logits_changes_nothing():
    draws = np.random.RandomState(0)
    logits = (draws.randint(-800, 800, (2, 4, 100)) / 8).astype(
        np.float32
    )  # exact in float32 after the shift
    labels = draws.randint(0, 4, (2, 100))
    value, gradient = run(criterion(4), logits, labels)
    moved_value, moved_gradient = run(criterion(4), logits + np.float32(1000), labels)
    np.testing.assert_array_equal(value, moved_value)
    np.testing.assert_array_equal(gradient, moved_gradient)


def test_the_penalty_grows_with_the_wrong_class_and_never_rewards():
    logits = np.zeros((40, 3, 1), np.float32)
    logits[:, 1, 0] = np.linspace(-5, 60, 40)
    value, gradient = run(criterion(3), logits, np.zeros((40, 1)))
    assert np.all(np.diff(value) > 0)
    assert np.all(gradient[:, 1] > 0) and np.all(gradient[:, 0] < 0)


# ---- weights from a confusion matrix


def test_the_schemes_known_values():
    shares = np.array([[0.8, 0.15, 0.05], [0.3, 0.6, 0.1], [0.0, 0.0, 1.0]])
    off = shares * (1 - np.eye(3))
    wanted = {
        "confusion": off,
        "confusion_max": off / 0.3,
        "confusion_row": np.array([[0, 0.75, 0.25], [0.75, 0, 0.25], [0, 0, 0]]),
        "uniform": 1 - np.eye(3),
        "none": np.zeros((3, 3)),
        "literal": off,
    }
    assert set(wanted) == set(losses.SCHEMES)
    for scheme, off_diagonal in wanted.items():
        found = losses.confusion_weights(shares, scheme=scheme)
        assert found.dtype == np.float32
        diagonal = np.diag([0.8, 0.6, 1.0]) if scheme == "literal" else np.eye(3)
        np.testing.assert_allclose(found, off_diagonal + diagonal, rtol=1e-6)
    np.testing.assert_array_equal(
        losses.confusion_weights(shares), losses.confusion_weights(shares, "confusion")
    )


def test_a_perfect_or_empty_matrix_gives_cross_entropy():
    for shares in (np.eye(4), np.zeros((4, 4))):
        for scheme in ("confusion", "confusion_max", "confusion_row", "none"):
            np.testing.assert_array_equal(losses.confusion_weights(shares, scheme), np.eye(4))


def test_the_given_matrix_is_left_alone():
    shares = confusion(4)
    before = shares.copy()
    for scheme in losses.SCHEMES:
        losses.confusion_weights(shares, scheme)
    np.testing.assert_array_equal(shares, before)


def test_bad_matrices_and_schemes_are_refused():
    with pytest.raises(ValueError, match="confusion_max"):
        losses.confusion_weights(np.eye(3), "sqrt")
    for bad in (np.ones((2, 3)), np.ones(3), np.full((2, 2), np.nan), np.zeros((0, 0))):
        with pytest.raises(ValueError):
            losses.confusion_weights(bad)


@pytest.mark.parametrize("bad", [np.eye(3) * 300_000, -np.eye(3), np.eye(3) - 0.01])
@pytest.mark.parametrize("scheme", losses.SCHEMES)
def test_counts_and_negative_shares_are_refused_with_the_remedy(scheme, bad):
    with pytest.raises(ValueError, match=r"shares from 0 to 1: pass metrics.normalize\(counts\)"):
        losses.confusion_weights(bad, scheme)
