"""A group of all classes is a full head without "others": the control of a group's subnet."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import (
    checkpoint,
    complexity,
    engine,
    export,
    fusion,
    labels,
    losses,
    metrics,
    network,
    weights,
)
from gluon_confseg.groups import SubnetSpace
from gluon_confseg.report import tables
from tests import small

K = small.CLASSES
EVERY = tuple(range(K))
MIXED = (2, 0, 4, 1, 3)
CAMVID = labels.CAMVID


def softmax(array) -> np.ndarray:
    return mx.nd.softmax(array, axis=1).asnumpy()


# ---- the space


def test_a_group_of_all_classes_has_no_others():
    full, part = SubnetSpace(MIXED, K), SubnetSpace((4, 2), K)
    assert (full.channels, full.has_others, full.outside) == (K, False, ())
    assert (part.channels, part.has_others, part.outside) == (3, True, (0, 1, 3))


@pytest.mark.parametrize("group", [EVERY, MIXED, (4, 2)])
def test_every_class_is_in_one_channel_and_the_group_in_its_order(group):
    space = SubnetSpace(group, K)
    members = space.members()
    assert members.shape == (space.channels, K) and (members.sum(0) == 1).all()
    assert [int(members[c].argmax()) for c in range(int(space.has_others), space.channels)] == list(group)
    np.testing.assert_array_equal(members.argmax(0), space.channel_of_class())


# ---- labels and counts


def test_group_channels_of_all_classes_is_the_identity():
    table = engine.group_channels(EVERY, num_classes=K)
    np.testing.assert_array_equal(table[: K + 1], [0, 1, 2, 3, 4, 5])
    assert table[255] == 255


def test_group_channels_of_all_classes_follow_the_groups_order():
    table = engine.group_channels(MIXED, num_classes=K)
    np.testing.assert_array_equal(table[list(MIXED)], EVERY)


def test_counts_in_the_space_of_all_classes_are_the_counts_in_its_order():
    counts = np.random.RandomState(0).randint(0, 99, (K, K))
    np.testing.assert_array_equal(metrics.collapse(counts, EVERY), counts)
    np.testing.assert_array_equal(metrics.collapse(counts, MIXED), counts[np.ix_(MIXED, MIXED)])


# ---- fusion


@pytest.mark.parametrize("group", [EVERY, MIXED])
def test_viewing_as_all_classes_and_spreading_again_changes_no_bit(group):
    first = mx.nd.array(np.random.RandomState(0).normal(size=(2, K, 4, 5)))
    seen = fusion.view(first, group, K)
    np.testing.assert_array_equal(seen.asnumpy(), first.asnumpy()[:, list(group)])
    np.testing.assert_array_equal(fusion.spread(seen, group, K).asnumpy(), first.asnumpy())


@pytest.mark.parametrize("group", [EVERY, MIXED])
def test_one_full_head_with_the_sum_rule_is_the_mean_of_two_softmaxes(group):
    built = small.shaken("plain", [group])
    first, other = built(small.images())
    fused = np.exp(fusion.Fusion([group], K, "sum")(first, other).asnumpy())
    wanted = (softmax(first) + softmax(fusion.spread(other, group, K))) / 2
    np.testing.assert_allclose(fused, wanted, rtol=1e-5)


def test_the_residual_product_of_full_heads_adds_their_deltas_to_the_logits():
    built = small.shaken("residual", [EVERY, MIXED])
    first, one, two = built(small.images())
    deltas = (one - first) + (fusion.spread(two, MIXED, K) - first)
    fused = np.exp(fusion.Fusion(built.groups, K, "residual_product")(first, one, two).asnumpy())
    np.testing.assert_allclose(fused, softmax(first + deltas), rtol=1e-4, atol=1e-6)


# ---- networks


@pytest.mark.parametrize("group", [EVERY, MIXED])
@pytest.mark.parametrize("hybrid", [False, True])
def test_a_full_residual_head_starts_exactly_at_subnet_0(group, hybrid):
    built = small.build("residual", [group] * 2)
    if hybrid:
        engine.hybridize_parts(built)
    first, *others = built(small.images())
    for logits in others:
        np.testing.assert_array_equal(logits.asnumpy(), first.asnumpy()[:, list(group)])
    fused = fusion.Fusion(built.groups, K, "residual_product")(first, *others)
    np.testing.assert_array_equal(fused.asnumpy(), mx.nd.log_softmax(first, axis=1).asnumpy())


@pytest.mark.parametrize("kind", network.SUBNETS)
def test_full_heads_beside_groups_have_k_channels_each(kind):
    built = small.build(kind, [EVERY, (4, 2), MIXED])
    assert [logits.shape[1] for logits in built(small.images())] == [K, K, 3, K]


@pytest.mark.parametrize("rule", fusion.RULES)
def test_an_exported_network_with_full_heads_is_the_live_one(rule, tmp_path):
    built = small.shaken("residual", [EVERY, (4, 2), MIXED])
    assert export.write(built, rule, CAMVID, tmp_path / "net").difference <= export.TOLERANCE


def test_a_checkpoint_builds_full_heads_again_and_weights_are_loaded_into_them(tmp_path):
    built, file = small.shaken("residual", [EVERY, MIXED]), tmp_path / "net.npz"
    checkpoint.save(file, checkpoint.network_arrays(built), {"network": built.settings})
    arrays, meta = checkpoint.load(file)
    again, loaded = network.from_settings(meta["network"]), network.from_settings(meta["network"])
    checkpoint.restore_network(again, arrays, file)
    assert weights.load(loaded, file).left == []
    for found in (again, loaded):
        assert found.groups == [EVERY, MIXED]
        assert small.same_bits(small.values(found), small.values(built))


def test_a_full_head_costs_one_channel_more_than_a_group_of_all_but_two():
    """K against K - 2 and "others"."""
    part, full = small.build("residual", [(0, 1, 2)]), small.build("residual", [EVERY])
    width = small.SUBNET_HEAD.channels
    assert complexity.parameters(full) - complexity.parameters(part) == width + 1
    costs = [complexity.multiply_adds(built, (1, 3, 32, 64)) for built in (part, full)]
    assert costs[1] - costs[0] == width * 2 * 4


@pytest.mark.parametrize("kind", network.SUBNETS)
def test_full_heads_learn_all_classes_and_nothing_else_moves(kind):
    built = small.build(kind, [EVERY, MIXED])
    before, step = small.values(built), engine.SubnetStep(built, [losses.CrossEntropyLoss(K)] * 2)
    trainer, images, wanted = engine.sgd(step.parameters()), small.images(), small.labels()
    trainer.set_learning_rate(0.05)
    found = []
    for _ in range(4):
        found.append({name: float(loss.mean().asscalar()) for name, loss in step(images, wanted).items()})
        trainer.step(len(wanted))
    assert all(found[-1][name] < found[0][name] for name in ("subnet1", "subnet2"))
    after = small.values(built)
    kept = {name for name in before if not name.startswith("subnets.")}
    assert small.same_bits({n: before[n] for n in kept}, {n: after[n] for n in kept})


@pytest.mark.parametrize("classes", [11, 19])
def test_hybridized_full_heads_of_many_classes_train(classes):
    heads = {"head": small.HEAD, "subnet_heads": small.SUBNET_HEAD, "last_stage": 3}
    built = network.build(
        "resnet18", classes, groups=[tuple(range(classes))] * 2, output_stride=16, subnets="residual", **heads
    )
    engine.hybridize_parts(built)
    step = engine.SubnetStep(built, [losses.CrossEntropyLoss(classes)] * 2)
    found = step(small.images(), small.labels(classes=classes))
    assert all(np.isfinite(loss.asnumpy()).all() for loss in found.values())
    assert all(np.abs(head.output.weight.grad().asnumpy()).max() > 0 for head in built.subnets)


@pytest.mark.parametrize("kind", network.SUBNETS)
def test_the_order_of_a_full_heads_classes_changes_neither_loss_nor_scores(kind):
    """A full head whose output channels are permuted with its group is the same head."""
    one, two = small.shaken(kind, [EVERY]), small.shaken(kind, [MIXED])
    for end in ("weight", "bias"):
        values = one.subnets[0].output.collect_params(f".*{end}")
        target = two.subnets[0].output.collect_params(f".*{end}")
        for source, goal in zip(values.values(), target.values()):
            goal.set_data(source.data()[list(MIXED)])
    images, wanted = small.images(), small.labels()
    steps = [engine.SubnetStep(built, [losses.CrossEntropyLoss(K)])(images, wanted) for built in (one, two)]
    np.testing.assert_allclose(steps[0]["subnet1"].asnumpy(), steps[1]["subnet1"].asnumpy(), rtol=1e-5)
    for rule in fusion.RULES:
        scores = [network.FusedNetwork(built, rule)(images).asnumpy() for built in (one, two)]
        np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4, atol=1e-6)


def test_the_table_of_subnets_lists_no_others_for_a_full_head():
    text = tables.groups(["a", "b", "c"], [(0, 1, 2), (0, 2)]).markdown()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["subnet 1", "3", "a, b, c"] in rows and ["subnet 2", "3", "others2, a, c"] in rows
