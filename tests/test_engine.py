"""Training steps and evaluation: what changes, what never does, and what an error leaves behind."""

from __future__ import annotations

import cv2
import mxnet as mx
import numpy as np
import pytest
import small
from mxnet import autograd

from gluon_confseg import checkpoint, engine, fusion, losses, metrics, network
from gluon_confseg.datasets.batches import Batch
from gluon_confseg.errors import DivergedError, RunError
from gluon_confseg.run_folder import Position


def subnet_step(built) -> engine.SubnetStep:
    return engine.SubnetStep(built, [losses.CrossEntropyLoss(len(group) + 1) for group in built.groups])


def subnet0_step(built) -> engine.Subnet0Step:
    return engine.Subnet0Step(built, [losses.CrossEntropyLoss(built.num_classes)])


def batches(count: int = 2, size: int = 2) -> list:
    return [
        Batch(
            small.images(seed, size).asnumpy(),
            small.labels(seed, size),
            tuple(f"picture{seed}{n}" for n in range(size)),
        )
        for seed in range(count)
    ]


def chosen(built, further: bool) -> dict:
    return {k: v for k, v in small.values(built).items() if k.startswith("subnets.") == further}


# ---- subnets train on a frozen encoder


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("kind", network.SUBNETS)
def test_while_subnets_train_nothing_else_changes_by_a_bit(kind, hybrid):
    built = small.build(kind)
    if hybrid:
        engine.hybridize_parts(built)
    frozen, free = chosen(built, False), chosen(built, True)
    assert any("running_var" in name for name in frozen)
    small.train(subnet_step(built), batches(3))
    assert small.same_bits(chosen(built, False), frozen)
    changed = {k for k, v in chosen(built, True).items() if not np.array_equal(v, free[k])}
    assert changed == {k for k in free if not k.endswith("standardise.gamma")}  # which is fixed at 1


@pytest.mark.parametrize("hybrid", [False, True])
def test_features_in_training_are_those_of_inference(hybrid):
    built, images = small.shaken(), small.images(3)
    if hybrid:
        engine.hybridize_parts(built)
    live = built.encoder(images)
    live = [x.asnumpy() for x in (built.subnet0(*live), *live)]
    with autograd.pause(train_mode=False):
        wanted = [x.asnumpy() for x in subnet_step(built)._frozen(images)]
    with autograd.record():  # the worst case: somebody records and trains around it
        step = subnet_step(built)
        first, features = step.features(images)
    step(images, small.labels())
    again, _ = step.features(images)
    np.testing.assert_array_equal(again.asnumpy(), wanted[0])
    assert len(live) == len(wanted) == 1 + len(features)
    for found, inference, ordinary in zip((first, *features), wanted, live):
        np.testing.assert_array_equal(found.asnumpy(), inference)
        np.testing.assert_allclose(found.asnumpy(), ordinary, rtol=1e-4, atol=1e-4 * np.abs(ordinary).max())


def test_training_all_subnets_at_once_is_training_each_alone():
    together = small.build()
    small.train(subnet_step(together), batches(2))
    for m in range(len(small.GROUPS)):
        alone = small.build()
        only = engine.SubnetStep(alone, [losses.CrossEntropyLoss(3)] * 2)
        keep = {k: p for k, p in only.parameters().items() if k.startswith(f"subnets.{m}.")}
        trainer = engine.sgd(keep)
        for batch in batches(2):
            only(mx.nd.array(batch.images), batch.labels)
            trainer.set_learning_rate(0.05)
            trainer.step(2)
        found = small.values(alone)
        for name in keep:
            np.testing.assert_allclose(found[name], small.values(together)[name], rtol=1e-5, atol=1e-7)


def test_a_subnet_learns_its_group_and_others():
    built = small.build()
    step, batch = subnet_step(built), batches(1)[0]
    labels = (batch.images[:, 0] > 0).astype(np.uint8)  # class 0 or 1, to be read off the image
    before = step(mx.nd.array(batch.images), labels)
    small.train(step, [Batch(batch.images, labels, batch.names)] * 6, rate=0.2)
    after = step(mx.nd.array(batch.images), labels)
    assert set(after) == {"subnet1", "subnet2"}
    assert all(after[name].mean().asscalar() < before[name].mean().asscalar() for name in after)


def test_group_channels_are_others_the_group_in_order_and_the_ignored():
    table = engine.group_channels((4, 2))
    labels = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)
    np.testing.assert_array_equal(table[labels], [[0, 0, 2], [0, 1, 255]])


# ---- encoder and subnet 0


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_step_of_subnet_0_trains_encoder_and_subnet_0_alone(hybrid):
    built = small.build()
    if hybrid:
        engine.hybridize_parts(built)
    before = small.values(built)
    small.train(subnet0_step(built), batches(2))
    changed = {k for k, v in small.values(built).items() if not np.array_equal(v, before[k])}
    assert changed == {k for k in before if not k.startswith("subnets.")}


def test_training_lowers_the_loss():
    built, each = small.build(groups=()), batches(1) * 8
    for batch in each:
        batch.labels[:] = (batch.images[:, 1] > 0) * 3
    at = Position()
    means = small.train(subnet0_step(built), each, rate=0.1, at=at)
    assert means[-1] < means[0]
    assert at.batch == 8 and at.images == 16
    assert at.means() == {"subnet0": pytest.approx(np.mean(means))}


def test_one_step_is_sgd_with_momentum_and_weight_decay():
    built = small.build(groups=())
    step = subnet0_step(built)
    trainer, momentum = engine.sgd(step.parameters()), {}
    for number, batch in enumerate(batches(2)):
        before = small.values(built)
        rate = 0.1 / (number + 1)
        small.train(step, [batch], rate, trainer)
        for name in ("subnet0.output.weight", "encoder.layer1.0.conv1.weight", "encoder.bn1.beta"):
            gradient = step.parameters()[name].grad().asnumpy() / 2 + 0.0005 * before[name]
            momentum[name] = 0.9 * momentum.get(name, 0) - rate * gradient
            np.testing.assert_allclose(
                small.values(built)[name], before[name] + momentum[name], rtol=1e-4, atol=1e-6
            )


def test_a_position_goes_on_counting_in_its_epoch():
    at = Position(batch=5, images=10, sums={"subnet0": 3.0})
    means = small.train(subnet0_step(small.build(groups=())), batches(2), 0.01, at=at)
    assert at.batch == 7 and at.images == 14 and at.sums["subnet0"] == pytest.approx(3 + 2 * sum(means))


@pytest.mark.parametrize("kind", ["subnet0", "subnets"])
def test_training_twice_is_bit_identical(kind):
    outcomes = []
    for _ in range(3):
        built = small.build()
        engine.hybridize_parts(built)
        small.train(subnet0_step(built) if kind == "subnet0" else subnet_step(built), batches(3))
        outcomes.append(small.values(built))
    assert small.same_bits(outcomes[0], outcomes[1]) and small.same_bits(outcomes[0], outcomes[2])


# ---- a loss that is not finite


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_names_the_images_and_updates_nothing(value):
    built = small.build()
    step = subnet_step(built)
    trainer = engine.sgd(step.parameters())
    small.train(step, batches(1), trainer=trainer)
    before, momentum = small.values(built), checkpoint.trainer_arrays(trainer, trainer.names)

    def broken(images, labels):
        return {**step(images, labels), "subnet2": mx.nd.array([1.0, value])}

    with pytest.raises(RunError, match="picture10, picture11.*last checkpoint") as caught:
        small.train(broken, batches(2)[1:], rate=0.1, trainer=trainer)
    assert "\n" not in str(caught.value)
    running = ("running_mean", "running_var")  # the subnets' own move in the forward pass
    kept = [k for k in before if not (k.startswith("subnets.") and k.endswith(running))]
    assert small.same_bits({k: small.values(built)[k] for k in kept}, {k: before[k] for k in kept})
    after = checkpoint.trainer_arrays(trainer, trainer.names)
    assert small.same_bits(after, momentum)


def test_a_network_that_has_run_away_is_noticed():
    built = small.build(groups=())
    weight = built.subnet0.output.weight
    weight.set_data(weight.data() * np.inf)
    with pytest.raises(RunError, match="picture00, picture01"):
        small.train(subnet0_step(built), batches(1))


# ---- evaluation


def test_evaluating_several_rules_is_evaluating_each():
    built, each = small.shaken(), batches(2)
    together = list(engine.evaluate(built, each, fusion.RULES, small.CLASSES))
    for rule in fusion.RULES:
        alone = list(engine.evaluate(built, each, [rule], small.CLASSES))
        for (names, predictions, counted), (_, own, counts) in zip(together, alone):
            np.testing.assert_array_equal(predictions[rule], own[rule])
            np.testing.assert_array_equal(counted[rule].counts, counts[rule].counts)
            assert names[0].startswith("picture")


def test_predictions_are_the_fused_networks():
    built, batch = small.shaken(), batches(1)[0]
    images = mx.nd.array(batch.images[:, :, :29, :53])
    for rule in fusion.RULES:
        scores = network.FusedNetwork(built, rule)(images).asnumpy()
        fuse = {rule: fusion.Fusion(built.groups, small.CLASSES, rule)}
        found = engine.predict(built, fuse, images)[rule]
        assert found.shape == (2, 29, 53) and found.dtype == np.uint8
        top = np.sort(scores, 1)[:, -2:]
        clear = top[:, 1] - top[:, 0] > 1e-6  # a tie may break either way
        np.testing.assert_array_equal(found[clear], scores.argmax(1)[clear])


def test_matrices_are_those_of_the_predictions():
    built = small.shaken()
    for batch, (_, predictions, counted) in zip(
        batches(2), engine.evaluate(built, batches(2), ["sum"], small.CLASSES)
    ):
        wanted = metrics.ConfusionMatrix(small.CLASSES)
        wanted.update(batch.labels, predictions["sum"])
        np.testing.assert_array_equal(counted["sum"].counts, wanted.counts)


def test_evaluation_changes_nothing():
    built = small.shaken()
    before = small.values(built)
    list(engine.evaluate(built, batches(2), fusion.RULES, small.CLASSES))
    assert small.same_bits(small.values(built), before)


def test_the_largest_class_is_the_first_of_equals():
    scores = np.random.RandomState(0).randint(0, 3, (2, 7, 9, 11)).astype(np.float32)
    np.testing.assert_array_equal(engine.largest_class(mx.nd.array(scores)), scores.argmax(1))


# ---- enlarging


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("height, width", [(2, 3), (4, 1), (5, 7)])
def test_enlarging_is_opencvs_at_multiples_of_the_stride(stride, height, width):
    small_map = np.random.RandomState(0).normal(size=(1, 3, height, width)).astype(np.float32)
    like = mx.nd.zeros((1, 3, height * stride, width * stride))
    found = network.enlarge(mx.nd, mx.nd.array(small_map), stride, like).asnumpy()
    size = (width * stride, height * stride)
    for channel in range(3):
        wanted = cv2.resize(small_map[0, channel], size, interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(found[0, channel], wanted, atol=1e-5)


def test_enlarging_to_other_sizes_is_a_cut():
    small_map = mx.nd.random.normal(shape=(2, 3, 3, 4))
    whole = network.enlarge(mx.nd, small_map, 8, mx.nd.zeros((2, 3, 24, 32))).asnumpy()
    part = network.enlarge(mx.nd, small_map, 8, mx.nd.zeros((2, 3, 17, 29))).asnumpy()
    np.testing.assert_array_equal(part, whole[:, :, :17, :29])


@pytest.mark.parametrize("height, width", [(32, 64), (17, 49), (1, 3)])
def test_the_gradient_of_enlarging_is_the_operators_and_the_same_every_time(height, width):
    like, stride = mx.nd.zeros((2, 3, height, width)), 16
    logits = mx.nd.random.normal(shape=(2, 5, -(-height // stride), -(-width // stride)))
    upstream = mx.nd.random.normal(shape=(2, 5, height, width))

    def gradient(enlarged):
        logits.attach_grad()
        with autograd.record():
            value = enlarged(logits)
        value.backward(upstream)
        return value.asnumpy(), logits.grad.asnumpy()

    value, wanted = gradient(lambda x: network.enlarge(mx.nd, x, stride, like))
    found = [gradient(lambda x: network.enlarge_in_training(x, stride, like)) for _ in range(20)]
    for own, slope in found:
        np.testing.assert_allclose(own, value, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(slope, wanted, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(slope, found[0][1])


@pytest.mark.parametrize("value, refused", [(1e30, False), (np.inf, True), (np.nan, True)])
def test_gradients_are_refused_where_they_are_not_finite_and_not_where_they_are_huge(value, refused):
    parameters = {name: mx.gluon.Parameter(name, shape=(3,)) for name in ("first", "second")}
    for parameter in parameters.values():
        parameter.initialize()
    trainer = engine.sgd(parameters)
    parameters["second"].grad()[1] = value
    if not refused:
        engine.check_gradients(trainer, ["a.png"])
        return
    with pytest.raises(DivergedError, match=r"finite on a.png, but its gradient is not finite \(second\)"):
        engine.check_gradients(trainer, ["a.png"])
